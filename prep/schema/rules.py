"""What the parts of a schema must say about each other: names exist, dims fit, transforms are stated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prep.blocks import FieldSpec
from prep.checks import CHECKS
from prep.errors import PrepError, SchemaError, Where
from prep.schema.drift import drift_problems
from prep.schema.plan import FieldPlan, Schema
from prep.strict_yaml import Document, Place
from prep.transforms import TRANSFORMS, settle

Problem = tuple[Place, str, object, str, str]
_UNSCALED = ("mask", "id", "split")


def broken_rules(schema: Schema, document: Document) -> Iterator[SchemaError]:
    """Every rule that ``schema`` breaks. Fields are judged before the checks that read them."""
    for rules in (_dims, _fields, _checks):
        found = list(_errors(schema, document, rules))
        yield from found
        if found:
            return


def _errors(
    schema: Schema, document: Document, rule: Callable[[Schema, Document], Iterator[Problem]]
) -> Iterator[SchemaError]:
    for place, what, measured, allowed, remedy in rule(schema, document):
        where = Where(
            path=schema.path,
            dataset=schema.name,
            field=str(place[-1]) if place[:-1] in (("prep", "fields"), ("data_vars",)) else "",
            key=".".join(map(str, place)),
            line=document.line(*place),
        )
        yield SchemaError(what, where=where, measured=measured, allowed=allowed, remedy=remedy)


def _dims(schema: Schema, _: Document) -> Iterator[Problem]:
    declared, described = set(schema.variables), set(schema.fields)
    for name in sorted(declared ^ described):
        section, other = ("data_vars", "prep.fields") if name in declared else ("prep.fields", "data_vars")
        yield (
            (*section.split("."), name),
            f"{name!r} stands in {section} and not in {other}",
            name,
            "the same names in data_vars and prep.fields",
            f"add it to {other}, or remove it from {section}",
        )
    for name in sorted(declared & described):
        dims, constant = schema.variables[name].dims, schema.fields[name].role == "constant"
        if constant == (dims[0] == "sample") or "sample" in dims[1:]:
            yield (
                ("data_vars", name),
                f"the first dimension of {name!r} is wrong for its role",
                list(dims),
                "'sample' first and once; none for role constant",
                "correct the dims or the role",
            )
        for dim in dims:
            if dim != "sample" and dim not in schema.sizes:
                yield (
                    ("data_vars", name),
                    f"dimension {dim!r} of {name!r} has no size",
                    sorted(schema.sizes),
                    "a size for every dimension but sample",
                    f"add `{dim}: <size>` to sizes",
                )
    for dim in schema.sizes:
        if all(dim not in plan.dims for plan in schema.variables.values()):
            yield (
                ("sizes", dim),
                f"no variable has the dimension {dim!r}",
                dim,
                "dimensions of the variables",
                "remove it or correct its name",
            )


def _fields(schema: Schema, _: Document) -> Iterator[Problem]:
    flags = [name for name, plan in schema.fields.items() if plan.role == "split"]
    split = schema.variables.get("split")
    if flags != ["split"] or split is None or (split.dtype.str, split.dims) != ("|u1", ("sample",)):
        yield (
            ("prep", "fields"),
            "a dataset has exactly one split flag, the variable 'split'",
            f"role split: {flags}" + (f", dtype {split.dtype}, dims {split.dims}" if split else ""),
            "split: {dtype: uint8, dims: [sample]} with role split",
            "declare it so; `prep` writes it into every dataset",
        )
    for name, plan in schema.fields.items():
        place = ("prep", "fields", name)
        yield from _mask_and_features(schema, name, plan, place)
        yield from _transform(schema, name, plan, place)
    if schema.loss is not None:
        yield from _loss(schema)
    yield from drift_problems(schema)


def _mask_and_features(schema: Schema, name: str, plan: FieldPlan, place: Place) -> Iterator[Problem]:
    dims = schema.variables[name].dims
    if plan.mask:
        other = schema.fields.get(plan.mask)
        own = schema.variables[plan.mask].dims if other else ()
        if other is None or other.role != "mask" or list(own) != [dim for dim in dims if dim in own]:
            yield (
                place,
                f"{plan.mask!r} cannot be the mask of {name!r}",
                f"role {other.role}, dims {list(own)}" if other else "no such field",
                f"a field of role mask whose dims are some of {list(dims)} in that order",
                "name a mask of this field, or give it the role and dims of one",
            )
    for dim in plan.features:
        if dim not in dims[1:]:
            yield (
                place,
                f"feature {dim!r} is no dimension of {name!r}",
                dim,
                f"some of {list(dims[1:])}",
                "name dims of this field",
            )


def _transform(schema: Schema, name: str, plan: FieldPlan, place: Place) -> Iterator[Problem]:
    if plan.companion_of:
        parent = schema.fields.get(plan.companion_of)
        theirs = parent.transform if parent else "no such field"
        if parent is None or parent.transform in ("", "identity") or plan.transform:
            yield (
                place,
                f"{name!r} cannot be a companion of {plan.companion_of!r}",
                f"own transform: {plan.transform or 'none'}; {plan.companion_of}: {theirs}",
                "no own transform, and another field whose transform adds it",
                "remove companion_of, or name the field whose transform takes this out",
            )
        return
    if not plan.transform:
        if plan.role in ("input", "target"):
            yield (
                place,
                f"{plan.role} {name!r} states no transform",
                "none",
                ", ".join(TRANSFORMS.names()),
                "add `transform: {name: …}`; write identity if its values are meant to pass as they are",
            )
        return
    if plan.transform not in TRANSFORMS:
        yield (
            (*place, "transform", "name"),
            f"there is no transform {plan.transform!r}",
            plan.transform,
            ", ".join(TRANSFORMS.names()),
            "use one of the listed transforms",
        )
        return
    if plan.role in (*_UNSCALED, "constant") and plan.transform != "identity":
        yield (
            (*place, "transform"),
            f"a field of role {plan.role} is never scaled",
            plan.transform,
            "identity, or no transform",
            f"remove the transform, or give {name!r} another role",
        )
    raw = FieldSpec(name, schema.variables[name].dtype, ("sample",), (), "aux")
    try:
        settle(TRANSFORMS.load(plan.transform)(), raw, plan.options)
    except PrepError as error:
        yield (*place, "transform"), error.what, error.measured, str(error.allowed), error.remedy
    group = plan.options.get("group", "")
    if group and (group not in schema.fields or schema.fields[group].role != "id"):
        yield (
            (*place, "transform", "group"),
            f"{group!r} is no group of samples",
            schema.fields[group].role if group in schema.fields else "no such field",
            "a field of role id",
            "name the id field whose values have parameters of their own",
        )


def _loss(schema: Schema) -> Iterator[Problem]:
    loss = schema.loss or {}
    target = schema.fields.get(loss["target"])
    if target is None or target.role != "target":
        yield (
            ("prep", "loss", "target"),
            f"the loss is about {loss['target']!r}, which is no target",
            target.role if target else "no such field",
            ", ".join(name for name, plan in schema.fields.items() if plan.role == "target")
            or "a field of role target",
            "name a field of role target",
        )
        return
    if (loss["name"] == "masked_mse") != bool(target.mask) or loss.get("mask", target.mask) != target.mask:
        counted = f"with that mask ({target.mask})" if target.mask else "with its mask (it has none)"
        yield (
            ("prep", "loss"),
            "the loss counts other entries than the statistics of its target",
            f"{loss['name']} with mask {loss.get('mask', target.mask) or 'none'}",
            f"masked_mse for a target with a mask, {counted}; other losses without",
            "choose the loss that counts what the target's mask counts",
        )


def _checks(schema: Schema, document: Document) -> Iterator[Problem]:
    spec = schema.judged_spec()
    names = spec.names
    finite, bounded, probed, flagged = set(), set(), set(), False
    for index, plan in enumerate(schema.checks):
        place: Place = ("checks", index)
        check = CHECKS.load(plan.name)()
        unknown = [name for name in check.fields(plan.statistics) if name not in names]
        if unknown:
            yield (
                place,
                f"check {plan.name!r} reads {unknown[0]!r}, which is no field",
                ", ".join(unknown),
                ", ".join(field.name for field in spec.fields),
                "name fields of data_vars that have a sample dimension, or their original values",
            )
            continue
        try:
            check.folds(spec, plan.statistics)
        except PrepError as error:
            yield place, error.what, error.measured, str(error.allowed), error.remedy
        if any(plan.name == other.name and plan.statistics == other.statistics for other in schema.checks[:index]):
            yield place, f"check {plan.name!r} stands here twice", plan.name, "each check once", "remove one of the two"
        if plan.severity == "error":
            finite |= {plan.statistics["var"]} if plan.name == "finite" else set()
            bounded |= {plan.statistics["var"]} if getattr(check, "bounds", False) else set()
            # A limit that predicting zero keeps says nothing.
            proves = getattr(check, "probe", False) and plan.statistics["nmse_max"] < 1
            probed |= {plan.statistics["var"]} if proves else set()
            flagged |= plan.name == "split_flags"
    for field in schema.planned_spec().fields:
        if field.dtype.kind in "fc" and field.name not in finite:
            yield (
                ("data_vars", field.name),
                f"nothing checks that {field.name!r} is finite",
                "no check 'finite'",
                "one for every float or complex field, and not as a warning",
                f"add `- {{var: {field.name}, options: {{check_name: finite}}}}` to checks",
            )
        if (
            schema.fields[field.name].transform == "identity"
            and field.dtype.kind in "iufc"
            and field.name not in bounded
        ):
            yield (
                ("data_vars", field.name),
                f"{field.role} {field.name!r} passes as it is and nothing limits it",
                "transform identity, no check of its range",
                "a transform that scales it, or a check of what it may be",
                f"standardise it, or add a check `in_bounds` of {field.name}",
            )
    yield from _learnability(schema, probed)
    if not flagged:
        yield (
            ("checks",),
            "nothing checks the split flags",
            "no check 'split_flags'",
            "one",
            "add `- {var: split, options: {check_name: split_flags}}` to checks",
        )


def _learnability(schema: Schema, probed: set[str]) -> Iterator[Problem]:
    """Every target that is learnt has a probe, or a floor with a reason."""
    targets = [name for name, plan in schema.fields.items() if plan.role == "target"]
    learnt = [schema.loss["target"]] if schema.loss else targets
    for name in learnt:
        if name not in probed and name not in schema.learnability and schema.variables[name].dtype.kind in "fc":
            yield (
                ("data_vars", name),
                f"nothing checks that there is something to learn of {name!r}",
                "no probe with a limit below that of predicting zero (NMSE 1), no stated floor",
                "a check 'learnability' of it, or prep.learnability with the floor that is expected and why",
                f"add the check, or `learnability: {{{name}: {{floor: …, why: …}}}}` to prep",
            )
    for name in schema.learnability:
        if name not in targets:
            yield (
                ("prep", "learnability", name),
                f"{name!r} is no target",
                name,
                ", ".join(targets) or "a field of role target",
                "remove it or correct its name",
            )

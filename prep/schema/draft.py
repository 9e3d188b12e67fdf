"""A first schema for data that came without one: never empty, made from what was measured, for the user to edit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec, FieldSpec
from prep.errors import SchemaError, Where
from prep.folds.moments import MomentsResult
from prep.folds.sentinels import SentinelsResult, fewest_fills
from prep.schema.bounds import Bounds, bounds_of
from prep.symptoms.codes import code_sequence, named_codes
from prep.symptoms.repeats import MOST_CHANCE
from prep.transforms.standardize import Standardize

PANDERA_VERSION = "0.35.0"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_TAKEN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_PROBED_VALUES = 512


@dataclass(frozen=True, slots=True)
class _Described:
    """A field as it will be once normalised, the transform that the draft proposes, and what was measured of it raw."""

    field: FieldSpec
    transform: Mapping[str, Any] | None
    moments: MomentsResult | None
    companion_of: str = ""
    fills: SentinelsResult | None = None

    def bounds(self) -> Bounds | None:
        """What the values lie in, but for fill values; None where nothing was measured."""
        if self.moments is None:
            return None
        standardised = bool(self.transform and self.transform["name"] == "standardize")
        return bounds_of(self.moments, self.fills, fewest_fills(self.field), standardised=standardised)


def draft_schema(
    spec: DatasetSpec,
    measured: Mapping[str, MomentsResult],
    fills: Mapping[str, SentinelsResult],
    *,
    by_chance: float,
    group: str = "",
    by: str = "prep ingest",
) -> str:
    """YAML text of a schema for the raw dataset ``spec``, which its normalised form passes unless something is wrong.

    ``measured`` holds the train moments of its fields, ``fills`` the sentinels of those of real numbers;
    ``by_chance`` is how many pairs of rows chance makes equal (`prep.symptoms.repeats.expected_whole_rows`),
    ``group`` names the id field that splits keep together, ``by`` the command that drafts.
    Real inputs and targets are standardised (a constant feature keeps unit scale), complex ones get unit RMS, truth
    values, whole numbers that their name calls codes (labels, tokens) and everything else pass as they are. Bounds are
    what was measured with as much again on either side, without fill values, on which `prep validate` fails. Raises
    `SchemaError` where two fields give one dimension two sizes.
    """
    described = [
        each for field in spec.fields for each in _describe(field, measured.get(field.name), fills.get(field.name))
    ]
    described += [_Described(field, None, None) for field in spec.constants]
    lines = [
        f"# Drafted by `{by}` from {spec.rows} samples of {spec.name}. Yours to edit: roles, units, masks,",
        "# transforms and bounds are guesses from what was measured on the train split.",
        "schema_type: dataset",
        f"version: {PANDERA_VERSION}",
        f"title: {_text(spec.name)}",
        "strict: true",
        f"sizes: {_flow(_sizes(spec))}",
        "data_vars:",
        *(f"  {_text(each.field.name)}: {_flow(_variable(each.field))}" for each in described),
        "checks:",
        *(line if line.startswith("#") else f"- {line}" for line in _checks(spec, described, group, by_chance)),
        "prep:",
        f"  dataset: {_text(spec.name)}",
        *(f"  learnability: {_flow(floors)}" for floors in [_floors(spec)] if floors),
        "  fields:",
        *(line for each in described for line in _field(each)),
    ]
    return "\n".join(lines) + "\n"


def _describe(field: FieldSpec, moments: MomentsResult | None, fills: SentinelsResult | None) -> Iterator[_Described]:
    scaled = field.role in ("input", "target")
    if scaled and field.dtype.kind in "iuf" and not named_codes(field):
        (scaled_field,) = Standardize().outputs(field, {})
        yield _Described(scaled_field, {"name": "standardize", "constant": "unit"}, moments, fills=fills)
    elif scaled and field.dtype.kind == "c":
        companion = f"{field.name}_log_rms"
        yield _Described(field, {"name": "unit_rms", "companion": companion}, moments)
        extra = FieldSpec(companion, np.dtype(np.float64), ("sample",), (), "input")
        yield _Described(extra, None, None, companion_of=field.name)
    else:
        yield _Described(field, {"name": "identity"} if scaled else None, moments, fills=fills)


def _sizes(spec: DatasetSpec) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for field in (*spec.fields, *spec.constants):
        for dim, size in zip(field.dims[1:], field.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise SchemaError(
                    f"dimension {dim!r} has two sizes",
                    where=Where(dataset=spec.name, field=field.name),
                    measured=f"{sizes[dim]} and {size}",
                    allowed="one size for each dimension name",
                    remedy="give the dims of one of the fields another name in the mapping file",
                )
    return sizes


def _variable(field: FieldSpec) -> dict[str, Any]:
    return {"dtype": field.dtype.name, "dims": list(field.dims)}


def _checks(spec: DatasetSpec, described: list[_Described], group: str, by_chance: float) -> Iterator[str]:
    yield _check("split_flags", var="split")
    if group:
        yield _check("groups_disjoint", var=group, with_fields=[])
    yield from _unique(spec, described, by_chance)
    yield from _learnability(spec)
    for each in described:
        field = each.field
        if field.role == "constant":
            continue
        if field.role == "mask":
            yield _check("binary", var=field.name)
        if field.dtype.kind in "fc":
            yield _check("finite", var=field.name)
        # Codes have one of their own for padding.
        if field.mask and field.mask in spec and not named_codes(field):
            yield _check("zero_padding", var=field.name, mask=field.mask)
        name = each.transform["name"] if each.transform else ""
        if name == "standardize":
            yield _check(
                "standardised",
                var=field.name,
                mask=field.mask,
                group="",
                features=list(field.features),
                split="train",
                mean_limit=0.05,
                std_limit=0.05,
                constant="allow",
            )
        if name == "unit_rms":
            yield _check("unit_rms", var=field.name, mask=field.mask, tolerance=1e-5)
        elif bounds := each.bounds():
            yield _check("in_bounds", var=field.name, low=bounds.low, high=bounds.high)


def _probes(spec: DatasetSpec) -> Iterator[tuple[FieldSpec, FieldSpec | None]]:
    """Each real or complex target with the first input that a linear probe can take, None where all are too wide, or
    sequences of codes.
    """
    inputs = [each for each in _inputs(spec) if each.dtype.kind in "iufc" and not code_sequence(each)]
    narrow = next((each for each in inputs if each.row_values <= _PROBED_VALUES), None)
    for field in spec.fields:
        if field.role == "target" and field.dtype.kind in "iufc":
            yield field, narrow if field.row_values <= _PROBED_VALUES else None


def _floors(spec: DatasetSpec) -> dict[str, Any]:
    """Targets of which no probe is demanded, and why: it would be too wide, see codes, or see one input of several."""
    wide = f"no linear probe of more than {_PROBED_VALUES} values was drafted: say what score you expect, and why"
    several = "a probe sees one of several inputs, and only warns: say what score you expect, and why"
    if any(map(code_sequence, _inputs(spec))):
        wide = "a linear probe sees nothing in codes, and none was drafted: say what score you expect, and why"
    floors = {target.name: wide if given is None else several for target, given in _probes(spec)}
    return {name: {"floor": 1.0, "why": why} for name, why in floors.items() if why == wide or not _alone(spec)}


def _inputs(spec: DatasetSpec) -> list[FieldSpec]:
    return [each for each in spec.fields if each.role == "input"]


def _alone(spec: DatasetSpec) -> bool:
    return len(_inputs(spec)) == 1


def _learnability(spec: DatasetSpec) -> Iterator[str]:
    """A probe sees one input: where there are others to learn from, what it does not see is a warning."""
    for target, given in _probes(spec):
        for split, (start, stop) in spec.splits.items():
            if given is not None and split != "train" and start < stop:
                yield _check(
                    "learnability",
                    var=target.name,
                    mask=target.mask,
                    input=given.name,
                    input_mask=given.mask,
                    last=[],
                    group="",
                    split=split,
                    judged="together",
                    ridge=1e-6,
                    nmse_max=0.99,
                    warning=not _alone(spec),
                )


def _unique(spec: DatasetSpec, described: list[_Described], by_chance: float) -> Iterator[str]:
    """No whole row of inputs and targets in two splits: an error only for numbers that vary continuously, and so finely
    that chance makes no two rows equal.
    """
    fields = [each.field for each in described if each.field.role in ("input", "target") and not each.companion_of]
    if fields:
        first, *others = (field.name for field in fields)
        continuous = any(spec[field.name].dtype.kind in "fc" for field in fields)
        rare = continuous and by_chance < MOST_CHANCE
        if not rare:
            yield "# Values are so coarse that rows may be equal by chance: those in two splits are only warned of."
        yield _check("unique_rows", var=first, with_fields=others, warning=not rare)


def _field(each: _Described) -> Iterator[str]:
    field = each.field
    if each.moments is not None and each.moments.constant.any():
        count, total = int(each.moments.constant.sum()), each.moments.constant.size
        yield f"    # {count} of {total} features of {field.name} are constant in the train split"
    if each.moments is not None and (each.moments.nan.any() or each.moments.inf.any()):
        bad = int(each.moments.nan.sum() + each.moments.inf.sum())
        yield f"    # {bad} train values of {field.name} are NaN or infinite: mend the source, or mask them"
    bounds = each.bounds()
    if bounds and bounds.left_out:
        told = "the bounds leave it out, and prep validate fails on it"
        yield f'    # {bounds.left_out} in {field.name} may mean "missing": {told}. Mask it or drop rows'
    if bounds and bounds.included:
        told = "normalised, it lies among the others, and the bounds include it"
        yield f'    # {bounds.included} in {field.name} may mean "missing"; {told}. Mask it or drop rows'
    entry: dict[str, Any] = {"role": field.role}
    entry["units"] = "1" if each.transform and each.transform["name"] != "identity" else field.units
    entry |= {"long_name": field.long_name} if field.long_name else {}
    entry |= {"mask": field.mask} if field.mask else {}
    entry |= {"features": list(field.features)} if field.features else {}
    entry |= {"transform": dict(each.transform)} if each.transform else {}
    entry |= {"companion_of": each.companion_of} if each.companion_of else {}
    yield f"    {_text(field.name)}: {_flow(entry)}"


def _check(check: str, *, warning: bool = False, **statistics: Any) -> str:
    options = {"check_name": check} | ({"raise_warning": True} if warning else {})
    return _flow({**statistics, "options": options})


def _flow(value: Any) -> str:
    """YAML flow text that YAML 1.1 and 1.2 readers take for the same value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    return value if _PLAIN.fullmatch(value) and value.lower() not in _TAKEN else json.dumps(value, ensure_ascii=False)

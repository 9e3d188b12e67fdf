"""The documents that a normalised dataset carries, against its schema and against its values: plan, transforms and
statistics are claims until they were compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding
from prep.errors import PrepError
from prep.folds.moments import Moments, MomentsResult
from prep.folds.scales import Scales, ScalesResult
from prep.schema.plan import Schema
from prep.transforms.pipeline import BoundTransform, bound_transforms

TOLERANCE = 1e-6
_ROUNDING = 1e-8
_AGAIN = "run `prep stats` and `prep normalize` on the raw data again"
_BROKEN = (PrepError, KeyError, TypeError, ValueError, AttributeError, IndexError)
_IN_UNITS = ("mean", "std", "min", "max")
_DIMENSIONLESS = ("skewness", "kurtosis")

Named = tuple[str, str, Finding]


def embedded(schema: Schema, spec: DatasetSpec, measured: Mapping[str, Mapping[str, Any]]) -> tuple[Named, ...]:
    """(check, field, finding) for the plan, each transform, and the statistics of each described field.

    ``measured`` are the statistics documents that the stored values give now. The parameters of a transform must be
    those that fitting on the embedded raw statistics gives, and undoing it on the measured moments must lead back to
    them. Scales taken from each sample (a trace, an RMS) are in no statistics: their two parameters are only parsed.
    """
    statistics = _document(spec, "statistics")
    raw, normalised = (_mapping(statistics.get(stage)) for stage in ("raw", "normalized"))
    results: list[Named] = []
    if "transforms" not in spec.documents:
        lacking = _finding(False, 0, "one transform for each input and target", "the dataset carries no transforms")
        results.append(("embedded_transforms", "transforms", lacking))
    else:
        results.append(("transform_plan", "provenance", _plan(schema, spec)))
        results.extend(("embedded_transforms", *each) for each in _transforms(schema, spec, raw, measured))
    for name, now in measured.items():
        results.append(("embedded_statistics", name, _statistics(normalised.get(name), now)))
    return tuple(results)


def stated_raw(spec: DatasetSpec) -> frozenset[str]:
    """The fields whose raw statistics are embedded: those that were floats before they were normalised."""
    return frozenset(_mapping(_document(spec, "statistics").get("raw")))


def _document(spec: DatasetSpec, name: str) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(spec.documents[name]))
    except _BROKEN:
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _plan(schema: Schema, spec: DatasetSpec) -> Finding:
    wanted, found = schema.transform_digest(), _document(spec, "provenance").get("plan")
    if found == wanted:
        return _finding(True, 1, "the schema's plan", "the data were normalised by the plan of the schema")
    message = f"the data were normalised by another plan of transforms ({found or 'none'}) than the schema's ({wanted})"
    return _finding(False, 1, f"plan {wanted}", message)


def _transforms(
    schema: Schema, spec: DatasetSpec, raw: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Finding]]:
    stored = {field.name for field in spec.fields}
    plan = {name: entry for name, entry in schema.transform_plan().items() if name in stored}
    companions = {name for name, field in schema.fields.items() if field.companion_of}
    document = _document(spec, "transforms")
    bound: dict[str, BoundTransform] = {}
    for name, entry in document.items():
        try:
            bound.update(bound_transforms({name: entry}))
        except _BROKEN:
            continue
    before = spec.with_fields(
        tuple(
            bound[field.name].field if field.name in bound else field
            for field in spec.fields
            if field.name not in companions
        )
    )
    for name in document:
        if name not in plan:
            yield name, _finding(False, 1, "the transforms of the schema", f"the schema plans no transform of {name}")
    for name, entry in plan.items():
        own = {other for other, field in schema.fields.items() if field.companion_of == name}
        problem = f"the file carries no transform of {name} that can be read"
        if name in bound:
            try:
                problem = _entry_problem(entry, own, bound[name], before, spec, raw)
                problem = problem or _inversion_problem(bound[name], raw.get(name), measured.get(name))
            except _BROKEN as error:
                what = error.what if isinstance(error, PrepError) else type(error).__name__
                problem = f"the parameters of {name} cannot be used: {what}"
        good = f"{entry['name']} of {name} is the planned one and fits the statistics"
        yield name, _finding(not problem, 1, f"{entry['name']} as the schema plans it", problem or good)


def _entry_problem(
    plan: Mapping[str, Any],
    companions: set[str],
    bound: BoundTransform,
    before: DatasetSpec,
    spec: DatasetSpec,
    raw: Mapping[str, Any],
) -> str:
    """What of an embedded transform is not as planned, or not as fitted; empty where nothing is."""
    field, params = bound.field, bound.params
    if bound.name != plan["name"]:
        return f"the transform of {field.name} is {bound.name} where the schema says {plan['name']}"
    if (field.role, field.mask, list(field.features)) != (plan["role"], plan["mask"], plan["features"]):
        return f"the transform of {field.name} is bound to another role, mask or features than the schema's"
    transform = bound.transform
    fitted = {
        fold.key: _refit_on(fold, params, raw.get(field.name))
        for fold in transform.folds(before, field, plan["options"])
    }
    expected = transform.fit(before, field, plan["options"], fitted)
    wrong = sorted(key for key in {*expected, *params} if expected.get(key) != params.get(key))
    if wrong:
        return f"{', '.join(wrong)} of the transform of {field.name} are not what its options and statistics give"
    outputs = bound.outputs()
    if {each.name for each in outputs[1:]} != companions:
        return f"the transform of {field.name} adds other companions than {', '.join(sorted(companions)) or 'none'}"
    for output in outputs:
        if output.name not in spec or spec[output.name] != output:
            return f"the transform of {field.name} does not give {output.name} as it is stored"
    return ""


def _refit_on(fold: Any, params: Mapping[str, Any], raw: Any) -> Any:
    """What the fold measured when the transform was fitted: the embedded raw moments, or, where statistics do not
    keep it (integers, scales of samples), what the parameters themselves say, so that only their form is judged.
    """
    if isinstance(fold, Scales):
        mean, std = float(params["mean"]), float(params["std"])
        if not np.isfinite([mean, std]).all():
            raise ValueError("mean and std")
        return ScalesResult(1, mean, std, 1.0, 1.0, 0, (), ())
    assert isinstance(fold, Moments)
    if fold.field.dtype.kind in "fc":
        return MomentsResult.from_dict(raw["moments"])
    means, stds = _numbers(params["mean"]), _numbers(params["std"])
    zeros, blank = np.zeros(means.shape, np.int64), np.full(means.shape, np.nan)
    return MomentsResult(
        groups=tuple(params["groups"]),
        count=zeros + 1,
        finite=zeros + 1,
        nan=zeros,
        inf=zeros,
        mean=means,
        std=stds,
        min=blank,
        max=blank,
        skewness=blank,
        kurtosis=blank,
        constant=np.asarray(params["constant"], np.bool_),
    )


def _inversion_problem(bound: BoundTransform, raw: Any, measured: Any) -> str:
    """Where undoing the transform on the moments of the stored values does not lead to the raw moments."""
    name = bound.field.name
    if measured is None or bound.field.dtype.kind not in "fc":
        return ""
    before, after = MomentsResult.from_dict(raw["moments"]), MomentsResult.from_dict(measured["moments"])
    if before.groups != after.groups or not np.array_equal(before.count, after.count):
        return f"the raw statistics of {name} count other values than there are"
    if bound.name not in ("standardize", "identity"):
        return ""
    seen = before.count > 0
    one = bound.name == "identity"
    mean = np.zeros(before.mean.shape) if one else _numbers(bound.params["mean"])
    std = np.ones(before.std.shape) if one else _numbers(bound.params["std"])
    # The rounding of the stored values and of raw values far from zero, in units of the field.
    step = max(TOLERANCE, 16 * float(np.finfo(bound.outputs()[0].dtype).eps))
    size = _ROUNDING * TOLERANCE * np.maximum(np.abs(before.min), np.abs(before.max))
    for key in _IN_UNITS:
        then, now = getattr(before, key), getattr(after, key)
        undone = now * std + (0.0 if key == "std" else mean)
        spread = before.std if one else std * np.maximum(1.0, np.abs(now))
        off = seen & ~(np.abs(undone - then) <= step * spread + size)
        if off.any():
            place = tuple(np.argwhere(off)[0].tolist())
            return (
                f"undoing the transform of {name} gives {key} {float(undone[place]):.6g} at {list(place)} "
                f"where the raw statistics say {float(then[place]):.6g}"
            )
    return ""


def _statistics(then: Any, now: Mapping[str, Any]) -> Finding:
    present = int(np.sum(now["moments"]["count"]))
    if not isinstance(then, dict):
        message = "the file carries no statistics of this field"
        return _finding(False, present, f"relative difference ≤ {TOLERANCE:g}", message, worst=float("inf"))
    differences = dict(_differences(then, now))
    place = max(differences, key=lambda each: differences[each])
    worst = differences[place]
    good = worst <= TOLERANCE
    message = "the statistics in the file are those of its values"
    if not good:
        message = f"the statistics in the file are not those of its values: {place} differs most"
    return _finding(good, present, f"difference ≤ {TOLERANCE:g} of the field's spread", message, worst=worst)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Difference of each entry of two statistics documents of one field, in units of its spread; infinite where what
    is counted or named differs.
    """
    moments = now["moments"]
    std, low, high = (_numbers(moments[key]) for key in ("std", "min", "max"))
    # A mean far from zero is only known to the rounding of its size.
    spread = np.nan_to_num(std) + _ROUNDING * np.nan_to_num(np.maximum(np.abs(low), np.abs(high)))
    yield "keys", 0.0 if set(then) == set(now) else np.inf
    for name, own in now.items():
        stated = then.get(name)
        if not isinstance(own, dict):
            yield name, 0.0 if stated == own else np.inf
            continue
        for key, value in own.items():
            place = f"{name}.{key}"
            if not isinstance(stated, dict) or set(stated) != set(own):
                yield place, np.inf
            elif key in _IN_UNITS or (name == "quantiles" and key[:1] == "q"):
                yield place, _gap(stated[key], value, spread)
            elif key in _DIMENSIONLESS:
                yield place, _gap(stated[key], value, np.maximum(1.0, np.abs(_numbers(value))))
            else:
                yield place, 0.0 if stated[key] == value else np.inf


def _gap(then: Any, now: Any, scale: Array) -> float:
    try:
        a, b = _numbers(then), _numbers(now)
    except (TypeError, ValueError):
        return float("inf")
    if a.shape != b.shape:
        return float("inf")
    # Equal covers NaN with NaN and infinity with the same one.
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not (np.isfinite(a) & np.isfinite(b))[differ].all():
        return float("inf")
    with np.errstate(divide="ignore"):
        gaps = np.abs(a[differ] - b[differ]) / np.broadcast_to(scale, a.shape)[differ]
    return float(np.max(gaps, initial=0.0))


def _numbers(value: Any) -> Array:
    return np.asarray(value, np.float64)


def _finding(passed: bool, compared: int, limit: str, message: str, worst: float | None = None) -> Finding:
    return Finding(
        passed=passed,
        examined=compared,
        present=compared,
        worst=worst,
        limit=limit,
        message=message,
        remedy=_AGAIN,
    )

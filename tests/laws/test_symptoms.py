"""Laws of every symptom: silent on healthy data of any shape, fires on its planted defect, whatever the cut, in bounded
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import Array, Block, DatasetSpec, FieldSpec
from prep.checks import CHECKS
from prep.folds.states import encode_states
from prep.symptoms import SYMPTOMS, Diagnostic, Guess, Stored
from prep.symptoms.consequences import KNOWN, consequence
from tests.measuring import field, measure

ROWS = 400
Arrays = dict[str, Array]


def guess_of(arrays: Mapping[str, Array], *fields: FieldSpec, divided: bool = True, **more: Any) -> Guess:
    rows = len(next(iter(arrays.values())))
    bounds = (0, int(rows * 0.7) // 20 * 20, int(rows * 0.85) // 20 * 20, rows)
    splits = dict(zip(("train", "val", "test"), pairwise(bounds), strict=True))
    spec = DatasetSpec("data", fields, splits if divided else {"train": (0, rows)})
    return Guess("data.h5", "hdf5", spec, divided, {}, **more)


def diagnose(guess: Guess, arrays: Arrays, *names: str, cuts: Iterable[int] = ()) -> list[Diagnostic]:
    """What the symptoms (all, or those named) find, each fold measured over the rows cut before ``cuts``."""
    symptoms = [SYMPTOMS.load(name)() for name in names or SYMPTOMS]
    folds = {fold.key: fold for each in symptoms for fold in each.folds(guess)}
    measured = {key: measure(fold, arrays, cuts) for key, fold in folds.items()}
    return [found for each in symptoms for found in each.diagnose(guess, measured)]


def alarms(found: Iterable[Diagnostic]) -> list[str]:
    return [f"{each.code}: {each.evidence}" for each in found if each.severity != "note"]


def healthy(rows: int = ROWS, seed: int = 0) -> tuple[Guess, Arrays]:
    """Normalised inputs and targets that follow from them, padded windows, covariances, times of sessions, counts."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 6))
    system = np.arange(rows) % 2
    mask = np.ones((rows, 3), np.uint8)
    mask[system == 1, 2] = 0
    factors = rng.standard_normal((rows, 4, 8, 2)).view(np.complex128)[..., 0]
    matrices = factors @ np.conj(np.swapaxes(factors, 1, 2))
    traces = np.einsum("nii->n", matrices).real
    arrays = {
        "x": x.astype(np.float32),
        "y": (x[:, :2] - x[:, 2:4] + 0.1 * rng.standard_normal((rows, 2))).astype(np.float32),
        "windows": (rng.standard_normal((rows, 12, 3)) * mask[:, np.newaxis]).astype(np.float32),
        "mask": mask,
        "covariance": (matrices * (4 / traces)[:, np.newaxis, np.newaxis]).astype(np.complex64),
        "counts": rng.poisson(3.0, (rows, 5)).astype(np.int16),
        "wave": np.rint(1000 * np.sin(np.arange(rows) / 40)).astype(np.int16)[:, np.newaxis],
        "time": 0.1 * (np.arange(rows) % 20),
        "session": (np.arange(rows) // 20).astype(np.int32),
        "system": system.astype(np.int32),
        "done": (np.arange(rows) % 20 == 19).astype(np.uint8),
    }
    fields = (
        field("x", "f4", ("feature", 6)),
        field("y", "f4", ("target", 2), role="target"),
        field("windows", "f4", ("step", 12), ("state", 3), mask="mask"),
        field("mask", "u1", ("state", 3), role="mask"),
        field("covariance", "c8", ("row", 4), ("column", 4), role="target"),
        field("counts", "i2", ("kind", 5)),
        field("wave", "i2", ("channel", 1), role="aux"),
        field("time", "f8", role="aux"),
        field("session", "i4", role="id"),
        field("system", "i4", role="id"),
        field("done", "u1", role="aux"),
    )
    return guess_of(arrays, *fields, time="time", group="session"), arrays


@dataclass(frozen=True)
class Case:
    """What breaks healthy data so that ``symptom`` says ``code`` of ``field``."""

    symptom: str
    code: str
    field: str
    defect: Callable[[Arrays], Any]
    rows: int = ROWS


def put(name: str, place: Any, value: Any) -> Callable[[Arrays], None]:
    def defect(arrays: Arrays) -> None:
        arrays[name][place] = value

    return defect


def times(name: str, factor: Any) -> Callable[[Arrays], None]:
    def defect(arrays: Arrays) -> None:
        arrays[name] = (arrays[name] * factor).astype(arrays[name].dtype)

    return defect


def shifted(name: str, offset: Any) -> Callable[[Arrays], None]:
    def defect(arrays: Arrays) -> None:
        arrays[name] = (arrays[name] + offset).astype(arrays[name].dtype)

    return defect


def copied(*names: str, factor: float = 1.0) -> Callable[[Arrays], None]:
    def defect(arrays: Arrays) -> None:
        for name in names:
            arrays[name][-40:] = arrays[name][20:60] * np.asarray(factor, arrays[name].dtype)

    return defect


def standardised(*parts: slice) -> Callable[[Arrays], None]:
    def defect(arrays: Arrays) -> None:
        values = arrays["x"].astype(np.float64) * 3 + 2
        values = np.concatenate([values, values[:, :1] ** 3], axis=1)[:, 1:]
        whole = values.copy()
        for part in parts or (slice(0, 280),):
            own = whole[part]
            values[part if parts[1:] else slice(None)] = (
                whole[part if parts[1:] else slice(None)] - own.mean(0)
            ) / own.std(0)
        arrays["x"] = values.astype(np.float32)

    return defect


def windowed(arrays: Arrays) -> None:
    series = np.random.default_rng(1).standard_normal((ROWS * 6 + 12, 3)).astype(np.float32)
    order = np.random.default_rng(2).permutation(ROWS)
    arrays["windows"] = np.stack([series[6 * row : 6 * row + 12] for row in order])
    arrays["mask"][:] = 1


def one_triangle(arrays: Arrays) -> None:
    arrays["covariance"] = np.tril(arrays["covariance"])


def turned_over(arrays: Arrays) -> None:
    arrays["wave"] = (np.arange(ROWS)[:, np.newaxis] * 500 + 100).astype(np.int16)


def clipped(arrays: Arrays) -> None:
    arrays["wave"] = np.clip(np.arange(ROWS)[:, np.newaxis] * 103, -32768, 32767).astype(np.int16)


def shuffled(arrays: Arrays) -> None:
    arrays["y"] = np.random.default_rng(3).permutation(arrays["y"])


def leaked(arrays: Arrays) -> None:
    arrays["x"][:, 5] = 2 * arrays["y"][:, 1] + 1


def loud_system(arrays: Arrays) -> None:
    arrays["system"][:] = np.arange(ROWS) % 8
    arrays["y"][arrays["system"] == 7] *= 9


def swapped(arrays: Arrays) -> None:
    arrays["time"][[45, 46]] = arrays["time"][[46, 45]]


def late(arrays: Arrays) -> None:
    arrays["time"][50:60] += 1.0


def mixed_sessions(arrays: Arrays) -> None:
    arrays["session"][390:] = 2


TRAIN, TEST = slice(0, 280), slice(340, 400)
CASES = {
    "zero tail": Case("blank_rows", "blank-tail", "x", put("x", slice(370, None), 0)),
    "NaN tail": Case("blank_rows", "blank-tail", "x", put("x", slice(370, None), np.nan)),
    "-1 tail": Case("blank_rows", "constant-tail", "x", put("x", slice(370, None), -1)),
    "one blank matrix": Case("blank_rows", "blank-rows", "covariance", put("covariance", 17, 0)),
    "no borders": Case("borders", "no-borders", "done", put("done", slice(None), 0)),
    "dead column": Case("constant", "constant-column", "x", put("x", (slice(None), 3), 0.7)),
    "dead in test": Case("constant", "dead-in-split", "x", put("x", (TEST, 3), 0.7)),
    "class never seen": Case(
        "constant",
        "class-never-seen",
        "counts",
        lambda a: a.update(counts=np.eye(5, dtype=np.int16)[np.arange(400) % 4]),
    ),
    "-999": Case("fill_values", "fill-value", "x", put("x", ([3, 9], 1), -999)),
    "largest float": Case("fill_values", "fill-value", "y", put("y", (3, 1), np.finfo(np.float32).max)),
    "integer 9999": Case("fill_values", "fill-value", "counts", put("counts", ([3, 9], 1), 9999)),
    "shuffled targets": Case("linear_probe", "target-not-seen", "y", shuffled, rows=2200),
    "target in input": Case("linear_probe", "target-in-input", "y", leaked),
    "loud group": Case("loss_share", "one-group-makes-the-loss", "y", loud_system),
    "one triangle": Case("matrices", "not-hermitian", "covariance", one_triangle),
    "indefinite": Case("matrices", "not-positive-semidefinite", "covariance", shifted("covariance", -2 * np.eye(4))),
    "no trace": Case("matrices", "trace-not-positive", "covariance", put("covariance", 17, 0)),
    "trace 72 N": Case("matrices", "trace-not-n", "covariance", times("covariance", 72)),
    "traces over decades": Case(
        "matrices", "trace-varies", "covariance", times("covariance", np.geomspace(1, 100, ROWS)[:, None, None])
    ),
    "nothing wrong with covariances": Case("matrices", "sound-covariances", "covariance", lambda a: None),
    "trace N": Case("matrices", "already-trace-n", "covariance", lambda a: None),
    "a rounding away": Case("nearly_repeated_rows", "nearly-shared-rows", "x", copied("x", factor=1 + 2**-23)),
    "a NaN": Case("non_finite", "non-finite", "x", put("x", (90, 2), np.nan)),
    "turned over": Case("overflow", "integer-wrap", "wave", turned_over),
    "clipped": Case("overflow", "integer-clipped", "wave", clipped),
    "filled padding": Case(
        "padding", "padding-not-zero", "windows", put("windows", (slice(1, None, 2), slice(None), 2), -1.5)
    ),
    "padding counted": Case("padding", "padding-counted", "windows", put("mask", slice(None), 1)),
    "mask of weights": Case("padding", "mask-not-binary", "mask", put("mask", (3, 1), 7)),
    "copies within": Case(
        "repeated_rows", "duplicate-rows", "x", lambda a: a["x"].__setitem__(slice(20, 40), a["x"][:20])
    ),
    "copies across": Case("repeated_rows", "shared-rows", "x", copied("x")),
    "raw targets": Case("scale", "unnormalised-target", "y", times("y", 1000)),
    "tiny inputs": Case("scale", "unnormalised-input", "x", times("x", 1e-3)),
    "mixed scales": Case("scale", "mixed-scales", "x", times("x", [1, 1, 1, 1, 1, 3000])),
    "far from zero": Case("scale", "large-offset", "x", shifted("x", [0, 0, 0, 0, 0, 4000])),
    "session in two splits": Case("shared_sessions", "shared-sessions", "session", mixed_sessions),
    "overlapping windows": Case("shared_steps", "shared-steps", "windows", windowed),
    "standardised": Case("standardised", "already-standardised", "x", standardised(TRAIN)),
    "own statistics": Case("standardised", "own-statistics", "x", standardised(TRAIN, slice(280, 340), TEST)),
    "test's statistics": Case("standardised", "statistics-of-another-split", "x", standardised(TEST)),
    "all rows' statistics": Case("standardised", "statistics-of-all-rows", "x", standardised(slice(0, 400))),
    "standardised flags": Case(
        "standardised",
        "flags-standardised",
        "x",
        lambda a: a.update(x=np.where(np.arange(400)[:, None] % 2, 1.0, -1.0).repeat(6, 1).astype(np.float32)),
    ),
    "time back": Case("time_steps", "time-backward", "time", swapped),
    "time twice": Case("time_steps", "time-repeated", "time", lambda a: a["time"].__setitem__(45, a["time"][44])),
    "time left out": Case("time_steps", "time-missing", "time", late),
    "unit RMS": Case(
        "unit_scale",
        "already-unit-rms",
        "x",
        lambda a: a.update(x=a["x"] / np.sqrt(np.mean(a["x"] ** 2, axis=1, keepdims=True))),
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def test_every_symptom_has_a_planted_defect() -> None:
    assert {case.symptom for case in CASES.values()} | {"stored_statistics", "energies", "energy_probe"} == set(
        SYMPTOMS
    )


@every_case
def test_a_planted_defect_is_found_with_all_that_a_reader_needs(case: Case) -> None:
    guess, arrays = healthy(case.rows)
    case.defect(arrays)

    found = [
        each for each in diagnose(guess, arrays, case.symptom) if (each.code, each.field) == (case.code, case.field)
    ]

    assert len(found) == 1, found
    assert found[0].evidence
    assert found[0].consequence
    assert found[0].remedy
    assert found[0].harm >= 1
    assert len(found[0].samples) <= 10
    assert all(0 <= row < case.rows for row in found[0].samples)
    assert "np.float" not in repr(found[0].measured) + found[0].evidence + found[0].consequence


@every_case
def test_where_the_rows_are_cut_changes_nothing(case: Case) -> None:
    guess, arrays = healthy(case.rows)
    case.defect(arrays)

    whole, cut = (diagnose(guess, arrays, case.symptom, cuts=cuts) for cuts in ((), (1, 45, 46, 290, 371)))

    assert [(each.code, each.field, each.samples) for each in cut] == [
        (each.code, each.field, each.samples) for each in whole
    ]


@settings(max_examples=12)
@given(rows=st.sampled_from([1, 2, 3, 7, 12, 40, 41, 150, 400, 900]), seed=st.integers(0, 1000))
def test_healthy_data_are_healthy_however_many_there_are(rows: int, seed: int) -> None:
    guess, arrays = healthy(rows, seed)
    assert alarms(diagnose(guess, arrays)) == []


KINDS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "heavy tails": lambda rng, rows: rng.standard_t(3, (rows, 4)),
    "uniform": lambda rng, rows: rng.uniform(0, 1, (rows, 3)),
    "one column": lambda rng, rows: rng.standard_normal((rows, 1)),
    "one-hot": lambda rng, rows: np.eye(30)[rng.integers(0, 30, rows)],
    "rare flags": lambda rng, rows: (rng.uniform(size=(rows, 8)) < 0.02).astype(float),
    "sparse": lambda rng, rows: rng.standard_normal((rows, 20)) * (rng.uniform(size=(rows, 20)) < 0.05) * 4,
    "rounded": lambda rng, rows: np.round(rng.standard_normal((rows, 2)), 1),
    "few kinds": lambda rng, rows: rng.integers(1, 4, (rows, 5)).astype(float),
    "random walk": lambda rng, rows: np.cumsum(rng.standard_normal((rows, 3)), axis=0) / np.sqrt(rows),
    "skewed": lambda rng, rows: rng.exponential(1.0, (rows, 4)),
    "pictures": lambda rng, rows: np.clip(rng.normal(0.3, 0.4, (rows, 16, 16)), 0, 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [5, 60, 500])
def test_healthy_values_of_any_kind_cause_no_alarm(kind: str, rows: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = KINDS[kind](rng, rows)
        flat = x.reshape(rows, -1)
        y = flat @ rng.standard_normal((flat.shape[1], 1)) / np.sqrt(flat.shape[1]) + 0.3 * rng.standard_normal(
            (rows, 1)
        )
        for dtype in ("f4", "f8"):
            arrays = {"x": x.astype(dtype), "y": y.astype(dtype)}
            sizes = [(f"axis{place}", size) for place, size in enumerate(x.shape[1:])]
            fields = field("x", dtype, *sizes), field("y", dtype, ("target", 1), role="target")
            assert alarms(diagnose(guess_of(arrays, *fields), arrays)) == []


def test_columns_beyond_what_can_be_squared_are_told_and_stop_nothing() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 3)) * [1, 1e160, 1], rng.standard_normal((400, 2))
    fields = field("x", "f8", ("column", 3)), field("y", "f8", ("target", 2), role="target")
    with np.errstate(over="ignore", invalid="ignore"):
        found = diagnose(guess_of({"x": x, "y": y}, *fields), {"x": x, "y": y})
    assert "column 1 of 3" in next(each.evidence for each in found if each.code == "unnormalised-input")

    x = np.full((400, 3), 5e-324) * rng.integers(0, 3, (400, 3))
    found = diagnose(guess_of({"x": x}, fields[0]), {"x": x}, "scale")
    assert [each.code for each in found] == ["unnormalised-input"]
    assert "columns 0, 1, 2 of 3" in found[0].evidence


def test_a_constant_that_drowns_all_else_is_harmful_and_a_bias_is_not() -> None:
    x = np.random.default_rng(0).standard_normal((ROWS, 3)) * [1, 1, 0] + [0, 0, 1]
    described = field("x", "f8", ("column", 3))
    guess = guess_of({"x": x}, described, divided=False)
    assert diagnose(guess, {"x": x}, "scale") == []
    for values in (x * [1, 1, 1e30], np.full((ROWS, 3), 1e30)):
        assert [each.severity for each in diagnose(guess, {"x": values}, "scale")] == ["harmful"]


def test_whole_numbers_are_judged_as_quantities_and_labels_codes_and_tokens_are_not() -> None:
    rng = np.random.default_rng(0)

    def codes(values: Array, name: str, role: str = "input") -> list[str]:
        dims = [(f"axis{place}", size) for place, size in enumerate(values.shape[1:])]
        guess = guess_of({name: values}, field(name, values.dtype.str, *dims, role=role), divided=False)
        return [each.code for each in diagnose(guess, {name: values}, "scale") if each.severity != "note"]

    assert codes(rng.integers(400, 4000, 3000), "area") == ["unnormalised-input"]
    assert codes(np.repeat([2010, 2011], 200), "year") == ["unnormalised-input", "large-offset"]
    assert codes(rng.integers(60_000, 690_000, 3000), "price", "target") == ["unnormalised-target"]
    assert codes(rng.integers(0, 10**6, (3000, 1)), "y", "target") == ["unnormalised-target"]
    assert codes(rng.integers(1, 32, 3000), "day") == codes(rng.integers(0, 100_000, 3000), "zip") == []
    assert codes(rng.integers(0, 1000, 3000), "y", "target") == codes(rng.integers(0, 9, 5), "y", "target") == []
    assert codes(rng.integers(0, 30_000, (300, 16)), "input_ids") == []
    assert codes(rng.integers(-100, 30_000, (300, 16)), "labels", "target") == []
    assert codes(rng.integers(0, 256, (300, 16)).astype(np.uint8), "x") == ["unnormalised-input"]


def test_tokens_that_are_predicted_and_padded_in_their_own_code_cause_no_alarm() -> None:
    rng = np.random.default_rng(0)
    tokens, mask = rng.integers(2, 30_000, (2000, 12)), np.arange(12) < rng.integers(2, 13, (2000, 1))
    arrays = {
        "input_ids": np.where(mask, tokens, 1),
        "attention_mask": mask.astype(np.int64),
        "labels": np.where(mask, tokens, -100),
        "score": rng.standard_normal(2000),
    }
    fields = (
        field("input_ids", "i8", ("step", 12), mask="attention_mask"),
        field("attention_mask", "i8", ("step", 12), role="mask"),
        field("labels", "i8", ("step", 12), role="target", mask="attention_mask"),
        field("score", "f8", role="target"),
    )
    assert alarms(diagnose(guess_of(arrays, *fields, divided=False), arrays)) == []

    arrays["score"] = arrays["input_ids"][:, 0] / 7
    told = diagnose(guess_of(arrays, *fields, divided=False), arrays, "linear_probe")
    assert [(each.code, each.field) for each in told] == [("target-in-input", "score")]


def test_a_column_that_only_train_lacks_is_told_and_a_rare_class_is_not() -> None:
    rng = np.random.default_rng(0)

    def told(values: Array, role: str = "input") -> list[tuple[str, str]]:
        described = field("x", values.dtype.str, *[("column", size) for size in values.shape[1:]], role=role)
        found = diagnose(guess_of({"x": values}, described), {"x": values}, "constant")
        return [(each.severity, each.evidence.partition(" values")[0]) for each in found if each.severity != "note"]

    dead = rng.standard_normal((ROWS, 3))
    dead[TRAIN, 1] = 0
    assert told(dead) == [("harmful", "column 1 of x is 0 in all 280")]
    assert told((np.arange(ROWS) >= 280).astype(np.int64), "target")[0][0] == "harmful"
    rare = np.zeros((ROWS, 4), np.float32)
    rare[300:310, 2] = rare[::2, 0] = rare[1::2, 1] = 1
    assert told(rare) == []
    rare[280:, 2] = 1
    assert told(rare)[0][0] == "doubtful"


@pytest.mark.parametrize("role", ["input", "aux"])
def test_a_field_named_covariance_is_examined_though_one_triangle_is_stored_and_whatever_its_role(role: str) -> None:
    factors = np.random.default_rng(0).standard_normal((200, 4, 8))
    values = factors @ np.swapaxes(factors, 1, 2)
    described = field("covariance", "f8", ("row", 4), ("column", 4), role=role)

    def codes(values: Array) -> list[str]:
        arrays = {"covariance": values}
        found = diagnose(guess_of(arrays, described, divided=False), arrays, "matrices")
        return [each.code for each in found if each.severity == "harmful"]

    assert codes(values) == []
    assert codes(np.tril(values)) == ["not-hermitian"]
    assert codes(values - np.eye(4)) == ["not-positive-semidefinite"]


def test_what_is_named_a_covariance_is_one_whatever_it_holds_and_other_square_matrices_are_not() -> None:
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((200, 4, 8, 2)).view(np.complex128)[..., 0]
    unconjugated = factors @ np.swapaxes(factors, 1, 2)
    plain = rng.standard_normal((200, 4, 4))

    def codes(values: Array, name: str) -> list[str]:
        described = field(name, values.dtype.str, ("row", 4), ("column", 4))
        found = diagnose(guess_of({name: values}, described, divided=False), {name: values}, "matrices")
        return [each.code for each in found if each.severity == "harmful"]

    assert codes(unconjugated, "cov") == codes(plain, "noise_cov") == ["not-hermitian"]
    assert codes(unconjugated, "channel") == codes(plain, "spectrogram") == codes(plain, "cross_cov") == []


def test_symmetric_matrices_that_nothing_calls_covariances_are_noted_at_most() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 6, 3))
    near = 1 / (np.linalg.norm(points[:, :, None] - points[:, None], axis=-1) + 0.3 * np.eye(6))
    for name, told in (("x", []), ("gram", ["not-positive-semidefinite"])):
        described = field(name, "f8", ("row", 6), ("column", 6))
        found = diagnose(guess_of({name: near}, described, divided=False), {name: near}, "matrices")
        assert [each.code for each in found if each.severity == "harmful"] == told
        assert {"not-positive-semidefinite", "trace-not-n"} == {each.code for each in found}


def test_states_that_samples_return_to_are_no_copies_and_times_in_no_order_repeat_by_chance() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((800, 5))
    t = rng.integers(0, 500, 800)
    for copied in (slice(None, None, 20), slice(0, 40)):
        arrays = {"x": x.copy(), "t": t}
        arrays["x"][copied] = x[3] if copied.step else x[40:80]
        fields = field("x", "f8", ("column", 5)), field("t", "i8", role="id")
        found = diagnose(guess_of(arrays, *fields, divided=False, time="t"), arrays, "repeated_rows", "time_steps")
        severities = {each.code: each.severity for each in found}
        expected = "note" if copied.step else "doubtful"
        assert severities == {"duplicate-rows": expected, "samples-not-in-order": "note"}


def test_what_is_found_once_is_said_in_the_singular_and_what_was_not_counted_is_not_summed() -> None:
    one = field("y", "f4")
    y = np.ones(300, np.float32)
    y[3] = np.inf
    (found,) = diagnose(guess_of({"y": y}, one, divided=False), {"y": y}, "non_finite")
    assert found.evidence == "y holds 1 infinity among 300 values: sample 3"
    y[5:40] = np.nan
    (found,) = diagnose(guess_of({"y": y}, one, divided=False), {"y": y}, "non_finite")
    assert found.evidence == ("y holds 35 NaN and 1 infinity among 300 values: samples 3, 5, 6, 7, 8 and later ones")
    pair = np.stack([np.eye(3)] * 40)
    pair[7] = np.diag([1.0, 1.0, -0.5])
    cov = field("cov", "f8", ("row", 3), ("column", 3))
    found = diagnose(guess_of({"cov": pair}, cov, divided=False), {"cov": pair}, "matrices")[0]
    assert found.evidence.startswith("1 matrix of cov (all looked at) has a negative eigenvalue")


def halves(train: Array, test: Array) -> list[Diagnostic]:
    """What is said of rows that repeat, of a train and a test split."""
    rows = len(train) + len(test)
    x = np.concatenate([train, test])
    described = field("x", x.dtype.str, *((f"axis{place}", size) for place, size in enumerate(x.shape[1:])))
    spec = DatasetSpec("data", (described,), {"train": (0, len(train)), "test": (len(train), rows)})
    return diagnose(Guess("data.npz", "arrays", spec, True, {}), {"x": x}, "repeated_rows")


def test_leaks_of_whole_and_rounded_numbers_are_told_and_coincidences_of_them_are_not() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (400, 8, 8)).astype(np.uint8)
    rounded = np.round(rng.standard_normal((400, 8)), 2)
    for values in (pictures, rounded):
        assert [each.code for each in halves(values[:300], values[200:])] == ["shared-rows"]
        assert halves(values[:300], values[300:]) == []
    for seed in range(5):
        column = np.round(np.random.default_rng(seed).standard_normal((4000, 1)), 5)
        assert halves(column[:3000], column[3000:]) == []
    few = rng.integers(1, 4, (3000, 4)).astype(np.int16)
    assert halves(few[:2000], few[2000:]) == []


def test_a_copy_up_to_rounding_counts_once_though_it_is_found_on_two_grids() -> None:
    guess, arrays = healthy()
    arrays["x"][350] = arrays["x"][10] * np.float32(1 + 2**-22)

    (told,) = diagnose(guess, arrays, "nearly_repeated_rows")

    assert told.evidence.startswith("at least 1 sample of x is")
    assert told.measured["count"] == 1
    assert told.consequence.startswith("0.83% of the samples held out")


def test_copies_within_train_do_not_hide_copies_across_but_a_usual_first_state_is_none() -> None:
    rng = np.random.default_rng(0)
    once = rng.standard_normal((950, 6))
    copied = rng.permutation(np.concatenate([once, once[:50]]))
    assert "shared-rows" in [each.code for each in halves(copied[:800], copied[800:])]

    starts = rng.standard_normal((1000, 6))
    starts[::50] = starts[0]
    assert [each.code for each in halves(starts[:800], starts[800:])] == ["duplicate-rows"]


def test_of_many_rows_a_stated_part_is_compared_and_what_is_told_is_reckoned_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prep.symptoms.repeats._MOST_ROWS", 1000)
    values = np.random.default_rng(0).standard_normal((4000, 4))
    values[2000:3000] = values[:1000]
    guess = guess_of({"x": values}, field("x", "f8", ("place", 4)), divided=False)

    (told,) = diagnose(guess, {"x": values}, "repeated_rows")

    assert told.measured["count"] == pytest.approx(250, abs=50)
    assert "one content of 4 looked at" in told.evidence
    share = float(told.consequence.partition(" %")[0])
    assert share == pytest.approx(25, abs=5)


def test_a_fill_value_weighs_the_square_of_its_distance_and_a_gap_as_many_steps_as_it_lasts() -> None:
    arrays = {"x": np.linspace(-10.0, 5.0, ROWS)[:, np.newaxis], "time": 0.1 * np.arange(ROWS)}
    arrays["x"][7], arrays["time"][300:] = -9999, arrays["time"][300:] + 0.6
    fields = field("x", "f8", ("place", 1)), field("time", "f8", role="aux")
    guess = guess_of(arrays, *fields, divided=False, time="time")

    fill, gap = diagnose(guess, arrays, "fill_values", "time_steps")

    # 999.9²: a thousand times as far as -10.
    assert fill.consequence.startswith("one of them weighs as much as 1e+06 of the largest other value")
    assert "the longest (0.7) leads to sample 300" in gap.evidence
    assert gap.consequence == "a model of equal steps sees about 7 steps as one"


def test_healthy_integers_cause_no_alarm_about_overflow_or_fill_values() -> None:
    rng = np.random.default_rng(0)
    for values in (
        rng.integers(0, 256, (500, 8)).astype(np.uint8),
        rng.integers(-32768, 32768, (500, 8)).astype(np.int16),
        rng.integers(0, 10_000, (20_000, 1)).astype(np.int32),
        rng.integers(0, 2, (500, 3)).astype(np.int64) * 255,
    ):
        arrays = {"x": values}
        guess = guess_of(arrays, field("x", values.dtype.str, ("column", values.shape[1])))
        assert alarms(diagnose(guess, arrays, "overflow", "fill_values", "blank_rows")) == []


def test_negative_numbers_in_an_unsigned_type_are_told_and_marks_at_its_end_are_not() -> None:
    rng = np.random.default_rng(0)
    signed = rng.integers(-60, 60, (500, 4))
    marked = np.where(rng.random((500, 4)) < 0.1, -1, np.abs(signed))

    def codes(values: Array) -> list[str]:
        guess = guess_of({"x": values}, field("x", values.dtype.str, ("column", 4)), divided=False)
        return [each.code for each in diagnose(guess, {"x": values}, "overflow", cuts=(1, 45))]

    assert codes(signed.astype(np.uint32)) == ["integer-wrap"]
    assert codes(signed.astype(np.uint16)) == ["integer-wrap"]
    assert codes(marked.astype(np.uint32)) == codes(np.abs(signed).astype(np.uint32)) == []
    assert codes(rng.integers(0, 1 << 16, (500, 4)).astype(np.uint16)) == []


def test_a_tail_of_any_value_is_told_and_what_settles_sorts_or_is_padded_is_not() -> None:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((ROWS, 3)), axis=0)
    mask = np.ones((ROWS, 3), np.uint8)
    mask[300:] = 0

    def told(values: Array, padded: bool = False) -> list[tuple[str, str]]:
        described = field("x", values.dtype.str, ("place", values.shape[1]), mask="mask" if padded else "")
        flags = field("mask", "u1", ("place", 3), role="mask")
        arrays = {"x": values, "mask": mask}
        guess = guess_of(arrays, described, *([flags] if padded else []), divided=False)
        found = diagnose(guess, arrays, "blank_rows", cuts=(1, 45, 371, 380))
        return [(each.code, each.severity) for each in found]

    place = np.arange(ROWS)[:, np.newaxis]
    assert told(np.where(place < 350, walk, -1.0)) == [("constant-tail", "harmful")]
    assert told(walk[np.minimum(np.arange(ROWS), 350)]) == [("constant-tail", "doubtful")]
    assert told(walk.astype(np.float32)) == told(np.where(mask, walk, 0.0), padded=True) == []
    # float32 has no numbers between 1 and 1 + exp(-17).
    assert told(np.asarray(1 + np.exp(-place / 10), np.float32)) == []
    noise = np.round(np.where(place < 150, rng.standard_normal((ROWS, 1)), np.exp((150 - place) / 10)), 2)
    assert told(noise) == told(noise + 3) == []
    assert (
        told(np.where(place < 350, walk, 0.0)) == told(np.where(place < 180, noise, 0)) == [("blank-tail", "harmful")]
    )
    assert told(np.sort(rng.integers(0, 4, (ROWS, 1)), axis=0)) == []
    assert told(np.eye(4)[np.sort(rng.integers(0, 4, ROWS))]) == told(np.eye(4)[rng.integers(0, 4, ROWS)]) == []
    # A switch that was turned once, and a last episode as long as two others.
    assert told((place > 150).astype(np.float32)) == told(walk[np.minimum(np.arange(ROWS) // 20, 18)]) == []


def test_half_a_flag_in_a_mask_is_told_though_it_makes_the_field_no_mask_and_weights_are_not() -> None:
    rng = np.random.default_rng(0)
    mask = np.sort(rng.integers(0, 2, (ROWS, 6)), axis=1)[:, ::-1].astype(np.float32)
    half = mask.copy()
    half[5, 2] = 0.5

    def told(values: Array, role: str, name: str = "mask") -> list[tuple[str, tuple[int, ...]]]:
        linked = field("x", "f4", ("place", 6), mask=name if role == "mask" else "")
        arrays = {"x": mask, name: values}
        guess = guess_of(arrays, linked, field(name, values.dtype.str, ("place", 6), role=role), divided=False)
        return [(each.severity, each.samples) for each in diagnose(guess, arrays, "padding", cuts=(3, 45))]

    assert told(half, "aux") == told(half, "mask") == [("doubtful", (5,))]
    assert told(4 * half, "mask")[0][0] == "harmful"
    assert told(mask, "aux") == told(half, "aux", "weights") == []
    assert told(rng.uniform(0, 1, mask.shape).astype(np.float32), "aux") == []
    # Of whole numbers, and of two values only, whatever they are.
    whole = mask.astype(np.int64)
    whole[3, 4] = 2
    assert told(whole, "aux") == [("harmful", (3,))]
    unseen = np.where(np.arange(6) == 5, 0, mask) / 2
    assert [severity for severity, _ in (*told(unseen, "aux"), *told(255 * mask, "aux"))] == ["doubtful", "doubtful"]
    assert told(rng.integers(0, 4, mask.shape), "aux") == told(mask / 2, "aux", "weights") == []


def test_times_of_every_sane_kind_cause_no_alarm() -> None:
    rng = np.random.default_rng(0)
    jitter = np.cumsum(0.1 + 0.03 * rng.uniform(-1, 1, ROWS))
    for values in (np.arange(ROWS) * 0.1, jitter, np.repeat(np.arange(ROWS // 2), 2), rng.permutation(ROWS) * 1.0):
        arrays = {"time": np.asarray(values, np.float64)}
        guess = guess_of(arrays, field("time", "f8", role="aux"), time="time", divided=False)
        assert alarms(diagnose(guess, arrays, "time_steps")) == []


def test_one_step_back_of_a_single_recording_is_no_restart_and_a_clock_that_never_moves_is_told() -> None:
    def codes(values: Array) -> list[str]:
        guess = guess_of({"time": values}, field("time", "f8", role="aux"), time="time", divided=False)
        return [each.code for each in diagnose(guess, {"time": values}, "time_steps")]

    recording = np.arange(ROWS) * 0.1
    assert codes(np.concatenate([recording, recording])) == ["time-restarts"]
    recording[200] = recording[190]
    assert codes(recording) == ["time-backward", "time-missing"]
    assert codes((1.7e9 + 0.02 * np.arange(ROWS)).astype(np.float32).astype(np.float64)) == ["time-repeated"]
    assert codes(np.arange(ROWS) % 100.0) == ["time-restarts"]
    ticks = (2**31 - 150 + np.arange(ROWS)).astype(np.int32).astype(np.float64)
    assert codes(ticks) == ["time-backward"]


def stored(kind: str, values: Any) -> Guess:
    guess, _ = healthy()
    return replace(guess, stored=(Stored("x", kind, np.asarray(values, np.float64), "x_mean"),))


def test_statistics_that_match_train_are_fine_and_others_are_named_by_what_they_match() -> None:
    _, arrays = healthy()
    arrays["x"] = arrays["x"] * 3 + 5
    x = arrays["x"].astype(np.float64)

    def codes(kind: str, values: Any) -> list[str]:
        return [each.code for each in diagnose(stored(kind, values), arrays, "stored_statistics")]

    assert codes("mean", x[TRAIN].mean(0)) == []
    assert codes("std", x[TRAIN].std(0, ddof=1).astype(np.float32)) == []
    assert codes("min", x[TRAIN].min()) == []
    assert codes("mean", x[TEST].mean(0)) == ["statistics-of-another-split"]
    assert codes("mean", x.mean(0)) == ["statistics-of-all-rows"]
    assert codes("std", x[TRAIN].std(0) * 2) == ["statistics-unlike-data"]


def test_variance_by_subtraction_in_float32_and_padding_that_was_counted_are_named() -> None:
    guess, arrays = healthy()
    arrays["x"] = (arrays["x"] + 3000).astype(np.float32)
    x = arrays["x"][TRAIN]
    naive = np.sqrt(np.abs(np.mean(x**2, 0, np.float32) - np.mean(x, 0, np.float32) ** 2))
    (found,) = diagnose(stored("std", naive), arrays, "stored_statistics")
    assert found.code == "statistics-of-float32"

    windows = Stored("windows", "std", arrays["windows"][TRAIN].astype(np.float64).std((0, 1)), "windows_std")
    (found,) = diagnose(replace(guess, stored=(windows,)), arrays, "stored_statistics")
    assert found.code == "statistics-with-padding"


def test_statistics_of_raw_values_beside_standardised_ones_are_expected() -> None:
    _, arrays = healthy()
    assert diagnose(stored("mean", [300.0] * 6), arrays, "stored_statistics") == []


def test_every_check_has_a_consequence_and_a_command_in_plain_words() -> None:
    guess, _ = healthy()
    assert set(CHECKS.names()) <= KNOWN
    made = replace(guess, spec=replace(guess.spec, attributes={"source": f"prep recipe {guess.spec.name}"}))
    for check in sorted(KNOWN):
        means, command = consequence(check, made)
        assert len(means) > 30
        assert command.startswith("prep ")
    assert consequence("unique_rows", guess)[1] == ""  # to ingest the same source again mends nothing
    assert consequence("of_somebody_else", guess)[1] == "prep validate data.h5 -v"


def test_states_do_not_grow_with_the_rows() -> None:
    sizes = []
    for rows in (1000, 4000):
        guess, arrays = healthy(rows)
        arrays["session"] %= 50
        block = Block(0, rows, {name: array.copy() for name, array in arrays.items()})
        folds = {fold.key: fold for name in SYMPTOMS for fold in SYMPTOMS.load(name)().folds(guess)}
        # Hashes of rows wait in a file beyond a million (`prep.folds.duplicates`).
        kept = [fold for fold in folds.values() if getattr(fold, "journaled", True)]
        sizes.append(sum(len(encode_states({"state": fold.absorb(fold.empty(), block)})) for fold in kept))
    assert sizes[1] < 1.1 * sizes[0]


def test_energies_under_constraints_are_those_of_another_molecule() -> None:
    arrays = {"energy": np.random.default_rng(0).standard_normal(50)}
    guess = guess_of(arrays, field("energy", "f8", role="aux"))
    assert diagnose(guess, arrays, "energies") == []

    for stated, codes in (("none", []), ("HBonds", ["energies-of-another-molecule"])):
        spec = replace(guess.spec, attributes={"energy_constraints": stated})
        found = diagnose(replace(guess, spec=spec), arrays, "energies")
        assert [each.code for each in found] == codes


def test_energies_of_other_frames_of_the_same_temperature_are_told_and_their_own_are_not() -> None:
    rng = np.random.default_rng(0)
    kelvin = np.repeat([300.0, 450.0], ROWS // 2)
    rest = rng.uniform(-0.3, 0.3, (9, 3))
    moved = rest + 0.005 * np.sqrt(kelvin / 300)[:, np.newaxis, np.newaxis] * rng.standard_normal((ROWS, 9, 3))
    bonds = np.linalg.norm(moved[:, 1:] - moved[:, :-1], axis=2)
    springs = ((bonds - bonds.mean(axis=0)) ** 2).sum(axis=1)
    own = springs + springs.std() * rng.standard_normal(ROWS) + 1e-6 * kelvin - 500
    others = np.concatenate([rng.permutation(own[:200]), rng.permutation(own[200:])])
    fields = (
        field("positions", "f4", ("atom", 9), ("axis", 3)),
        field("energy", "f8", role="target"),
        field("temperature", "f8", role="aux"),
    )

    def codes(positions: Array, energy: Array) -> list[str]:
        arrays = {"positions": positions.astype(np.float32), "energy": energy, "temperature": kelvin}
        return [each.code for each in diagnose(guess_of(arrays, *fields), arrays, "energy_probe", cuts=(1, 45, 290))]

    assert codes(moved, own) == []
    assert codes(moved, others) == ["energy-not-seen"]
    # Of particles that go anywhere, or too few frames, nothing can be said.
    assert codes(rng.standard_normal((ROWS, 9, 3)), others) == []
    assert codes(np.where(np.arange(ROWS)[:, None, None] % 8, np.nan, moved), others) == []


@pytest.mark.parametrize("seed", range(16))
def test_any_numbers_in_any_shape_are_borne(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}
    fields = []
    for name in ("x", "y", "time", "covariance"):
        dtype = np.dtype(rng.choice(["f2", "f4", "f8", "c8", "c16", "i1", "u1", "i2", "u4", "i8", "u8", "b1"]))
        shape = (3, 3) if seed % 3 else tuple(rng.choice([0, 1, 2, 5, 9], size=rng.integers(0, 4)).tolist())
        with np.errstate(all="ignore"):
            values = rng.standard_normal((40, *shape)) * 10.0 ** rng.choice([0, 3, 30, 200, -30])
            values = values.astype(dtype) if dtype.kind in "fc" else (values > 0).astype(dtype)
        if dtype.kind in "fc" and values.size:
            values.reshape(-1)[rng.integers(0, values.size, 3)] = [np.nan, np.inf, -np.inf]
        arrays[name] = values
        dims = [(f"{name}{axis}", size) for axis, size in enumerate(shape)]
        fields.append(field(name, dtype.str, *dims, role=str(rng.choice(["input", "target", "aux", "id"]))))
    guess = guess_of(arrays, *fields, time="time", divided=bool(seed % 2))

    with np.errstate(all="ignore"):
        found = diagnose(guess, arrays, cuts=(20,))

    assert all("nan" not in (each.evidence + each.consequence).replace("NaN", "") for each in found)

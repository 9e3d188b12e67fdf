"""Every fold gives one answer however the rows are cut, depends on what it measures, and on nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import Array, Block
from prep.folds import Fold, Scope
from prep.folds.autocorrelation import Autocorrelation
from prep.folds.blanks import Blanks
from prep.folds.duplicates import Part, RowHashes
from prep.folds.energies import Energies
from prep.folds.gram import Gram, GramResult
from prep.folds.histograms import Histograms
from prep.folds.ids import Ids
from prep.folds.intervals import Intervals
from prep.folds.jumps import Jumps
from prep.folds.lagged import LaggedGram
from prep.folds.moments import Moments
from prep.folds.relative import RelativeScores
from prep.folds.rowwise import Rowwise
from prep.folds.scales import Scales
from prep.folds.sentinels import Sentinels
from prep.folds.sketch import Quantiles
from prep.folds.spectra import Spectra
from prep.folds.steps import Steps
from prep.folds.tails import Tails
from tests.measuring import field, measure

pytestmark = pytest.mark.usefixtures("both_kernels")

ROWS, TRAIN = 96, 80
SCOPE = Scope("train", 0, TRAIN)
SPLITS = {"train": (0, TRAIN), "val": (TRAIN, ROWS)}
STATES = field("states", "f4", ("time", 3), ("state", 4), features=("state",))
MASK = field("mask", "u1", ("state", 4), role="mask")
TARGETS = field("targets", "f8", ("target", 2), role="target")
SIGNAL = field("signal", "f4", ("step", 12))
ECHO = field("echo", "f4", ("step", 12), role="target")
ENERGY = field("energy", "f8")
LABEL = field("label", "f8")
COUNTS = field("counts", "i2", ("step", 12))
MATRICES = field("matrices", "c8", ("row", 3), ("column", 3))


def largest(arrays: Mapping[str, Array]) -> Array:
    return np.abs(arrays["states"]).reshape(len(arrays["states"]), -1).max(axis=1)


def both_ends(arrays: Mapping[str, Array], steps: int) -> list[Part]:
    states = arrays["states"]
    return [Part(states[:, :steps]), Part(states[:, -steps:], states[:, 0, 0] > 10)]


def data() -> dict[str, Array]:
    random = np.random.default_rng(11)
    group = np.repeat([7, 3, 5, 3], ROWS // 4)
    mask = (np.arange(4) < (group // 2)[:, np.newaxis] + 1).astype(np.uint8)
    factors = random.standard_normal((ROWS, 3, 3)) + 1j * random.standard_normal((ROWS, 3, 3))
    states = random.standard_normal((ROWS, 3, 4)) * 3 + 10
    states[90] = states[30]
    targets = states[:, -1, :2] @ [[1.0, 2.0], [0.5, -1.0]] + 0.3 * random.standard_normal((ROWS, 2))
    signal = random.standard_normal((ROWS, 12))
    labels = random.choice([1.0, 2.0, 3.0], ROWS)
    # The row that a law changes is one that `Histograms` counts, and equal to the next.
    labels[30:32] = 2.0
    return {
        "signal": signal.astype(np.float32),
        "echo": (signal + np.roll(signal, 2, axis=1) + 0.1 * random.standard_normal(signal.shape)).astype(np.float32),
        "states": states.astype(np.float32),
        "mask": mask,
        "targets": targets,
        "matrices": (factors @ factors.conj().swapaxes(1, 2)).astype(np.complex64),
        "energy": np.cumsum(random.standard_normal(ROWS)),
        "counts": random.integers(1, 50, (ROWS, 12)).astype(np.int16),
        "label": labels,
        "group": group,
        "trajectory": np.arange(ROWS) // 4,
    }


@dataclass(frozen=True)
class Case:
    """A fold, the field it measures, whether any cut gives the same bits, whether a mask hides values from it,
    and the factor of one value that it must notice.
    """

    fold: Fold
    field: str
    exact: bool = False
    masked: bool = False
    scoped: bool = True
    factor: float = 40.0


CASES = {
    "autocorrelation": Case(Autocorrelation("energy", "group", 5, SCOPE), "energy"),
    "histograms": Case(Histograms("energy", "label", (1.0, 2.0), "group", 0.5, SCOPE), "energy", exact=True),
    "ids": Case(Ids("trajectory", Scope("", 0, ROWS)), "trajectory", exact=True, scoped=False),
    "intervals": Case(Intervals("energy", "group", SPLITS, 0.5), "energy", exact=True, scoped=False),
    "intervals of one group": Case(Intervals("energy", "", SPLITS, 0.05), "energy", exact=True, scoped=False),
    "moments": Case(Moments(STATES, SCOPE), "states"),
    "moments, masked": Case(Moments(STATES, SCOPE, MASK), "states", masked=True),
    "moments, masked, grouped": Case(Moments(STATES, SCOPE, MASK, "group"), "states", masked=True),
    "moments, complex": Case(Moments(MATRICES, SCOPE), "matrices"),
    "quantiles": Case(Quantiles(STATES, SCOPE), "states", exact=True),
    "quantiles, pivoted": Case(Quantiles(STATES, SCOPE, pivot=(9.0, 10.0, 11.0, 12.0)), "states", exact=True),
    "quantiles, masked, grouped": Case(Quantiles(STATES, SCOPE, MASK, "group"), "states", exact=True, masked=True),
    "scales, trace": Case(Scales(MATRICES, SCOPE, "trace"), "matrices"),
    "scales, rms": Case(Scales(STATES, SCOPE, "rms", MASK), "states", masked=True),
    "blanks": Case(Blanks(STATES, SCOPE, MASK), "states", exact=True, masked=True, factor=0.0),
    "tails": Case(Tails(LABEL, SCOPE), "label", exact=True),
    "energies": Case(Energies(STATES, "group", SCOPE, MASK), "states", masked=True),
    "jumps": Case(Jumps(LABEL, SCOPE), "label", exact=True),
    "jumps, within samples": Case(Jumps(COUNTS, SCOPE, 1), "counts", exact=True),
    "sentinels": Case(Sentinels(STATES, SCOPE), "states", exact=True),
    "spectra": Case(Spectra(MATRICES, SCOPE, 1e-5, 5), "matrices"),
    "steps": Case(Steps(ENERGY, SCOPE, "group"), "energy", exact=True),
    "steps, within samples": Case(Steps(SIGNAL, SCOPE), "signal", exact=True),
    "gram": Case(Gram(STATES, TARGETS, SCOPE), "states"),
    "gram, masked, grouped": Case(Gram(STATES, TARGETS, SCOPE, "group", MASK, last=("time",)), "states", masked=True),
    "lagged gram": Case(LaggedGram(SIGNAL, ECHO, SCOPE, 3, 2), "signal"),
    "lagged gram, grouped": Case(LaggedGram(SIGNAL, ECHO, SCOPE, 3, group="group"), "signal"),
    "relative scores": Case(RelativeScores(STATES, SCOPE), "states"),
    "relative scores, matrices": Case(RelativeScores(MATRICES, SCOPE), "matrices"),
    "row hashes": Case(RowHashes(("states", "group"), SPLITS), "states", exact=True, scoped=False),
    "row hashes of ids": Case(RowHashes(("group", "trajectory"), SPLITS), "trajectory", exact=True, scoped=False),
    "row hashes of a sample": Case(RowHashes(("trajectory",), SPLITS, every=2), "trajectory", exact=True, scoped=False),
    "row hashes of parts": Case(
        RowHashes(("states",), SPLITS, "ends", both_ends, {"steps": 2}), "states", exact=True, scoped=False
    ),
    "rowwise": Case(Rowwise("largest", ("states",), largest, 14.0, SCOPE), "states", exact=True),
}
every_fold = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
cuts = st.lists(st.integers(1, ROWS - 1), max_size=12)


def numbers(result: Any) -> dict[str, Array]:
    """Everything a measurement says, as arrays."""
    if isinstance(result, GramResult):
        return {"r2": result.r2(), "nmse": np.asarray(result.nmse()), "counts": result.counts}
    assert is_dataclass(result)
    return {each.name: _array(getattr(result, each.name)) for each in fields(result)}


def _array(value: Any) -> Array:
    if isinstance(value, Mapping):
        value = list(value.items())
    try:
        return np.asarray(value)
    except ValueError:
        return np.asarray([repr(value)])


def same(left: Any, right: Any) -> bool:
    """Whether two measurements agree in every bit."""
    one, other = numbers(left), numbers(right)
    return all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one)


@every_fold
@settings(max_examples=25)
@given(cuts=cuts)
def test_any_cut_of_the_rows_gives_the_same_answer(case: Case, cuts: list[int]) -> None:
    whole, cut = measure(case.fold, data()), measure(case.fold, data(), cuts)
    if case.exact:
        assert same(cut, whole)
    else:
        expected, actual = numbers(whole), numbers(cut)
        for name, value in expected.items():
            np.testing.assert_allclose(actual[name], value, rtol=1e-12, atol=1e-12, err_msg=name)


@every_fold
@settings(max_examples=10)
@given(order=st.permutations(range(6)))
def test_the_order_in_which_workers_finish_changes_no_bit(case: Case, order: list[int]) -> None:
    parts = [10, 17, 48, 49, 90]
    assert same(measure(case.fold, data(), parts, order), measure(case.fold, data(), parts))


@every_fold
def test_a_fold_and_its_state_survive_the_way_to_a_worker(case: Case) -> None:
    fold = pickle.loads(pickle.dumps(case.fold))
    assert fold.key == case.fold.key
    assert same(measure(fold, data()), measure(case.fold, data()))


@every_fold
def test_merging_changes_neither_side(case: Case) -> None:
    first, second = (measure_state(case.fold, start, stop) for start, stop in ((0, 40), (40, ROWS)))
    kept = pickle.dumps((first, second))
    case.fold.merge(first, second)
    assert pickle.dumps((first, second)) == kept


def measure_state(fold: Fold, start: int, stop: int) -> Any:
    arrays = {name: array[start:stop].copy() for name, array in data().items()}
    return fold.absorb(fold.empty(), Block(start, stop, arrays))


@every_fold
def test_one_counted_value_changes_the_measurement(case: Case) -> None:
    changed = data()
    values = changed[case.field]
    if case.field == "trajectory":
        values[-1] = 0
    else:
        place = (30, *[0] * (values.ndim - 1))
        values[place] = values[place] * case.factor
        if isinstance(case.fold, Gram):
            values[30, -1, 0] *= 40
    assert not same(measure(case.fold, changed), measure(case.fold, data()))


@pytest.mark.parametrize("junk", [1e30, np.nan, -np.inf])
@pytest.mark.parametrize("case", [case for case in CASES.values() if case.masked], ids=lambda case: case.fold.key)
def test_what_the_mask_leaves_out_changes_nothing(case: Case, junk: float) -> None:
    changed = data()
    hidden = np.broadcast_to(changed["mask"][:, np.newaxis, :] == 0, changed["states"].shape)
    assert hidden.any()
    changed["states"][hidden] = junk
    assert same(measure(case.fold, changed, [17]), measure(case.fold, data(), [17]))


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.scoped], ids=[name for name, case in CASES.items() if case.scoped]
)
def test_rows_outside_the_scope_change_nothing(case: Case) -> None:
    changed = data()
    for name in ("states", "targets", "matrices", "signal", "echo"):
        changed[name][TRAIN:] = np.nan
    assert same(measure(case.fold, changed, [50, 85]), measure(case.fold, data(), [50, 85]))


@every_fold
def test_nothing_at_all_can_be_finished(case: Case) -> None:
    case.fold.finish(case.fold.empty())
    case.fold.finish(case.fold.merge(case.fold.empty(), case.fold.empty()))


def test_folds_with_different_arguments_have_different_keys() -> None:
    keys = [case.fold.key for case in CASES.values()]
    assert len(set(keys)) == len(keys)


@every_fold
def test_a_fold_reads_only_the_fields_it_names(case: Case) -> None:
    needed = {name: array for name, array in data().items() if name in case.fold.fields}
    assert same(measure(case.fold, needed), measure(case.fold, data()))

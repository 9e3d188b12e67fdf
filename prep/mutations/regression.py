"""What went wrong with badly scaled vectors, and what else could."""

from __future__ import annotations

import numpy as np

from prep.mutations import Specimen


def raw(data: Specimen) -> None:
    """Inputs and targets were trained on in their own units: the loss began at 1e15, and nothing was learnt."""
    raw_inputs(data)
    raw_targets(data)


def raw_inputs(data: Specimen) -> None:
    """Inputs were trained on in their own units, from hundredths to ten thousands."""
    data.store("inputs", data.original("inputs"))


def raw_targets(data: Specimen) -> None:
    """Inputs were normalised and targets were not: the loss began at 8.5e14."""
    data.store("targets", data.original("targets"))


def not_a_number(data: Specimen) -> None:
    """One value is NaN."""
    data.arrays["inputs"][data.spec.rows // 2, 1] = np.nan


def infinite(data: Specimen) -> None:
    """One value is infinite."""
    data.arrays["targets"][data.spec.rows // 3, 0] = np.inf


def constant_column(data: Specimen) -> None:
    """A sensor died: one input has the same value in every row."""
    data.arrays["inputs"][:, 4] = 0.0


def test_statistics(data: Specimen) -> None:
    """Mean and standard deviation were taken of the test split."""
    for name in ("inputs", "targets"):
        values = data.original(name)
        held = values[data.rows("test")]
        data.store(name, (values - held.mean(axis=0)) / held.std(axis=0))


def own_statistics(data: Specimen) -> None:
    """Each split was normalised by its own mean and standard deviation, as if it had come alone."""
    for name in ("inputs", "targets"):
        values = data.original(name)
        for split in data.spec.splits:
            own = values[data.rows(split)]
            values[data.rows(split)] = (own - own.mean(axis=0)) / own.std(axis=0)
        data.store(name, values)


def dead_in_test(data: Specimen) -> None:
    """A sensor died before the test data were taken: one input has the same value in every row of that split."""
    data.arrays["inputs"][data.rows("test"), 4] = 0.0


def shuffled_targets(data: Specimen) -> None:
    """Inputs and targets were shuffled apart, so that nothing can be learnt."""
    rng = np.random.default_rng(0)
    for split in data.spec.splits:
        rows = data.rows(split)
        data.arrays["targets"][rows] = rng.permutation(data.arrays["targets"][rows])


def copied_rows(data: Specimen) -> None:
    """The test split is made of rows that were trained on."""
    test, train = data.rows("test"), data.rows("train")
    for array in (data.arrays["inputs"], data.arrays["targets"]):
        array[test] = array[train][: test.stop - test.start]


def nearly_copied_rows(data: Specimen) -> None:
    """The test split is made of rows that were trained on, a rounding away: one copy went through another dtype."""
    copied_rows(data)
    for name in ("inputs", "targets"):
        array = data.arrays[name]
        array[data.rows("test")] = np.nextafter(array[data.rows("test")], np.inf, dtype=array.dtype)

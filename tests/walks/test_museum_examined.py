"""`prep doctor` on the five certified datasets, which are well, and on every failure of the museum, which it names; the
same arrays without anything that prep writes beside them are named as far as arrays alone can tell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import prep
from prep.engine import DatasetSource
from prep.mutations import MUTATIONS
from prep.symptoms import Diagnostic
from tests.conftest import SYSTEMS, dataset_of

# What names each failure: in the dataset of prep, which carries its schema, and in its arrays alone ("": nothing can).
NAMED_BY = {
    "control/dummy_statistics": ("check-standardised", "unnormalised-target"),
    "control/filled_padding": ("padding-not-zero", "padding-not-zero"),
    "control/global_scale": ("check-loss-share", "unnormalised-target"),
    "control/lost_family": ("check-group-count", "duplicate-rows"),
    "control/normalised_twice": ("check-standardised", "unnormalised-input"),
    "control/padding_counted": ("check-zero-baseline", ""),
    "control/scaled_encoding": ("flags-standardised", ""),
    "control/scattered_windows": ("shared-steps", "shared-steps"),
    "control/shared_trajectories": ("shared-steps", "shared-steps"),
    "control/stiff_family": ("check-growth", ""),
    "control/unapplied_statistics": ("unnormalised-target", "unnormalised-target"),
    "covariance/constant_symbols": ("check-fresh-symbols", ""),
    "covariance/foreign_snapshots": ("check-whitened-power", ""),
    "covariance/foreign_sources": ("check-steering-span", ""),
    "covariance/forgotten_powers": ("check-whitened-power", ""),
    "covariance/indefinite": ("not-positive-semidefinite", "not-positive-semidefinite"),
    "covariance/mean_centred": ("not-positive-semidefinite", "not-positive-semidefinite"),
    "covariance/mislabelled_snr": ("check-whitened-power", ""),
    "covariance/not_hermitian": ("not-hermitian", "not-hermitian"),
    "covariance/one_sided_loading": ("trace-not-n", "trace-not-n"),
    "covariance/raw_target": ("trace-not-n", "trace-not-n"),
    "covariance/reseeded_splits": ("shared-rows", "shared-rows"),
    "covariance/reseeded_splits_rounded": ("nearly-shared-rows", "nearly-shared-rows"),
    "covariance/swallowed_exception": ("trace-not-positive", "trace-not-positive"),
    "peptide/angstrom": ("check-bond-lengths", ""),
    "peptide/broken_molecule": ("check-bond-lengths", ""),
    "peptide/constrained_energies": ("energies-of-another-molecule", ""),
    "peptide/frames_split_at_random": ("check-separated", ""),
    "peptide/mirrored": ("check-chirality", ""),
    "peptide/one_wrong_thermostat": ("check-boltzmann-slope", ""),
    "peptide/shuffled_energies": ("energy-not-seen", ""),
    "peptide/unaligned": ("check-aligned", ""),
    "peptide/wrong_thermostat": ("check-boltzmann-slope", ""),
    "regression/constant_column": ("constant-column", "constant-column"),
    "regression/copied_rows": ("shared-rows", "shared-rows"),
    "regression/dead_in_test": ("dead-in-split", "dead-in-split"),
    "regression/infinite": ("non-finite", "non-finite"),
    "regression/nearly_copied_rows": ("nearly-shared-rows", "nearly-shared-rows"),
    "regression/not_a_number": ("non-finite", "non-finite"),
    "regression/own_statistics": ("own-statistics", "own-statistics"),
    "regression/raw": ("unnormalised-target", "unnormalised-target"),
    "regression/raw_inputs": ("unnormalised-input", "unnormalised-input"),
    "regression/raw_targets": ("unnormalised-target", "unnormalised-target"),
    "regression/shuffled_targets": ("target-not-seen", "target-not-seen"),
    "regression/test_statistics": ("statistics-of-another-split", "statistics-of-another-split"),
    "tones/carried_state": ("no-borders", "no-borders"),
    "tones/interleaved": ("time-backward", "time-backward"),
    "tones/one_phase_each": ("check-mean-probe", ""),
    "tones/random_phase": ("target-not-seen", "target-not-seen"),
    "tones/same_targets": ("shared-rows", "shared-rows"),
    "tones/shuffled_time": ("time-backward", "time-backward"),
    "tones/wrong_selector": ("check-one-hot", ""),
}
QUICK = (
    "regression/dead_in_test",
    "regression/nearly_copied_rows",
    "covariance/swallowed_exception",
    "peptide/constrained_energies",
)


def diagnostics(path: Path) -> tuple[Diagnostic, ...]:
    (examined,) = prep.doctor(path)
    assert examined.error is None, examined.error
    assert examined.found is not None
    return examined.found.diagnostics


def arrays_alone(dataset: Path, output: Path) -> Path:
    """The arrays of a dataset in an .npz, and nothing that prep says of them."""
    with DatasetSource.open(dataset) as source:
        names = frozenset(field.name for field in source.spec.fields)
        np.savez(output, **source.read(0, source.spec.rows, names, False)[0].arrays)
    return output


@pytest.mark.parametrize("system", SYSTEMS)
def test_certified_data_are_well(system: str, certified_project: Path):
    found = diagnostics(dataset_of(certified_project, system))
    assert [(each.code, each.field) for each in found if each.severity != "note"] == []


@pytest.mark.parametrize(
    ("system", "unknown"),
    [
        # What was never normalised may say so: decibels, amplitudes of a factor, energies and temperatures.
        ("control", set()),
        ("covariance", {("unnormalised-input", "snr_db"), ("unnormalised-input", "factor")}),
        ("peptide", {("unnormalised-target", "energy"), ("unnormalised-input", "temperature")}),
        ("regression", set()),
        ("tones", set()),
    ],
)
def test_their_arrays_alone_are_well_too(
    system: str, unknown: set[tuple[str, str]], certified_project: Path, tmp_path: Path
):
    found = diagnostics(arrays_alone(dataset_of(certified_project, system), tmp_path / f"{system}.npz"))
    assert {(each.code, each.field) for each in found if each.severity != "note"} <= unknown


def test_every_failure_of_the_museum_is_known_here():
    assert set(NAMED_BY) == set(MUTATIONS)


@pytest.mark.parametrize(
    "key", [key if key in QUICK else pytest.param(key, marks=pytest.mark.long) for key in NAMED_BY]
)
def test_a_failure_of_the_museum_is_named(key: str, certified_copy: Path):
    system, _, failure = key.partition("/")
    good = dataset_of(certified_copy, system)
    wrong = prep.mutate(system, failure, certified_copy / f"wrong{good.suffix}", data=good)

    for code, one, other in zip(
        NAMED_BY[key],
        (good, arrays_alone(good, certified_copy / "good.npz")),
        (wrong, arrays_alone(wrong, certified_copy / "wrong.npz")),
        strict=True,
    ):
        if code:
            before = {(each.code, each.field) for each in diagnostics(one)}
            new = [each for each in diagnostics(other) if (each.code, each.field) not in before]
            assert code in {each.code for each in new}
            assert all(each.consequence and each.remedy for each in new)

"""The museum of failures: every one is refused by the check that knows, with field, measure and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

import prep
from prep.errors import CertificateError, DataError, Refusal, SchemaError, UnfinishedError, UsageError
from prep.mutations import MUTATIONS, SEEN_IN_TRAINING, TRAINING_FAULTS
from prep.verbs.mutate import failures, refusal
from tests.conftest import dataset_of

KNOWN_BY = {
    "control/dummy_statistics": ("embedded_transforms", "controls"),
    "control/filled_padding": ("zero_padding", "states"),
    "control/global_scale": ("loss_share", "controls"),
    "control/lost_family": ("group_count", "system"),
    "control/normalised_twice": ("standardised", "states"),
    "control/padding_counted": ("zero_baseline", "controls"),
    "control/scaled_encoding": ("binary", "encoding"),
    "control/scattered_windows": ("windows_disjoint", "states"),
    "control/shared_trajectories": ("groups_disjoint", "system"),
    "control/stiff_family": ("growth", "states"),
    "control/unapplied_statistics": ("zero_baseline", "controls"),
    "covariance/constant_symbols": ("fresh_symbols", "snapshots"),
    "covariance/foreign_snapshots": ("whitened_power", "snapshots"),
    "covariance/foreign_sources": ("steering_span", "covariance"),
    "covariance/forgotten_powers": ("whitened_power", "snapshots"),
    "covariance/indefinite": ("psd", "covariance"),
    "covariance/mean_centred": ("psd", "covariance"),
    "covariance/mislabelled_snr": ("whitened_power", "snapshots"),
    "covariance/not_hermitian": ("hermitian", "covariance"),
    "covariance/one_sided_loading": ("trace_n", "covariance"),
    "covariance/raw_target": ("trace_n", "covariance"),
    "covariance/reseeded_splits": ("unique_rows", "snapshots"),
    "covariance/reseeded_splits_rounded": ("near_unique_rows", "snapshots"),
    "covariance/swallowed_exception": ("trace_n", "covariance"),
    "peptide/angstrom": ("bond_lengths", "positions.original"),
    "peptide/broken_molecule": ("bond_lengths", "positions.original"),
    "peptide/frames_split_at_random": ("separated", "time"),
    "peptide/mirrored": ("chirality", "positions.original"),
    "peptide/one_wrong_thermostat": ("boltzmann_slope", "energy"),
    "peptide/unaligned": ("aligned", "positions.original"),
    "peptide/wrong_thermostat": ("boltzmann_slope", "energy"),
    "regression/constant_column": ("constant_feature", "inputs"),
    "regression/copied_rows": ("unique_rows", "inputs"),
    "regression/dead_in_test": ("held_out", "inputs"),
    "regression/infinite": ("finite", "targets"),
    "regression/nearly_copied_rows": ("near_unique_rows", "inputs"),
    "regression/not_a_number": ("finite", "inputs"),
    "regression/own_statistics": ("held_out", "inputs"),
    "regression/raw": ("zero_baseline", "targets"),
    "regression/raw_inputs": ("standardised", "inputs"),
    "regression/raw_targets": ("zero_baseline", "targets"),
    "regression/shuffled_targets": ("learnability", "targets"),
    "regression/test_statistics": ("held_out", "inputs"),
    "tones/carried_state": ("time_steps", "time"),
    "tones/interleaved": ("time_steps", "time"),
    "tones/one_phase_each": ("mean_probe", "target"),
    "tones/random_phase": ("fir_probe", "target"),
    "tones/same_targets": ("unique_rows", "target"),
    "tones/shuffled_time": ("time_steps", "time"),
    "tones/wrong_selector": ("one_hot", "selector"),
}


# What only the trainer can know: it has the force field.
KNOWN_BY_TRAINER = {
    "peptide/constrained_energies": "the energies of another molecule, or other energies",
    "peptide/shuffled_energies": "the stored energies are not those of the stored positions",
}


STOPPED_BY = {
    "summed_loss": "the loss does not score",
    "no_updates": "the first step changed no parameter",
    "wrong_index": "the metric",
    "one_sided_scale": "the loss does not score",
    "moving_weights": "parameters changed while the metrics were taken",
}
STOPPED_AFTER_WARM_UP = {"turned_sign": "the model has learned nothing"}


def planted(key: str, project: Path) -> Path:
    system, _, failure = key.partition("/")
    good = dataset_of(project, system)
    return prep.mutate(system, failure, project / f"wrong{good.suffix}", data=good)


def test_every_failure_of_the_museum_is_known_here():
    assert set(KNOWN_BY) | set(KNOWN_BY_TRAINER) == set(MUTATIONS)
    assert set(KNOWN_BY_TRAINER) == SEEN_IN_TRAINING


@pytest.mark.parametrize("key", KNOWN_BY)
def test_a_planted_failure_is_refused_by_the_check_that_knows_it(key: str, certified_copy: Path):
    check, field = KNOWN_BY[key]

    (found,) = prep.validate(planted(key, certified_copy))

    assert found.exit_code() == 1
    assert found.report is not None
    result, *_ = [each for each in found.report.failed if (each.check, each.field.split(",")[0]) == (check, field)]
    assert result.finding.message
    assert result.finding.remedy
    assert not {each.check for each in found.report.failed} & {"stored_bytes"}


@pytest.mark.parametrize("key", KNOWN_BY_TRAINER)
def test_a_planted_failure_that_passes_every_check_stops_the_training_before_its_first_step(
    key: str, certified_copy: Path
):
    path = planted(key, certified_copy)
    prep.certify(path)

    with pytest.raises((DataError, SchemaError), match=KNOWN_BY_TRAINER[key]) as caught:
        prep.train(path)
    assert caught.value.where.field or caught.value.where.key
    assert caught.value.remedy


def test_every_fault_of_the_training_code_is_known_here():
    assert set(STOPPED_BY) | set(STOPPED_AFTER_WARM_UP) == set(TRAINING_FAULTS)


@pytest.mark.parametrize(
    ("system", "fault"), [(system, fault) for fault in STOPPED_BY for system in TRAINING_FAULTS[fault].systems]
)
def test_a_fault_of_the_training_code_stops_the_run_in_its_first_epoch(system: str, fault: str, certified_copy: Path):
    good = dataset_of(certified_copy, system)
    copy = prep.mutate(system, fault, certified_copy / f"copy{good.suffix}", data=good)

    with pytest.raises(UnfinishedError) as caught:
        prep.train(copy, system=f"{system}+{fault}", epochs=2, device="cpu")

    assert caught.value.what.startswith(STOPPED_BY[fault])
    assert caught.value.allowed
    assert caught.value.remedy
    assert not (certified_copy / f"runs/{system}/last.ckpt").exists()


@pytest.mark.parametrize("fault", STOPPED_AFTER_WARM_UP)
@pytest.mark.parametrize(
    ("system", "epochs"), [("regression", 40), pytest.param("control", 16, marks=pytest.mark.long), ("tones", 8)]
)
def test_a_run_that_has_learned_nothing_after_its_warm_up_is_stopped(
    system: str, epochs: int, fault: str, certified_copy: Path
):
    with pytest.raises(UnfinishedError, match=STOPPED_AFTER_WARM_UP[fault]) as caught:
        prep.train(dataset_of(certified_copy, system), system=f"{system}+{fault}", epochs=epochs, device="cpu")

    lines = (certified_copy / f"runs/{system}/metrics.csv").read_text().splitlines()
    assert 2 <= len(lines) <= epochs
    assert caught.value.where.split == "val"
    assert caught.value.remedy


def test_planting_changes_what_it_says_and_nothing_of_the_good_data(certified_copy: Path):
    path = planted("regression/not_a_number", certified_copy)

    assert prep.verify(dataset_of(certified_copy, "regression"), deep=True).chunks > 0
    with pytest.raises((DataError, Refusal), match="not certified"):
        prep.certify(path)
    with pytest.raises(CertificateError, match="is not certified"):
        prep.train(path)


def test_mutations_are_made_of_certified_data_only_and_replace_nothing_of_others(certified_copy: Path):
    good = dataset_of(certified_copy, "regression")
    with pytest.raises(UsageError, match="would destroy an input"):
        prep.mutate("regression", "infinite", good, data=good)
    with pytest.raises(CertificateError, match="is not certified"):
        prep.mutate("regression", "infinite", "wrong.h5", data="data/raw/regression.h5")
    with pytest.raises(UsageError, match="no 'regression/infinte'"):
        prep.mutate("regression", "infinte", "wrong.h5", data=good)


def test_a_fault_that_a_system_cannot_have_is_not_planted(certified_copy: Path):
    with pytest.raises(UsageError, match="cannot have this failure"):
        prep.mutate("peptide", "turned_sign", certified_copy / "copy.h5")
    with pytest.raises(UsageError, match="cannot have this failure"):
        prep.train(dataset_of(certified_copy, "covariance"), system="covariance+one_sided_scale")


def test_the_command_that_is_named_is_the_one_that_refuses():
    assert refusal("control", "global_scale", Path("x.h5")) == "prep validate x.h5"
    assert refusal("peptide", "shuffled_energies", Path("x.h5")) == "prep certify x.h5 && prep train x.h5"
    assert refusal("control", "summed_loss", Path("x.h5")) == "prep train x.h5 --system control+summed_loss"


def test_the_museum_tells_what_happened():
    stories = {f"{each.system}/{each.name}": each.story for each in failures()}
    faults = {f"{system}/{name}" for name, fault in TRAINING_FAULTS.items() for system in fault.systems}
    assert set(stories) == set(MUTATIONS) | faults
    assert all(text.endswith(".") for text in stories.values())
    assert {each.system for each in failures("control")} == {"control"}

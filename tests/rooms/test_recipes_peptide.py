"""The peptide recipe: the molecule, its dynamics at two temperatures, alignment, energies, time blocks and gaps."""

from __future__ import annotations

import builtins
import itertools
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.blocks import SPLITS
from prep.checks.aligned import displacement
from prep.checks.bond_lengths import excess
from prep.engine import ordered
from prep.errors import ConfigError, DataError, UsageError
from prep.kernels.alignment import align
from prep.recipes import Produced, RecipePlan
from prep.recipes.dipeptide import ATOMS, BONDS, REFERENCE, Energies, make_system, topology_digest
from prep.recipes.peptide import Peptide
from prep.schema import load_schema
from tests.conftest import ROOT, working_in

SMOKE = dict(Peptide.parameters["smoke"])
QUICK = {**SMOKE, "frame_ps": 0.02, "burn_in_ps": 0.02}


@cache
def made(**changes: Any) -> tuple[RecipePlan, tuple[Produced, ...]]:
    plan = Peptide().plan({**QUICK, **changes}, 7)
    return plan, tuple(Peptide().produce(plan, task) for task in plan.tasks)


def rows(name: str, **changes: Any) -> Any:
    return np.concatenate([part.arrays[name] for part in made(**changes)[1]])


def rotation(seed: int) -> Any:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return q * np.linalg.det(q)


def test_the_molecule_has_23_atoms_in_two_residues_with_charged_ends():
    assert len(ATOMS) == len(set(ATOMS)) == len(REFERENCE) == 23
    assert len(BONDS) == 22
    assert {"1:H", "1:H2", "1:H3", "2:OXT"} <= set(ATOMS)
    assert topology_digest().startswith("sha256:")


def test_the_reference_is_a_minimum_of_the_force_field_and_centred():
    energies, forces = Energies().with_forces(REFERENCE[np.newaxis])

    assert energies[0] == pytest.approx(-601.97, abs=0.05)
    assert np.abs(forces).max() < 10.0  # kJ/mol/nm: of rounding to 1e-5 nm
    assert np.abs(REFERENCE.mean(axis=0)).max() < 1e-5


def test_both_residues_are_left_handed():
    places = dict(zip(ATOMS, REFERENCE, strict=True))
    for residue in (1, 2):
        n, c, cb, ca = (places[f"{residue}:{name}"] for name in ("N", "C", "CB", "CA"))
        assert np.dot(np.cross(n - ca, c - ca), cb - ca) > 0


def test_energies_have_no_constraints_and_dynamics_has_one_for_each_hydrogen():
    assert make_system(rigid=False).getNumConstraints() == 0
    assert make_system(rigid=True).getNumConstraints() == 12

    stretched = REFERENCE.copy()
    stretched[1] += 0.02 * (stretched[1] - stretched[0]) / np.linalg.norm(stretched[1] - stretched[0])
    before, after = Energies()(np.stack([REFERENCE, stretched]))
    assert after - before > 40.0  # half of 363171 kJ/mol/nm² times the square of 0.02 nm, less what neighbours gain


def test_forces_are_the_slope_of_the_energies():
    rng = np.random.default_rng(0)
    start = REFERENCE + 0.005 * rng.standard_normal(REFERENCE.shape)
    direction = rng.standard_normal(REFERENCE.shape)
    step = 1e-4
    low, high = Energies()(np.stack([start - step * direction, start + step * direction]))

    _, forces = Energies().with_forces(start[np.newaxis])

    assert -np.sum(forces[0] * direction) == pytest.approx((high - low) / (2 * step), rel=2e-3)


def test_stored_energies_are_those_of_the_stored_positions():
    positions, energies = rows("positions"), rows("energy")

    np.testing.assert_allclose(Energies()(positions), energies, atol=1e-2)
    turned = positions @ rotation(3).T + 1.0
    np.testing.assert_allclose(Energies()(turned), energies, atol=5e-2)


def test_positions_are_aligned_to_the_reference_and_bonds_to_hydrogen_are_rigid():
    positions = rows("positions")

    assert displacement({"positions": positions}, REFERENCE.ravel().tolist()).max() < 1e-6
    for first, second in BONDS:
        if ATOMS[second].split(":")[1].startswith("H"):
            lengths = np.linalg.norm(positions[:, first] - positions[:, second], axis=1)
            assert np.ptp(lengths) < 1e-6


def test_alignment_undoes_any_motion_and_never_mirrors():
    rng = np.random.default_rng(1)
    shaken = align(REFERENCE + 0.02 * rng.standard_normal((50, 23, 3)), REFERENCE)
    moved = np.einsum("nab,npb->npa", np.stack([rotation(seed) for seed in range(50)]), shaken) + rng.normal(size=3)

    np.testing.assert_allclose(align(moved, REFERENCE), shaken, atol=1e-12)
    mirrored = align(shaken * [1, 1, -1], REFERENCE)
    assert np.linalg.norm(mirrored - shaken, axis=2).max(axis=1).min() > 0.05


def test_every_split_has_both_temperatures_and_every_replica():
    plan, parts = made()
    for split in SPLITS:
        own = [part for task, part in zip(plan.tasks, parts, strict=True) if task.split == split]
        assert {float(part.arrays["temperature"][0]) for part in own} == {300.0, 450.0}
        assert sorted(int(part.arrays["replica"][0]) for part in own) == [0, 1, 2, 3]


def test_splits_are_time_blocks_with_a_gap_that_is_counted():
    plan, parts = made(frames=40, block_frames=4, gap_frames=3)
    blocks: dict[str, set[tuple[int, int]]] = {split: set() for split in SPLITS}
    for task, part in zip(plan.tasks, parts, strict=True):
        ids = zip(part.arrays["replica"].tolist(), part.arrays["time_block"].tolist(), strict=True)
        blocks[task.split] |= set(ids)
        dropped = 0 if task.split == "train" else 3
        assert part.counts == {
            "frames_simulated": len(part.arrays["energy"]) + dropped,
            "frames_dropped_in_gaps": dropped,
        }

    assert sum(part.counts["frames_simulated"] for part in parts) == 4 * 40
    assert {block for _, block in blocks["train"]} == set(range(5))
    assert sum(map(len, blocks.values())) == len(set().union(*blocks.values()))


def test_frames_of_two_splits_are_a_gap_apart_in_time():
    _, parts = made(frames=40, block_frames=4, gap_frames=3)
    times = [part.arrays["time"] for part in parts if part.arrays["replica"][0] == 1]

    assert times[0][0] == pytest.approx(0.02)
    for time in times:
        np.testing.assert_allclose(np.diff(time), 0.02)
    for before, after in itertools.pairwise(times):
        assert after[0] - before[-1] == pytest.approx(4 * 0.02)


@pytest.mark.long
def test_replicas_with_other_thermostats_have_other_energies():
    energies, temperatures = rows("energy", frame_ps=0.2, burn_in_ps=2.0), rows("temperature")

    assert energies[temperatures == 450].mean() - energies[temperatures == 300].mean() > 15.0


def test_the_number_of_workers_changes_nothing():
    parts = made()[1]
    plan = Peptide().plan(QUICK, 7)

    again = list(ordered(lambda task: Peptide().produce(plan, task), plan.tasks, 2))

    for one, other in zip(parts, again, strict=True):
        assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_a_plan_may_be_sent_to_another_process():
    plan, parts = made()
    sent = pickle.loads(pickle.dumps(plan))

    again = Peptide().produce(sent, sent.tasks[0])

    assert np.array_equal(again.arrays["energy"], parts[0].arrays["energy"])


def test_a_split_that_is_asked_for_twice_is_the_same():
    plan, parts = made()

    again = Peptide().produce(plan, plan.tasks[-1])

    assert np.array_equal(again.arrays["positions"], parts[-1].arrays["positions"])


def test_the_schema_writes_out_the_reference_and_the_bonds_of_the_recipe():
    checks = {plan.name: plan.statistics for plan in load_schema(ROOT / "schemas/peptide.yaml").checks}
    bonds = np.reshape(checks["bond_lengths"]["bonds"], (-1, 4))

    np.testing.assert_allclose(np.reshape(checks["aligned"]["reference"], (-1, 3)), REFERENCE, atol=1e-9)
    names = [ATOMS[int(atom)] for atom in checks["chirality"]["centres"]]
    assert names == [f"{residue}:{name}" for residue in (1, 2) for name in ("N", "C", "CB", "CA")]
    assert [tuple(pair) for pair in bonds[:, :2].astype(int)] == list(BONDS)
    assert excess({"positions": REFERENCE[np.newaxis]}, checks["bond_lengths"]["bonds"])[0] == 0.0


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"temperatures": [300.0, 300.0]}, "temperatures"),
        ({"block_frames": 22}, "block_frames"),
        ({"gap_frames": 16}, "gap_frames"),
    ],
)
def test_parameters_that_cannot_be_divided_are_refused(changes: dict[str, Any], key: str):
    with pytest.raises(ConfigError) as caught:
        Peptide().plan({**SMOKE, **changes}, 0)
    assert caught.value.where.key == key


def test_a_simulation_that_comes_apart_says_what_to_change():
    plan = Peptide().plan({**QUICK, "temperatures": [2000.0], "step_fs": 4.0, "friction_per_ps": 1e4}, 0)
    hot = plan.tasks[0]
    hot.arguments["step_fs"] = 40.0  # type: ignore[index]

    with pytest.raises(DataError, match="came apart") as caught:
        Peptide().produce(plan, hot)
    assert "step_fs" in caught.value.remedy


def test_without_openmm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "openmm":
            raise ImportError("no", name="openmm")
        return real(name, *args, **kwargs)

    plan = Peptide().plan(QUICK, 0)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="OpenMM") as caught:
        Peptide().produce(plan, plan.tasks[0])
    assert caught.value.remedy == "pip install 'prep-certified[md]'"


@pytest.fixture
def raw(certified_copy: Path) -> Path:
    return certified_copy / "data/raw/peptide.h5"


def verdicts(spoil: Any, raw: Path, folder: Path) -> dict[str, str]:
    """Failed checks by name, of the raw dataset with some arrays changed, taken down the line."""
    from prep.engine import DatasetSource
    from prep.formats import create
    from prep.verbs.rawdata import commit

    with DatasetSource.open(raw) as source:
        spec, constants = source.spec, source.constants()[0]
        arrays = {field.name: source.reader.rows(field.name, 0, spec.rows).copy() for field in spec.fields}
    spoil(arrays)
    changed = folder / "peptide.h5"
    with create(changed, spec, "none") as writer:
        for field in spec.constants:
            writer.write_constant(field, constants[field.name])
        for field in spec.fields:
            writer.write(field.name, arrays[field.name])
        commit(writer, changed, spec)
    statistics = prep.stats(changed, output=folder / "stats.json")
    (outcome,) = prep.validate(prep.normalize(changed, stats=statistics, output=folder / "normalised.h5"))
    assert outcome.report is not None
    return {each.check: each.finding.message for each in outcome.report.results if not each.passed}


def test_good_data_pass(raw: Path, tmp_path: Path):
    assert verdicts(lambda arrays: None, raw, tmp_path) == {}


def test_unaligned_positions_are_refused(raw: Path, tmp_path: Path):
    def turn(arrays: Any) -> None:
        turns = np.stack([rotation(seed) for seed in range(len(arrays["positions"]))])
        arrays["positions"] = np.einsum("nab,npb->npa", turns, arrays["positions"]).astype(np.float32)

    assert set(verdicts(turn, raw, tmp_path)) == {"aligned"}


def test_angstrom_that_are_called_nanometre_are_refused(raw: Path, tmp_path: Path):
    found = verdicts(lambda arrays: arrays["positions"].__imul__(10), raw, tmp_path)

    assert set(found) == {"bond_lengths", "in_bounds"}


def test_a_replica_with_the_label_of_another_thermostat_is_refused_by_name(raw: Path, tmp_path: Path):
    def relabel(arrays: Any) -> None:
        arrays["temperature"][arrays["replica"] == 1] = 300.0

    found = verdicts(relabel, raw, tmp_path)

    assert set(found) == {"boltzmann_slope"}
    assert "replica 1 is labelled 300 K" in found["boltzmann_slope"]


def test_mirror_images_are_refused_by_their_hand(raw: Path, tmp_path: Path):
    def mirror(arrays: Any) -> None:
        half = np.s_[::2]
        arrays["positions"][half] = align(arrays["positions"][half] * [1.0, 1.0, -1.0], REFERENCE)

    found = verdicts(mirror, raw, tmp_path)

    assert found["chirality"].startswith("88 of 176 samples")
    assert not {"aligned", "bond_lengths"} & set(found)


def test_the_identity_and_the_slope_are_in_the_certificate(certified_project: Path):
    with working_in(certified_project):
        (outcome,) = prep.validate("data/normalized/peptide.h5")

    assert outcome.report is not None
    (found,) = [each.finding.measured for each in outcome.report.results if each.check == "boltzmann_slope"]
    assert found["slope"] == pytest.approx(0.1336, rel=0.4)
    assert found["identity"] == pytest.approx(-345.0, abs=4.0)


def test_the_certified_data_say_what_molecule_and_what_energies_they_are(certified_project: Path):
    with working_in(certified_project):
        data = prep.open("data/normalized/peptide.h5")

    assert data.spec.attributes["energy_constraints"] == "none"
    assert data.spec.attributes["topology_digest"] == topology_digest()

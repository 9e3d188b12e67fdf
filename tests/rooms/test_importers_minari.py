"""Minari datasets, written by minari itself and then damaged in the ways that have bitten users."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from prep.errors import DataError, IntegrityError, PrepError, UsageError
from prep.importers import IngestOptions, Opened
from prep.importers.minari import Minari
from tests.make_minari import make_pendulum, make_spaces


def load(source: object, **options: Any) -> Opened:
    return Minari().open(str(source), IngestOptions(**options))


def rows(opened: Opened) -> dict[str, np.ndarray]:
    blocks = [arrays for _, arrays in opened.blocks()]
    return {name: np.concatenate([arrays[name] for arrays in blocks]) for name in blocks[0]}


@pytest.fixture(scope="module")
def few_pendulum_episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pendulum(tmp_path_factory.mktemp("minari"), episodes=12, shortest=5, longest=30)


@pytest.fixture(scope="module")
def minari_spaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_spaces(tmp_path_factory.mktemp("minari_spaces"))


@pytest.fixture
def pendulum(few_pendulum_episodes: Path, tmp_path: Path) -> Path:
    """A copy of a real dataset, to be changed; its HDF5 file is ``data/main_data.hdf5``."""
    return Path(shutil.copytree(few_pendulum_episodes, tmp_path / "pendulum"))


def edit(dataset: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(dataset / "data" / "main_data.hdf5", "r+") as file:
        change(file)
    return dataset


def edit_metadata(dataset: Path, **changes: Any) -> Path:
    path = dataset / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return dataset


def replace(file: h5py.File, path: str, values: np.ndarray) -> None:
    del file[path]
    file[path] = values


def test_a_row_is_a_transition(pendulum: Path) -> None:
    got = rows(load(pendulum))
    with h5py.File(pendulum / "data" / "main_data.hdf5") as file:
        for episode, step in [(0, 0), (7, 3), (11, len(file["episode_11/rewards"]) - 1)]:
            here = np.flatnonzero((got["episode"] == episode) & (got["step"] == step))
            assert len(here) == 1
            group = file[f"episode_{episode}"]
            assert np.array_equal(got["observations"][here[0]], group["observations"][step])
            assert np.array_equal(got["next_observations"][here[0]], group["observations"][step + 1])
            assert np.array_equal(got["actions"][here[0]], group["actions"][step])
            assert got["rewards"][here[0]] == group["rewards"][step]


def test_observations_are_inputs_and_actions_targets(pendulum: Path) -> None:
    opened = load(pendulum)
    assert {spec.name: (spec.role, spec.dtype.str, spec.units) for spec in opened.fields} == {
        "observations": ("input", "<f4", "1"),
        "actions": ("target", "<f4", "1"),
        "rewards": ("aux", "<f8", "1"),
        "next_observations": ("aux", "<f4", "1"),
        "terminations": ("aux", "|b1", "1"),
        "truncations": ("aux", "|b1", "1"),
        "episode": ("id", "<i8", "1"),
        "step": ("id", "<i8", "1"),
    }
    assert opened.group == "episode"
    assert opened.warnings == ()


def test_roles_can_be_chosen(pendulum: Path) -> None:
    opened = load(pendulum, roles={"next_observations": "target", "actions": "input"})
    roles = {spec.name: spec.role for spec in opened.fields}
    assert (roles["next_observations"], roles["actions"], roles["observations"]) == ("target", "input", "input")


def test_a_mistyped_role_names_the_field_that_was_meant(pendulum: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'rewards'"):
        load(pendulum, roles={"reward": "target"})
    with pytest.raises(UsageError, match="did you mean 'target'"):
        load(pendulum, roles={"rewards": "targets"})
    with pytest.raises(UsageError, match="episode cannot have another role"):
        load(pendulum, roles={"episode": "input"})


def test_the_dataset_is_found_by_id_and_by_any_of_its_paths(
    few_pendulum_episodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = few_pendulum_episodes.parent.parent
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    data = few_pendulum_episodes / "data"
    sources = ["minari:pendulum/swing-up-v0", few_pendulum_episodes, data, data / "main_data.hdf5", f"minari:{data}"]
    digests = {load(source).notes["inputs"]["digest"] for source in sources}
    assert len(digests) == 1
    with pytest.raises(UsageError, match=r"did you mean 'pendulum/swing-up-v0'"):
        load("minari:pendulum/swingup-v0")


def test_dict_and_tuple_spaces_become_fields_named_by_their_path(minari_spaces: Path) -> None:
    opened = load(minari_spaces)
    fields = {spec.name: (spec.role, spec.shape, spec.dtype.kind) for spec in opened.fields}
    assert fields["observations_pair_index_0"] == ("input", (2,), "f")
    assert fields["observations_pair_index_1"] == ("input", (3,), "i")
    assert fields["observations_pose"] == ("input", (2, 3), "f")
    assert fields["next_observations_pose"] == ("aux", (2, 3), "f")
    assert fields["actions"] == ("target", (), "i")
    assert opened.warnings == ("'observations/mission' holds text and was left out",)
    assert opened.notes["left_out"] == ["observations/mission"]


def test_metadata_in_root_attributes_is_read_like_the_sidecar(pendulum: Path) -> None:
    sidecar = pendulum / "data" / "metadata.json"
    metadata = json.loads(sidecar.read_text())
    sidecar.unlink()
    unknown = load(pendulum)
    assert [warning[:30] for warning in unknown.warnings] == [
        "the metadata has no total_epis",
        "the metadata has no total_step",
    ]

    edit(pendulum, lambda file: file.attrs.update({key: str(value) for key, value in metadata.items()}))
    edit(pendulum, lambda file: file.attrs.update({key: metadata[key] for key in ("total_episodes", "total_steps")}))
    old = load(pendulum)
    assert old.warnings == ()
    assert old.notes["metadata"]["dataset_id"] == "pendulum/swing-up-v0"
    edit(pendulum, lambda file: file.attrs.update({"total_steps": 3}))
    with pytest.raises(IntegrityError, match="3 in the metadata"):
        load(pendulum)


def test_each_split_needs_an_episode(pendulum: Path) -> None:
    def keep_two(file: h5py.File) -> None:
        for number in range(2, 12):
            del file[f"episode_{number}"]

    edit(pendulum, keep_two)
    (pendulum / "data" / "metadata.json").unlink()
    with pytest.raises(DataError, match=r"2 episodes[\s\S]*at least 3"):
        load(pendulum)


def test_fractions_count_episodes(pendulum: Path) -> None:
    opened = load(pendulum, fractions=(0.5, 0.25, 0.25))
    assert opened.notes["split"]["groups"] == {"train": 6, "val": 3, "test": 3}
    with pytest.raises(UsageError, match="add up to 1"):
        load(pendulum, fractions=(0.5, 0.25, 0.5))


def test_non_finite_values_are_kept_and_reported(pendulum: Path) -> None:
    def spoil(file: h5py.File) -> None:
        file["episode_3/observations"][2, 1] = np.nan
        file["episode_4/observations"][1] = np.nan
        file["episode_4/rewards"][0] = np.inf

    opened = load(edit(pendulum, spoil))
    assert set(opened.warnings) == {
        "infinities in rewards: 1, the first in episode 4, step 0",
        "NaN in observations: 4, the first in episode 3, step 2",
    }
    assert np.isnan(rows(opened)["observations"]).sum() == 4


def test_an_end_flag_inside_an_episode_is_reported(pendulum: Path) -> None:
    def end_early(file: h5py.File) -> None:
        file["episode_5/terminations"][1] = True

    opened = load(edit(pendulum, end_early))
    assert opened.warnings == ("terminations before the last step: 1, the first in episode 5, step 1",)


def drop_last_observation(file: h5py.File) -> None:
    replace(file, "episode_2/observations", file["episode_2/observations"][:-1])


def pad_actions(file: h5py.File) -> None:
    actions = file["episode_2/actions"][()]
    replace(file, "episode_2/actions", np.concatenate([actions, np.zeros_like(actions[:1])]))


def remove_episode(file: h5py.File) -> None:
    del file["episode_4"]


def remove_truncations(file: h5py.File) -> None:
    del file["episode_6/truncations"]


def other_dtype(file: h5py.File) -> None:
    replace(file, "episode_1/observations", file["episode_1/observations"][()].astype(np.float64))


def integer_observations(file: h5py.File) -> None:
    for number in range(12):
        path = f"episode_{number}/observations"
        replace(file, path, (file[path][()] * 100).astype(np.int32))


def other_id(file: h5py.File) -> None:
    file["episode_8"].attrs["id"] = 9


def other_total(file: h5py.File) -> None:
    file["episode_8"].attrs["total_steps"] = 10_000


def empty_episode(file: h5py.File) -> None:
    for name in ("actions", "rewards", "terminations", "truncations", "observations"):
        replace(file, f"episode_2/{name}", file[f"episode_2/{name}"][: int(name == "observations")])


@pytest.mark.parametrize(
    ("change", "said", "place"),
    [
        (drop_last_observation, "lengths in episode 2 do not fit", "episode_2/observations"),
        (pad_actions, "lengths in episode 2 do not fit", "episode_2/actions"),
        (empty_episode, "lengths in episode 2 do not fit", "episode_2/rewards"),
        (remove_episode, "not numbered without gaps", "no episode 4"),
        (remove_truncations, "episode 6 is incomplete", "no truncations"),
        (other_dtype, "episode 1 has another structure", "float64"),
        (integer_observations, "not of the declared space", "int32"),
        (other_id, "episode 8 contradicts its own attributes", "episode_8@id"),
        (other_total, "episode 8 contradicts its own attributes", "10000"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(
    pendulum: Path, change: Callable[[h5py.File], None], said: str, place: str
) -> None:
    edit(pendulum, change)
    with pytest.raises(DataError) as caught:
        load(pendulum)
    assert said in str(caught.value)
    assert place in str(caught.value)


def test_totals_that_disagree_with_the_metadata_are_refused(pendulum: Path) -> None:
    edit_metadata(pendulum, total_episodes=13)
    with pytest.raises(IntegrityError, match=r"12 in the episodes[\s\S]*13 in the metadata"):
        load(pendulum)
    edit_metadata(pendulum, total_episodes="twelve")
    with pytest.raises(IntegrityError, match="not a count"):
        load(pendulum)
    (pendulum / "data" / "metadata.json").write_text("{")
    with pytest.raises(IntegrityError, match="broken JSON"):
        load(pendulum)


@pytest.mark.parametrize("kept", [0, 100, 20_000])
def test_a_truncated_file_is_refused(pendulum: Path, kept: int) -> None:
    path = pendulum / "data" / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(IntegrityError, match="truncated, damaged"):
        load(pendulum)


def test_a_link_out_of_the_file_is_refused(pendulum: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["rewards"] = np.zeros(5)

    def link(file: h5py.File) -> None:
        del file["episode_2/rewards"]
        file["episode_2/rewards"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/rewards")

    with pytest.raises(IntegrityError, match=r"external link"):
        load(edit(pendulum, link))


def test_a_file_that_changes_between_opening_and_reading_is_refused(pendulum: Path) -> None:
    opened = load(pendulum)

    def change(file: h5py.File) -> None:
        file["episode_0/rewards"][0] = 5.0

    edit(pendulum, change)
    with pytest.raises(IntegrityError, match="changed while it was being read"):
        list(opened.blocks())


def test_jpeg_images_and_arrow_are_refused_with_what_to_do(pendulum: Path) -> None:
    def encode(file: h5py.File) -> None:
        for number in range(12):
            steps = len(file[f"episode_{number}/rewards"])
            replace(file, f"episode_{number}/observations", np.zeros((steps + 1, 700), np.uint8))

    space = {"type": "Box", "dtype": "uint8", "shape": [64, 64, 3], "low": 0, "high": 255}
    edit_metadata(edit(pendulum, encode), observation_space=json.dumps(space))
    with pytest.raises(UsageError, match="jpeg_encoding=False"):
        load(pendulum)
    (pendulum / "data" / "main_data.hdf5").unlink()
    edit_metadata(pendulum, data_format="arrow")
    with pytest.raises(UsageError, match=r"data format arrow[\s\S]*data_format='hdf5'"):
        load(pendulum)


def test_a_mapping_or_another_group_is_refused(pendulum: Path) -> None:
    for options in ({"mapping": {"fields": {"a": "b"}}}, {"group": "step"}):
        with pytest.raises(UsageError, match="its own fields and groups"):
            load(pendulum, **options)


def test_damage_anywhere_gives_an_error_of_ours_or_the_same_rows(pendulum: Path) -> None:
    path = pendulum / "data" / "main_data.hdf5"
    good, clean = path.read_bytes(), rows(load(pendulum))
    random = np.random.default_rng(0)
    for place in random.integers(0, len(good), 60):
        flipped = bytearray(good)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            got = rows(load(pendulum))
        except PrepError:
            continue
        assert {name: array.shape for name, array in got.items()} == {
            name: array.shape for name, array in clean.items()
        }

"""Stages: what they refuse to replace, when they skip, and what they refuse to read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import prep
from prep.errors import CertificateError, ConfigError, IntegrityError, UsageError
from prep.formats import ENDINGS, open_container
from prep.schema import load_schema
from prep.verbs.config import load_config
from prep.verbs.stats import content_digest
from prep.verbs.workflow import dataset_targets
from tests.conftest import SYSTEMS, largest_file

RAW, STATS, MADE = "data/raw/regression.h5", "data/stats/regression.json", "data/normalized/regression.h5"


@pytest.fixture
def line(project: Path) -> Path:
    """A project with `regression` generated, measured and normalised; it is the working folder."""
    prep.stats(prep.generate("regression"), output=STATS)
    prep.normalize(RAW, stats=STATS, output=MADE)
    return project


def flip(path: str | Path) -> None:
    """Change one byte of the first chunk of ``inputs``."""
    container = open_container(path)
    layout = container.layouts["inputs"]
    victim = container.path / layout.file_of(0) if container.path.is_dir() else container.path
    data = bytearray(victim.read_bytes())
    data[int(layout.offsets[0]) + 40] ^= 1
    victim.write_bytes(data)


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {str(each): each.read_bytes() for each in files if each.is_file()}


def own_table(path: str = "mine.h5") -> dict[str, dict[str, dict[str, str]]]:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = rng.normal(size=(200, 3)), rng.normal(size=(200, 1))
        file["precious"] = np.arange(5)
    return {"fields": {"x": {"path": "x", "role": "input"}, "y": {"path": "y", "role": "target"}}}


@pytest.mark.parametrize("output", ["mine.h5", "./data/../mine.h5", "linked.h5"])
def test_ingest_does_not_write_over_its_source(output: str, project: Path):
    from prep.importers import IngestOptions

    options = IngestOptions(mapping=own_table())
    Path("data").mkdir(exist_ok=True)
    Path("linked.h5").symlink_to("mine.h5")
    before = Path("mine.h5").read_bytes()

    with pytest.raises(UsageError, match="destroy an input") as caught:
        prep.ingest("mine.h5", output=output, options=options)
    assert caught.value.exit_code == 2
    assert Path("mine.h5").read_bytes() == before


def test_normalize_and_stats_do_not_write_over_the_raw_dataset(line: Path):
    before = contents(Path(RAW))

    with pytest.raises(UsageError, match="destroy an input"):
        prep.normalize(RAW, stats=STATS, output=RAW)
    with pytest.raises(UsageError, match="destroy an input"):
        prep.stats(RAW, output=RAW)
    with pytest.raises(UsageError, match="destroy an input"):
        prep.normalize("data/raw/regression.h5", stats=STATS, output=Path(RAW).absolute())
    assert contents(Path(RAW)) == before


def make_foreign(kind: str) -> Path:
    if kind == "folder of notes":
        Path("thesis.zarr").mkdir()
        Path("thesis.zarr/notes.txt").write_text("important")
        return Path("thesis.zarr")
    if kind == "foreign zarr":
        import zarr

        zarr.create_group("own.zarr").create_array("x", data=np.arange(3))
        return Path("own.zarr")
    if kind == "folder for a file":
        Path("folder.h5").mkdir()
        return Path("folder.h5")
    if kind == "foreign hdf5":
        own_table("own.h5")
        return Path("own.h5")
    path = Path("text.h5" if kind == "text" else "file.zarr")
    path.write_text("my only copy")
    return path


@pytest.mark.parametrize(
    "kind", ["folder of notes", "foreign zarr", "folder for a file", "foreign hdf5", "text", "file for a folder"]
)
def test_what_prep_did_not_write_is_not_replaced(kind: str, project: Path):
    path = make_foreign(kind)
    before = contents(path)

    with pytest.raises(UsageError, match="not a dataset that prep wrote") as caught:
        prep.generate("regression", output=path)
    assert caught.value.exit_code == 2
    assert "another output" in caught.value.remedy
    assert contents(path) == before


def test_stats_replace_nothing_but_statistics(line: Path):
    before = Path("schemas/control.yaml").read_bytes()

    with pytest.raises(UsageError, match="not a statistics file"):
        prep.stats(RAW, output="schemas/control.yaml")
    assert Path("schemas/control.yaml").read_bytes() == before


def strip_root(path: Path) -> None:
    """What Snakemake leaves of a Zarr dataset whose stage it is about to run."""
    (path / "zarr.json").unlink()
    path.with_name(path.name + ".manifest").unlink()


def shorten(path: Path) -> None:
    victim = largest_file(path)
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])


def break_root(path: Path) -> None:
    (path / "zarr.json").write_text("{")


def empty_folder(path: Path) -> None:
    import shutil

    shutil.rmtree(path)
    path.mkdir()


@pytest.mark.parametrize(
    ("output", "harm"),
    [
        ("a.h5", shorten),
        ("a.h5", flip),
        ("a.zarr", shorten),
        ("a.zarr", flip),
        ("a.zarr", break_root),
        ("a.zarr", strip_root),
        ("a.zarr", empty_folder),
    ],
)
def test_a_damaged_dataset_is_made_again_by_the_stage_that_wrote_it(output: str, harm, project: Path):
    path = prep.generate("regression", output=output)
    before = contents(path)
    harm(path)

    prep.generate("regression", output=output)

    assert contents(path) == before


def test_following_the_remedy_for_a_flipped_byte_mends_the_line(line: Path):
    before = contents(Path(RAW)), contents(Path(MADE))
    flip(RAW)
    for output in ("data/stats/new.json", STATS):
        with pytest.raises(IntegrityError, match="changed since this dataset was written"):
            prep.stats(RAW, output=output)
    prep.generate("regression")
    prep.stats(RAW, output=STATS)
    flip(MADE)
    prep.normalize(RAW, stats=STATS, output=MADE)

    assert (contents(Path(RAW)), contents(Path(MADE))) == before


def edit(place: str, *, sealed: bool = False) -> None:
    body = json.loads(Path(place).read_text())
    params = body["transforms"]["targets"]["params"]
    params["std"] = [[value * 1.04 for value in params["std"][0]]]
    Path(place).write_text(json.dumps({**body, "digest": content_digest(body)} if sealed else body))


def test_edited_statistics_are_refused_and_measured_again(line: Path):
    before = Path(STATS).read_bytes()
    edit(STATS)

    with pytest.raises(IntegrityError, match="edited or damaged") as caught:
        prep.normalize(RAW, stats=STATS, output=MADE)
    assert "prep stats --force" in caught.value.remedy
    prep.stats(RAW, output=STATS)
    assert Path(STATS).read_bytes() == before


def test_other_statistics_are_another_normalised_dataset(line: Path):
    before = Path(MADE).read_bytes()
    edit(STATS, sealed=True)

    prep.normalize(RAW, stats=STATS, output=MADE)

    assert Path(MADE).read_bytes() != before


def test_a_new_version_reaches_the_normalised_dataset(line: Path):
    config = Path("config/config.yaml")
    config.write_text(config.read_text().replace("version: 1.0.0", "version: 2.0.0"))

    prep.generate("regression")
    prep.stats(RAW, output=STATS)
    prep.normalize(RAW, stats=STATS, output=MADE)

    assert [open_container(path).spec.version for path in (RAW, MADE)] == ["2.0.0", "2.0.0"]
    assert json.loads(Path(STATS).read_text())["version"] == "2.0.0"


@pytest.mark.parametrize("parameters", ["{noise: -1}", "{samples: many}", "{target_scales: [1.0]}"])
def test_a_workflow_learns_of_a_bad_parameter_before_any_stage(parameters: str, project: Path):
    config = Path("config/config.yaml")
    text = config.read_text()
    config.write_text(text.replace("recipe: regression\n", f"recipe: regression\n    parameters: {parameters}\n"))

    with pytest.raises(ConfigError):
        dataset_targets(load_config(config), "regression")


def test_a_missing_dataset_is_wrong_usage(line: Path):
    for call in (
        lambda: prep.stats("nowhere.h5", output="x.json"),
        lambda: prep.normalize("nowhere.h5", stats=STATS, output="y.h5"),
    ):
        with pytest.raises(UsageError, match="no dataset at this path") as caught:
            call()
        assert caught.value.exit_code == 2


def test_every_ending_can_be_written(project: Path):
    for ending in (*ENDINGS, ".H5"):
        assert prep.generate("regression", output=f"out/regression{ending}").exists()


@pytest.fixture
def table(project: Path) -> str:
    rng = np.random.default_rng(1)
    np.savez("a.npz", x=rng.normal(size=(200, 3)), y=rng.normal(size=(200, 1)))
    return "a.npz"


@pytest.mark.parametrize("name", ["2024run", "my data", "nul$", "-x", "µ"])
def test_a_name_that_no_schema_may_state_is_refused_before_anything_is_written(name: str, table: str):
    with pytest.raises(UsageError, match="does not name a dataset"):
        prep.ingest(table, output=f"data/raw/{name}.h5")

    assert not Path("data/raw").exists()
    assert not Path(f"schemas/{name}.yaml").exists()


@pytest.mark.parametrize("name", ["mine", "_u", "Run-7", "mine.v2"])
def test_the_draft_of_an_accepted_name_can_be_loaded(name: str, table: str):
    found = prep.ingest(table, output=f"data/raw/{name}.h5")

    assert found.schema is not None
    assert load_schema(found.schema).name == name.partition(".")[0]


def test_ingesting_the_same_bytes_again_changes_nothing(table: str):
    path = prep.ingest(table, output="data/raw/mine.h5").path
    before = path.stat().st_mtime_ns

    again = prep.ingest(table, output=path)
    assert path.stat().st_mtime_ns == before
    assert (again.schema, again.rows) == (None, {"train": 160, "val": 20, "test": 20})

    flip_field = open_container(path).layouts["x"]
    data = bytearray(path.read_bytes())
    data[int(flip_field.offsets[0])] ^= 1
    path.write_bytes(data)
    prep.ingest(table, output=path)
    assert path.stat().st_mtime_ns != before


@pytest.mark.parametrize("change", [{"version": "0.2.0"}, {"compression": "zstd"}, {"force": True}])
def test_ingesting_otherwise_is_done(change: dict[str, object], table: str):
    path = prep.ingest(table, output="data/raw/mine.h5").path
    before = path.stat().st_mtime_ns

    prep.ingest(table, output=path, **change)

    assert path.stat().st_mtime_ns != before


def test_a_folder_is_validated_whole_whatever_its_files_say_of_themselves(certified_copy: Path):
    assert [each.path.stem for each in prep.validate(certified_copy / "data")] == sorted(SYSTEMS)
    for ending in ("", ".manifest"):
        shutil.copy(f"data/raw/regression.h5{ending}", f"data/normalized/regression.h5{ending}")
    shutil.rmtree("data/normalized/covariance.zarr")

    found = {each.path.stem: each for each in prep.validate(certified_copy / "data")}

    codes = {name: each.exit_code() for name, each in found.items()}
    assert codes == {**dict.fromkeys(SYSTEMS, 0), "covariance": 3, "regression": 1}
    assert "dataset that is gone" in str(found["covariance"].error)


def test_statistics_are_measured_again_when_a_role_in_the_schema_changes(certified_copy: Path):
    schema = Path("schemas/control.yaml")
    schema.write_text(schema.read_text().replace("variant: {role: id", "variant: {role: aux"))

    stats = prep.stats("data/raw/control.h5", output="data/stats/control.json")
    prep.normalize("data/raw/control.h5", stats=stats, output="data/normalized/control.h5")


@pytest.mark.parametrize("text", ["", "{}", '{"datasets": []}'])
def test_a_report_that_is_not_about_the_dataset_is_refused(text: str, certified_copy: Path):
    place = Path("report.json")
    if text:
        place.write_text(text)

    with pytest.raises(CertificateError if text else UsageError, match="report"):
        prep.certify("data/normalized/regression.h5", report=place)


def test_data_certified_by_an_older_schema_are_refused_by_path_too(certified_copy: Path):
    schema = Path("schemas/regression.yaml")
    schema.write_text(schema.read_text() + "# stricter\n")

    for use in (prep.verify, prep.train):
        with pytest.raises(CertificateError, match="another schema than the project has now"):
            use("data/normalized/regression.h5")

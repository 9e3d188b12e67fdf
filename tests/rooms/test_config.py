"""The configuration: each wrong key gets its own error with line, place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prep.errors import ConfigError, PrepError, Refusal, UsageError
from prep.verbs.config import load_config


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_the_project_configuration_is_valid_and_names_the_systems():
    assert set(load_config(Path(__file__).parents[2] / "config/config.yaml").datasets) >= {
        "control",
        "covariance",
        "peptide",
        "regression",
        "tones",
    }


def test_defaults_fill_what_is_left_out(tmp_path: Path):
    config = load_config(written(tmp_path, "seed: 5\ndatasets:\n  control: {recipe: control}\n"))
    entry = config.dataset("control")

    assert (entry.seed, entry.format, entry.compression) == (5, "hdf5", "none")
    assert entry.schema == Path("schemas/control.yaml")
    assert config.normalized_path(entry) == Path("data/normalized/control.h5")


@pytest.mark.parametrize(
    ("text", "line", "key", "hint"),
    [
        ("sede: 1\ndatasets:\n  a: {recipe: control}\n", 1, "sede", "did you mean 'seed'?"),
        ("datasets:\n  a:\n    recipe: control\n    formt: zarr\n", 4, "datasets.a.formt", "did you mean 'format'?"),
        ("datasets:\n  a:\n    recipe: control\n    format: netcdf\n", 4, "datasets.a.format", "hdf5, zarr"),
        ("datasets:\n  a:\n    recipe: control\n    seed: -1\n", 4, "datasets.a.seed", "minimum 0"),
        ("datasets:\n  a: {}\n", 2, "datasets.a", "recipe"),
        ("datasets:\n  a: {recipe: x, ingest: {source: y.npz}}\n", 2, "datasets.a", "not both"),
        ("datasets:\n  a: {ingest: {source: y.npz}, parameters: {}}\n", 2, "datasets.a", "not both"),
        (
            "datasets:\n  a: {ingest: {source: y.npz, groop: x}}\n",
            2,
            "datasets.a.ingest.groop",
            "did you mean 'group'?",
        ),
        ("datasets:\n  a:\n    recipe: control\n    seed: 1.0\n", 4, "datasets.a.seed", "type"),
        ("datasets:\n  a:\n", 2, "datasets.a", "type"),
        ("datasets:\n  a: 5\n", 2, "datasets.a", "type"),
        ('datasets:\n  a: {recipe: x, version: "1.0.0\\n"}\n', 2, "datasets.a.version", "pattern"),
        ('data: "a{b}"\ndatasets:\n  a: {recipe: x}\n', 1, "data", "pattern"),
        ("data: -d\ndatasets:\n  a: {recipe: x}\n", 1, "data", "pattern"),
        ("datasets: {}\n", 1, "datasets", "minProperties"),
        ("scale: huge\ndatasets:\n  a: {recipe: x}\n", 1, "scale", "smoke, default, full"),
    ],
)
def test_each_wrong_key_or_value_is_named_with_its_line(tmp_path: Path, text: str, line: int, key: str, hint: str):
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text))

    assert (caught.value.where.line, caught.value.where.key) == (line, key)
    assert hint in str(caught.value)
    assert caught.value.exit_code == 2


def test_several_wrong_keys_are_all_reported_at_once(tmp_path: Path):
    with pytest.raises(Refusal) as caught:
        load_config(written(tmp_path, "sede: 1\nscale: huge\ndatasets:\n  a: {recipe: x, formt: y}\n"))

    assert {error.where.key for error in caught.value.errors} == {"sede", "scale", "datasets.a.formt"}


@pytest.mark.parametrize("text", ["", "[]", "a: 1\na: 2\n", "\tdatasets: {}"])
def test_a_file_that_is_no_configuration_is_a_usage_error(tmp_path: Path, text: str):
    with pytest.raises(PrepError) as caught:
        load_config(written(tmp_path, text))
    assert caught.value.exit_code == 2


def test_a_missing_file_and_an_unknown_dataset_say_what_exists(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nothing.yaml")
    config = load_config(written(tmp_path, "datasets:\n  control: {recipe: control}\n"))
    with pytest.raises(UsageError, match="did you mean 'control'"):
        config.dataset("contrl")

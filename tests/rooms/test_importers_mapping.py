"""The mapping file: every mistake in it is named with its place and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prep.errors import ConfigError
from prep.importers.mapping import draft, field_name, guess_role, load_mapping, parse_mapping
from prep.importers.names import is_group

GOOD = """\
fields:
  x: log/state
  y: {path: log/command, role: target, units: N m, dims: [sample, joint], mask: m, long_name: torque}
  m: log/on
  run: /log/run/
group: run
split: log/split
"""


def parse(folder: Path, text: str) -> None:
    (folder / "mapping.yaml").write_text(text)
    load_mapping(folder / "mapping.yaml")


def test_a_mapping_file_says_what_each_field_is(tmp_path: Path):
    (tmp_path / "mapping.yaml").write_text(GOOD)
    mapping = parse_mapping(load_mapping(tmp_path / "mapping.yaml"))
    x, y, _, run = mapping.fields
    assert (x.name, x.path, x.role, x.dims) == ("x", "log/state", "", None)
    assert (y.role, y.units, y.dims, y.mask, y.long_name) == ("target", "N m", ("sample", "joint"), "m", "torque")
    assert (run.path, mapping.group, mapping.split) == ("log/run", "run", "log/split")


@pytest.mark.parametrize(
    ("before", "after", "said", "line"),
    [
        ("group: run", "groups: run", "did you mean 'group'", 6),
        ("units: N m", "unit: N m", "did you mean 'units'", 3),
        ("role: target", "role: targets", "input, target, mask", 3),
        ("role: target", "role: split", "input, target, mask, id, aux", 3),
        ("role: target", "role: constant", "input, target, mask, id, aux", 3),
        ("group: run", "group: runs", "did you mean 'run'", 6),
        ("mask: m,", "mask: n,", "names a field 'n'", 3),
        ("log/on", "log/state", "field 'x' does not read already", 4),
        ("log/on", "../on", "a path inside the source", 4),
        ("log/on", "[a]", "a path, or a mapping with `path`", 4),
        ("units: N m", "units: 1", "put it in quotes", 3),
        ("[sample, joint]", "[joint]", "`sample` first", 3),
        ("path: log/command, ", "", "a path inside the source", 3),
        ("  x: ", "  2x: ", "a letter first", 2),
        ("  x: ", "  split: ", "not split, sample or prep", 2),
        ("  x: ", "  y: ", "duplicate key 'y'", 3),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, before: str, after: str, said: str, line: int):
    assert before in GOOD
    with pytest.raises(ConfigError) as caught:
        parse(tmp_path, GOOD.replace(before, after, 1))
    assert said in str(caught.value)
    assert caught.value.where.line == line


@pytest.mark.parametrize("text", ["", "- a", "fields: {}", "group: x", "fields: [", "a: &b 1\nc: *b"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str):
    with pytest.raises(ConfigError):
        parse(tmp_path, text)


def test_a_missing_mapping_file_is_a_configuration_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_mapping(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b c", "a_b_c"), ("x", "x"), ("0", "field_0"), ("split", "field_split"), ("a/é/b", "a_b"), ("/", "field_")],
)
def test_field_names_follow_from_paths(path: str, name: str):
    assert field_name(path) == name


def test_integers_with_the_name_of_an_id_are_ids_and_others_are_not():
    integer, real = np.dtype(int), np.dtype(float)
    assert [guess_role(name, integer, ()) for name in ("episode", "robot_id", "idx", "count")] == ["id"] * 3 + ["aux"]
    assert guess_role("episode", real, ()) == guess_role("episode", integer, (3,)) == "aux"
    assert [is_group(name) for name in ("episode_index", "trajectory", "step")] == [True, True, False]


def test_a_draft_of_a_large_tree_stays_readable_and_is_valid(tmp_path: Path):
    entries = [(f"group/array {index}", (10, 2), np.dtype(float)) for index in range(500)]
    entries += [(f"other/{index}", (index + 20,), np.dtype(float)) for index in range(500)]
    text = draft(entries)
    assert len(text.splitlines()) < 100
    assert "and 461 more" in text
    parse(tmp_path, text)

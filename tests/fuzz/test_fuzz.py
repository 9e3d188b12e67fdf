"""Hostile bytes for everything that parses them: errors of prep come out, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prep.canonical import canonical_json
from prep.certificate import statement
from prep.errors import PrepError
from tests.fuzz.run import fuzz, keeps_the_rule, resident
from tests.fuzz.targets import CORPUS, TARGETS, scratch, small_statement
from tests.torture.campaign import Order

# What the child process of HDF5, the schema language and folders take is paid for each input.
COUNTS = {"hdf5": 60, "schema": 700, "config": 500, "zarr-array": 500, "zarr-root": 500, "npz": 700, "npy": 700}


@pytest.fixture(scope="session", autouse=True)
def _clean() -> Any:
    yield
    shutil.rmtree(scratch(), ignore_errors=True)
    scratch.cache_clear()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_well_formed_is_read(name: str):
    for data in TARGETS[name].seeds():
        assert keeps_the_rule(TARGETS[name], data) == ("", False)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda each: each.name)
def test_what_once_came_through_as_another_error_is_refused(path: Path):
    assert keeps_the_rule(TARGETS[path.parent.name], path.read_bytes()) == ("", True)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_bytes_end_in_an_error_of_prep_or_in_nothing(name: str, tmp_path: Path):
    before = resident()
    tally = fuzz(name, Order(COUNTS.get(name, 1500), tmp_path, 0))
    assert tally.findings == []
    assert tally.refused > tally.harmless
    assert resident() - before < 512 << 20


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefghij_", max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(body: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something in a JSON document."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [above, *(place for key, value in inner for place in places(value, (*above, key)))]


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(choice=st.integers(0, 10_000), value=VALUES)
def test_any_value_in_any_place_of_a_statement_is_understood_or_refused(choice: int, value: Any):
    body = small_statement()
    known = places(body)[1:]
    place, owner = known[choice % len(known)], body
    for key in place[:-1]:
        owner = owner[key]
    owner[place[-1]] = value
    assert keeps_the_rule(TARGETS["statement"], canonical_json(body))[0] == ""


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(VALUES)
def test_json_comes_back_as_it_was_or_is_refused(value: Any):
    data = canonical_json({"x": value})
    assert json.loads(data) == TARGETS["json"].use(data)
    with pytest.raises(PrepError):
        statement.parse(canonical_json(value), path="x")


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["lock", "trust", "schema", "config", "mapping", "envelope"]), VALUES)
def test_documents_of_any_other_form_are_refused(name: str, value: Any):
    wrong, refused = keeps_the_rule(TARGETS[name], canonical_json({"x": value}))
    assert (wrong, refused) == ("", True)

"""Errors, canonical bytes, lazy tables and strict YAML: what everything above relies on."""

from __future__ import annotations

import pickle
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prep import errors
from prep.canonical import canonical_json, framed_digest, parse_json, value_digest
from prep.errors import ConfigError, DataError, IntegrityError, Refusal, UnfinishedError, UsageError, Where
from prep.registry import Table
from prep.strict_yaml import parse_yaml

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_a_number_agrees_with_its_noun():
    told = errors.counted(1, "sample"), errors.counted(2000, "sample"), errors.counted(1, "matrix", "matrices")
    assert told == ("1 sample", "2,000 samples", "1 matrix")
    assert errors.counted(0, "matrix", "matrices") == "0 matrices"


def test_an_error_says_what_where_measured_allowed_and_the_remedy():
    error = DataError(
        "values are not finite",
        where=Where(path="a.h5", field="states", split="train", samples=(3, 4, 5, 6, 7, 8)),
        measured="6 samples",
        allowed="0",
        remedy="mend the source",
    )

    assert str(error).splitlines() == [
        "data: values are not finite",
        "  where:    a.h5, field states, split train, samples 3, 4, 5, 6, 7 and 1 more",
        "  measured: 6 samples",
        "  allowed:  0",
        "  remedy:   mend the source",
    ]
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((1, 3, 4), 4), ((1, 3), 3), ((0, 1), 1), ((0,), 0), ((), 0), ((4, 130), 130), ((1, 2), 2)],
)
def test_the_most_serious_exit_code_stands_for_several(codes: tuple[int, ...], expected: int):
    assert errors.worst_exit_code(codes) == expected


def test_what_a_stranger_wrote_is_shown_as_far_as_it_tells_anything():
    error = DataError("no", measured="x" * 3_000_000, remedy="mend")
    assert len(str(error)) < 3000
    assert "3,000,000 characters" in str(error)
    assert len(error.to_dict()["measured"]) < 3000


def test_a_key_that_is_there_twice_is_found_at_once_among_very_many():
    text = "{" + ",".join(f'"k{place}":1' for place in range(300_000)) + ',"k299999":1}'
    begin = time.monotonic()
    with pytest.raises(IntegrityError, match="duplicate key 'k299999'"):
        parse_json(text.encode(), path="x")
    assert time.monotonic() - begin < 30.0  # quadratic: an hour


def test_a_refusal_lists_every_reason_and_takes_the_most_serious_code():
    refusal = Refusal(
        [DataError("one", remedy="mend"), IntegrityError("two", remedy="restore"), DataError("three", remedy="mend")]
    )

    assert refusal.exit_code == 3
    assert [line for line in str(refusal).splitlines() if not line.startswith(" ")] == [
        "data: one",
        "integrity: two",
        "data: three",
    ]
    assert UnfinishedError("x", remedy="y").exit_code == 4


@given(JSON)
def test_canonical_json_comes_back_as_it_went_in(value: object):
    data = canonical_json(value)

    assert parse_json(data, path="x") == value
    assert canonical_json(parse_json(data, path="x")) == data


@pytest.mark.parametrize("text", [b'{"a": 1, "a": 2}', b"[NaN]", b"[Infinity]", b"{", b"\xff", b"[" * 100_000])
def test_json_that_two_readers_could_read_differently_is_refused(text: bytes):
    with pytest.raises(IntegrityError, match="not valid JSON"):
        parse_json(text, path="cert.json")


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_framed_digests_differ_wherever_the_parts_differ(left: list[bytes], right: list[bytes]):
    assert (framed_digest("t", *left) == framed_digest("t", *right)) == (left == right)


def test_digests_of_equal_values_differ_between_domains():
    assert value_digest("a", {"x": 1}) != value_digest("b", {"x": 1})


def test_a_table_loads_lazily_and_names_the_closest_member_for_a_wrong_name():
    table = Table("shapes", {"circle": "nowhere:circle", "square": "prep.registry:Table"})

    assert table.load("square") is Table
    with pytest.raises(UsageError, match=r"did you mean 'circle'\?"):
        table.load("circel")


def test_yaml_scalars_follow_version_1_2():
    value = parse_yaml("a: 1e-5\nb: on\nc: 0o17\nd: 012\ne: null\nf: '1'\ng: .inf\n", path="x").value

    assert value == {"a": 1e-5, "b": "on", "c": 15, "d": 12, "e": None, "f": "1", "g": float("inf")}


@pytest.mark.parametrize(
    ("text", "line", "detail"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a'"),
        ("a: &x [1]\nb: *x\n", 1, "aliases are not allowed"),
        ("a: !!python/object:os.system x\n", 1, "tags are not allowed"),
        ("a: !local x\n", 1, "tags are not allowed"),
        ("b: 1\na: !!bool maybe\n", 2, "tags are not allowed"),
        ("b: 1\na: !!null 5\n", 2, "tags are not allowed"),
        ('b: 1\na: !!int "3"\n', 2, "tags are not allowed"),
        ("b: 1\na: !!str 5\n", 2, "tags are not allowed"),
        ("b: 1\na: ! 5\n", 2, "tags are not allowed"),
        ("b: 1\na: !<tag:yaml.org,2002:int> 5\n", 2, "tags are not allowed"),
        ("b: 1\na: !!map {c: 1}\n", 2, "tags are not allowed"),
        ("b: 1\na:\n- !!seq []\n", 3, "tags are not allowed"),
        ("b: 1\n!!python/name:os.system a: 1\n", 2, "tags are not allowed"),
        ("%TAG ! tag:yaml.org,2002:\n---\na: !int 3\n", 3, "tags are not allowed"),
        ("b: 1\na: &x 1\n", 2, "anchors and aliases are not allowed"),
        ("b: 1\n&x a: 1\n", 2, "anchors and aliases are not allowed"),
        ("&x\na: *x\n", 1, "anchors and aliases are not allowed"),
        ("b: 1\na: *x\n", 2, "anchors and aliases are not allowed"),
        ("a:\n  - [\n", 3, "did not find|expected"),
    ],
)
def test_yaml_that_hides_what_it_says_is_refused_with_its_line(text: str, line: int, detail: str):
    with pytest.raises(ConfigError, match=detail) as caught:
        parse_yaml(text, path="f.yaml")
    assert caught.value.where.line == line


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_what_is_written_without_tag_and_anchor_has_none_for_either_loader(loader: type):
    text = "a: 1\n'b': \"c\"\nd: [~, on, .inf, {}]\ne: |\n  f\n? g\n: \n"
    events = [event for event in yaml.parse(text, Loader=loader) if isinstance(event, yaml.NodeEvent)]

    assert len(events) == 15
    assert {(event.anchor, getattr(event, "tag", None)) for event in events} == {(None, None)}


def test_yaml_values_know_their_lines():
    document = parse_yaml("a:\n  b:\n  - 1\n  - {c: 2}\n", path="x")

    assert document.line("a", "b", 1, "c") == 4
    assert document.line("a", "b", 7) == 2

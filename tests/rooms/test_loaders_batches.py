"""Batches: every certified row once an epoch, in a stated order, never changed by who uses them, from any batch on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.errors import CertificateError, IntegrityError, UsageError
from tests.conftest import dataset_of, largest_file

Make = Callable[..., Any]
KINDS = ("numpy", "torch", "jax")


@pytest.fixture(scope="module")
def data(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "control"), lock_path=certified_project / "prep.lock")


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, data: prep.CertifiedDataset) -> Make:
    """Makes batches of one framework."""
    pytest.importorskip(request.param)
    return partial(getattr(data, request.param), fields=("states", "controls", "system"))


def arrays(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(values) for name, values in batch.items()}


def all_of(batches: Any) -> list[dict[str, Any]]:
    return [arrays(batch) for batch in batches]


def same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(one[name], two[name]) for one, two in zip(first, second, strict=True) for name in one
    )


WAYS = [
    pytest.param({"in_memory": True}, id="held"),
    pytest.param({"in_memory": False}, id="streamed"),
    pytest.param({"in_memory": False, "window_bytes": 1}, id="small windows"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_comes_once_an_epoch(way: dict[str, Any], shuffle: bool, make: Make, data: prep.CertifiedDataset):
    batches = make("train", batch_size=100, shuffle=shuffle, **way)
    start, stop = data.bounds("train")
    expected = data.rows("controls", start, stop)

    for _ in range(2):
        rows = np.concatenate([batch["controls"] for batch in all_of(batches)])
        if not shuffle:
            np.testing.assert_array_equal(rows, expected)
        else:
            assert not np.array_equal(rows, expected)
            np.testing.assert_array_equal(*(each[np.lexsort(each.T)] for each in (rows, expected)))
    assert len(batches) == -(-len(expected) // 100)


@pytest.mark.parametrize("way", WAYS)
def test_the_order_depends_on_seed_and_epoch_alone(way: dict[str, Any], make: Make):
    def epoch(seed: int, number: int) -> list[dict[str, Any]]:
        batches = make("train", batch_size=64, shuffle=True, seed=seed, **way)
        batches.set_epoch(number)
        return all_of(batches)

    first = epoch(0, 1)
    assert same(first, epoch(0, 1))
    assert not same(first, epoch(0, 2))
    assert not same(first, epoch(1, 1))


@pytest.mark.parametrize("way", WAYS)
def test_a_pass_is_an_epoch(way: dict[str, Any], make: Make):
    batches = make("train", batch_size=64, shuffle=True, **way)
    passes = [all_of(batches), all_of(batches)]

    assert not same(*passes)
    batches.set_epoch(0)
    assert same(all_of(batches), passes[0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("taken", [0, 1, 3, -1])
def test_a_state_goes_on_with_the_batch_that_would_have_come(way: dict[str, Any], taken: int, make: Make):
    batches = make("train", batch_size=50, shuffle=True, seed=3, **way)
    whole = all_of(batches) + all_of(batches)
    begun = make("train", batch_size=50, shuffle=True, seed=3, **way)
    taken %= len(begun) + 1
    for _, _batch in zip(range(taken), begun, strict=False):
        pass
    state = json.loads(json.dumps(begun.state_dict()))

    other = make("train", batch_size=50, shuffle=True, seed=3, **way)
    other.load_state_dict(state)
    other.set_epoch(state["epoch"])  # what a trainer does before each epoch

    assert same(all_of(other) + all_of(other), whole[taken:] if taken < len(begun) else whole[taken:] + all_of(batches))


def test_a_state_keeps_the_order_it_was_begun_with_where_there_is_other_memory(make: Make):
    streamed = make("train", batch_size=50, shuffle=True, in_memory=False)
    next(iter(streamed))
    held = make("train", batch_size=50, shuffle=True, in_memory=True)
    whole = make("train", batch_size=50, shuffle=True, in_memory=False)

    held.load_state_dict(streamed.state_dict())

    assert same(all_of(held), all_of(whole)[1:])


def test_a_state_of_other_batches_or_other_data_is_refused(make: Make):
    state = make("train", batch_size=50).state_dict()
    for change, said in (
        ({"split": "val"}, "another split"),
        ({"batch": 10**6}, "no such place"),
        ({"batch": -1}, "no such place"),
        ({"batch": True}, "no such place"),
        ({"epoch": "1"}, "no such place"),
        ({"order": {**state["order"], "seed": 5}}, "another seed"),
        ({"order": {**state["order"], "batch_size": 5}}, "another batch_size"),
        ({"order": {}}, "another"),
        ({"more": 1}, "is none"),
    ):
        with pytest.raises(UsageError, match=said):
            make("train", batch_size=50).load_state_dict({**state, **change})
    with pytest.raises(CertificateError, match="other data"):
        make("train", batch_size=50).load_state_dict({**state, "root": "blake3:0"})


@pytest.mark.parametrize("way", WAYS)
def test_ranks_share_an_epoch(way: dict[str, Any], make: Make, data: prep.CertifiedDataset):
    ranks = [make("train", batch_size=30, shuffle=True, rank=rank, ranks=3, **way) for rank in range(3)]
    found = [all_of(each) for each in ranks]
    start, stop = data.bounds("train")

    rows = np.concatenate([batch["states"] for each in found for batch in each]).reshape(stop - start, -1)
    expected = data.rows("states", start, stop).reshape(stop - start, -1)

    assert len({len(each) for each in found}) == 1
    np.testing.assert_array_equal(*(each[np.lexsort(each.T)] for each in (rows, expected)))


@pytest.mark.parametrize("way", WAYS)
def test_fields_of_one_row_stay_together(way: dict[str, Any], make: Make, data: prep.CertifiedDataset):
    start, stop = data.bounds("train")
    names = ("states", "system")
    known = {
        state.tobytes(): int(system)
        for state, system in zip(*(data.rows(name, start, stop) for name in names), strict=True)
    }
    for batch in all_of(make("train", batch_size=200, shuffle=True, **way)):
        for state, system in zip(*(batch[name] for name in names), strict=True):
            assert known[state.tobytes()] == system


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_changing_a_batch_changes_nothing_else(way: dict[str, Any], kind: str, data: prep.CertifiedDataset):
    batches = getattr(data, kind)("val", batch_size=64, fields=("controls",), **way)
    before = all_of([{name: values + 0 for name, values in batch.items()} for batch in batches])

    for batch in batches:
        batch["controls"] += 1000.0

    assert same(all_of(batches), before)


@pytest.mark.parametrize("way", WAYS)
def test_a_byte_that_changes_while_batches_are_taken_is_found(way: dict[str, Any], certified_copy: Path):
    path = dataset_of(certified_copy, "control")
    data = prep.open(path)
    start = data.manifest.layouts["states"].offsets[0]
    with largest_file(path).open("r+b") as file:
        file.seek(int(start) + 5)
        byte = file.read(1)
        file.seek(int(start) + 5)
        file.write(bytes([byte[0] ^ 1]))

    with pytest.raises(IntegrityError, match="changed since"):
        all_of(data.numpy("train", **way))


def test_who_stops_early_leaves_no_thread(data: prep.CertifiedDataset):
    before = threading.active_count()
    batches = iter(data.numpy("train", batch_size=8, shuffle=True, in_memory=False, window_bytes=1))
    next(batches)
    del batches

    assert threading.active_count() == before


def test_how_long_one_waits_is_told(data: prep.CertifiedDataset):
    batches = data.numpy("train", batch_size=64)
    all_of(batches)

    assert 0 < batches.waited < 60


@pytest.mark.parametrize("kind", KINDS)
def test_batches_that_cannot_be_are_refused(kind: str, data: prep.CertifiedDataset):
    pytest.importorskip(kind)
    make = getattr(data, kind)
    with pytest.raises(UsageError, match="needs fields"):
        make("train", fields=())
    with pytest.raises(UsageError, match="needs samples"):
        make("train", batch_size=0, fields=("states",))
    with pytest.raises(UsageError, match="no split"):
        make("tset", fields=("states",))
    with pytest.raises(CertificateError, match="certified data only"):
        type(make("train", fields=("states",)))({"states": 1}, "train", None)


def test_two_batches_may_be_taken_side_by_side(data: prep.CertifiedDataset):
    batches = data.numpy("train", batch_size=64, shuffle=True, in_memory=False)
    pairs = list(zip(batches, batches, strict=True))

    assert same([first for first, _ in pairs], [second for _, second in pairs])

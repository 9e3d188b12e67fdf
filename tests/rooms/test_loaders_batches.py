"""Batches: every certified row once an epoch, in a stated order, never changed by who uses them, from any batch on."""

from __future__ import annotations

import json
import pickle
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
def test_a_pass_that_is_left_early_is_an_epoch_too(way: dict[str, Any], make: Make):
    batches = make("train", batch_size=64, shuffle=True, **way)
    firsts = [arrays(next(iter(batches))) for _ in range(3)]
    for epoch, first in enumerate(firsts):
        batches.set_epoch(epoch)
        assert same([arrays(next(iter(batches)))], [first])

    assert not same(firsts[:1], firsts[1:2])
    assert not same(firsts[1:2], firsts[2:])


def test_the_state_after_a_pass_that_was_left_is_that_of_the_pass(data: prep.CertifiedDataset):
    batches = data.numpy("train", batch_size=64, shuffle=True, fields=("controls",))
    whole = all_of(data.numpy("train", batch_size=64, shuffle=True, fields=("controls",)))
    next(iter(batches))

    other = data.numpy("train", batch_size=64, shuffle=True, fields=("controls",))
    other.load_state_dict(batches.state_dict())

    assert same(all_of(other), whole[1:])


def test_a_pass_that_is_forgotten_late_does_not_undo_the_epoch_that_was_chosen(data: prep.CertifiedDataset):
    batches = data.numpy("train", batch_size=64, shuffle=True, fields=("controls",))
    kept = iter(batches)
    first = arrays(next(kept))
    batches.set_epoch(0)
    del kept

    assert same([arrays(next(iter(batches)))], [first])


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
        ({"order": {name: value for name, value in state["order"].items() if name != "window"}}, "no such place"),
        ({"order": {name: value for name, value in state["order"].items() if name != "unit"}}, "another unit"),
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


@pytest.mark.parametrize(
    "wrong",
    [
        *({"batch_size": each} for each in ("512", 2.5, None, True, -1)),
        *({"seed": each} for each in (-1, 1.5, None, "a")),
        *({"window_bytes": each} for each in ("1MB", 0, None)),
        *({"rank": "0"}, {"ranks": 2.5}),
    ],
    ids=str,
)
def test_what_is_no_whole_number_is_refused_at_once(wrong: dict[str, Any], data: prep.CertifiedDataset):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is a whole number"):
        data.numpy("train", shuffle=True, **wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_that_there_is_not_is_refused(kind: str, data: prep.CertifiedDataset):
    pytest.importorskip(kind)
    with pytest.raises(UsageError, match="no option num_workers"):
        getattr(data, kind)("train", fields=("states",), num_workers=2)


@pytest.mark.parametrize("epoch", [-1, 1.5, None])
def test_an_epoch_that_cannot_be_is_refused(epoch: Any, data: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="epoch is a whole number"):
        data.numpy("train").set_epoch(epoch)


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_that_cannot_agree_what_is_held_have_to_be_told(kind: str, data: prep.CertifiedDataset):
    pytest.importorskip(kind)
    make = partial(getattr(data, kind), "train", fields=("states",), rank=0, ranks=2)

    with pytest.raises(UsageError, match="cannot ask each other"):
        make(shuffle=True)
    assert make(shuffle=True, in_memory=True).in_memory
    make(shuffle=False)  # in stored order ranks have the same rows either way


def test_memory_that_was_promised_to_one_is_not_promised_to_others(
    data: prep.CertifiedDataset, monkeypatch: pytest.MonkeyPatch
):
    start, stop = data.bounds("train")
    size = (stop - start) * data.spec["controls"].row_bytes
    monkeypatch.setattr("prep.loaders.residency.free_memory", lambda: round(2.2 * size))
    make = partial(data.numpy, "train", fields=("controls",))

    loaders = [make() for _ in range(3)]
    assert [each.in_memory for each in loaders] == [True, False, False]
    all_of(loaders[0])
    assert make().in_memory  # what is held now is missing from the free memory by itself
    loaders.clear()


def test_a_pickle_of_batches_is_small(data: prep.CertifiedDataset):
    batches = data.numpy("train", in_memory=True)
    before = len(pickle.dumps(batches))
    first = all_of(batches)

    assert len(pickle.dumps(batches)) == pytest.approx(before, rel=0.1)
    assert same(all_of(pickle.loads(pickle.dumps(batches))), first)


@pytest.mark.parametrize("kind", ["torch", "jax"])
def test_a_split_that_is_held_on_a_device_is_never_whole_in_the_memory_of_the_host(
    kind: str, data: prep.CertifiedDataset, monkeypatch: pytest.MonkeyPatch
):
    module = pytest.importorskip(f"prep.loaders.{kind}")
    make = partial(getattr(data, kind), "train", batch_size=64, shuffle=True, fields=("states", "system"))
    expected = all_of(make(in_memory=True))

    def refused(*_: object) -> None:
        raise AssertionError("the whole split was read at once")

    monkeypatch.setattr(getattr(module, f"{kind.capitalize()}Placement"), "room", lambda *_: True)
    monkeypatch.setattr("prep.loaders.batches.resident", refused)
    monkeypatch.setattr("prep.loaders.batches._PIECE_BYTES", 1)
    batches = make()

    assert same(all_of(batches), expected)

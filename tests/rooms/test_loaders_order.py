"""The order of rows: every row once an epoch in one rank, the same for the same seed, from any batch on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prep.errors import UsageError
from prep.loaders.order import Order


def rows_of(order: Order, epoch: int = 0, first: int = 0) -> list[int]:
    found: list[int] = []
    for window in order.windows(epoch, first):
        held = np.concatenate([np.arange(*run) for run in window.runs])
        found += (held if window.index is None else held[window.index]).tolist()
        assert window.rows == len(held) if window.index is None else len(window.index)
    return found


@st.composite
def orders(draw: st.DrawFn) -> Order:
    ranks = draw(st.integers(1, 5))
    start = draw(st.integers(0, 50))
    rows = draw(st.integers(ranks, 300))
    return Order(
        *(start, start + rows, draw(st.integers(1, 40)), draw(st.integers(0, 3))),
        shuffle=draw(st.booleans()),
        unit=1 << draw(st.integers(0, 6)),
        window=draw(st.integers(0, 5)),
        ranks=ranks,
    )


@given(orders())
def test_every_row_comes_once_an_epoch_in_one_rank(order: Order):
    ranks = [replace(order, rank=rank) for rank in range(order.ranks)]

    found = [rows_of(each, epoch=1) for each in ranks]

    assert sorted(row for each in found for row in each) == list(range(order.start, order.stop))
    assert [len(each) for each in found] == [each.rows for each in ranks]


@given(orders())
def test_every_rank_makes_as_many_batches_and_none_is_empty(order: Order):
    ranks = [replace(order, rank=rank) for rank in range(order.ranks)]

    assert len({each.batches for each in ranks}) == 1
    for each in ranks:
        bounds = [each.bounds(batch) for batch in range(each.batches)]
        assert [low for low, _ in bounds] + [bounds[-1][1]] == [0, *(high for _, high in bounds)]
        assert bounds[-1][1] == each.rows
        assert all(0 < high - low <= order.batch_size + (order.ranks > 1) for low, high in bounds)


@given(orders(), st.data())
def test_an_epoch_can_begin_at_any_row(order: Order, data: st.DataObject):
    first = data.draw(st.integers(0, order.rows - 1))

    begun = next(order.windows(2, first)).first

    assert begun <= first
    assert rows_of(order, 2, first) == rows_of(order, 2)[begun:]


@pytest.mark.parametrize("window", [0, 4])
def test_epochs_seeds_and_windows_have_orders_of_their_own(window: int):
    order = Order(0, 1000, 10, seed=1, shuffle=True, unit=16, window=window)

    assert rows_of(order, 3) == rows_of(order, 3)
    assert len({tuple(rows_of(order, epoch)) for epoch in range(5)} | {tuple(rows_of(replace(order, seed=2)))}) == 6


def test_batches_of_many_ranks_are_those_of_one_where_the_split_is_held():
    one = Order(0, 1000, 40, seed=1, shuffle=True)
    ranks = [replace(one, batch_size=10, rank=rank, ranks=4) for rank in range(4)]

    assert [row for each in ranks for row in rows_of(each)] == rows_of(one)


def test_windows_mix_what_lies_far_apart():
    # 64 units in windows of 16: two neighbours of one unit end up in one batch of 32 no more often than that predicts.
    order = Order(0, 64 * 64, 32, seed=0, shuffle=True, unit=64, window=16)
    together, epochs = 0, 20
    for epoch in range(epochs):
        place = np.empty(order.rows, int)
        place[rows_of(order, epoch)] = np.arange(order.rows)
        batch = place // order.batch_size
        inside = np.arange(order.rows - 1) % order.unit != order.unit - 1
        together += np.mean(batch[:-1][inside] == batch[1:][inside])

    expected = (order.batch_size - 1) / (order.window * order.unit - 1)
    assert together / epochs == pytest.approx(expected, rel=0.1)


def test_rows_left_over_are_left_out_where_asked():
    order = Order(0, 103, 25, ranks=2, drop_last=True)

    assert [replace(order, rank=rank).bounds(1) for rank in range(2)] == [(25, 50), (25, 50)]
    assert order.batches == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 0}, "needs samples"),
        ({"rank": 2, "ranks": 2}, "no such rank"),
        ({"ranks": 11}, "too few samples"),
        ({"batch_size": 11, "drop_last": True}, "too few samples"),
    ],
)
def test_orders_that_cannot_be_are_refused(wrong: dict[str, int], said: str):
    with pytest.raises(UsageError, match=said):
        Order(**{"start": 0, "stop": 10, "batch_size": 2, **wrong})

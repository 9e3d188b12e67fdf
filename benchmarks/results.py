"""One measured row, its JSON and the table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparisons import Comparison, Goal
from benchmarks.data import Datasets, Made
from benchmarks.measure import alternate

REPEATS, PATIENCE = 5, 12.0


@dataclass(frozen=True, slots=True)
class Result:
    """``ours`` and ``peer`` in ``unit``; ``ratio`` is ours over peer, or ours where there is no peer."""

    name: str
    ours: float
    peer: float | None
    ratio: float
    goal: Goal | None
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.goal.met(self.ratio)

    @property
    def advantage(self) -> float:
        """How many times better than the goal, or than the peer where there is none."""
        limit = self.goal.limit if self.goal else 1.0
        smaller = self.goal.sense == "<=" if self.goal else self.unit in ("s", "MiB")
        return limit / self.ratio if smaller else self.ratio / limit

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, four digits."""
        return {
            "name": self.name,
            "ours": _rounded(self.ours),
            "peer": None if self.peer is None else _rounded(self.peer),
            "ratio": _rounded(self.ratio),
            "goal": str(self.goal) if self.goal else "",
            "limit": self.goal.limit if self.goal else None,
            "unit": self.unit,
        }


def measured(comparison: Comparison, datasets: Datasets) -> Result:
    """Both sides timed in turn; `AssertionError` where their results differ, since the times then mean nothing."""
    made = [datasets.get(recipe) for recipe in comparison.recipes]
    jobs = [comparison.ours(made[0])] + ([comparison.peer(made[-1])] if comparison.peer else [])
    if comparison.unit == "MiB":
        size = float(jobs[0].run())
        return Result(comparison.name, size, None, size, comparison.goal, comparison.unit)
    results, times = alternate(jobs, REPEATS, PATIENCE)
    if len(jobs) == 2 and comparison.peer_data is None:
        comparison.agree(*results)
    values = [_in(comparison.unit, each, time) for each, time in zip((made[0], made[-1]), times, strict=False)]
    peer = values[1] if len(values) > 1 else None
    ratio = values[0] / peer if peer else values[0]
    return Result(comparison.name, values[0], peer, ratio, comparison.goal, comparison.unit)


def _in(unit: str, made: Made, time: float) -> float:
    if unit == "s":
        return time
    return (made.bytes / 1e9 if unit == "GB/s" else made.rows) / time


def show(results: Sequence[Result]) -> None:
    """The table, on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("comparison", overflow="fold")
    for title in ("ours", "peer", "unit", "ratio", "goal", ""):
        table.add_column(title, justify="left" if title == "unit" else "right", no_wrap=True)
    for each in results:
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[each.met]
        peer = "" if each.peer is None else _short(each.peer)
        ratio = _short(each.ratio) if each.peer is not None else ""
        table.add_row(each.name, _short(each.ours), peer, each.unit, ratio, str(each.goal or ""), verdict)
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=132)).print(table)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

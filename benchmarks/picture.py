"""One picture of all ratios: how far each lies from its goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Result

# Read on white and on black alike.
_MET, _MISSED, _OTHER, _TEXT = "#2a9d5c", "#d4593b", "#8a94a0", "#747c86"


def draw(results: Sequence[Result], about: Mapping[str, Any], path: Path) -> None:
    """Horizontal bars on a logarithmic axis, 1 is the goal; grey where there is none, 1 is then the peer."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    style: Any = {"text.color": _TEXT, "axes.labelcolor": _TEXT, "xtick.color": _TEXT, "ytick.color": _TEXT}
    with mpl.rc_context({**style, "font.size": 9, "svg.hashsalt": "prep"}):
        figure, axes = plt.subplots(figsize=(12, 1.6 + 0.28 * len(results)), layout="constrained")
        shown = [min(max(each.advantage, 1e-3), 1e3) for each in results]
        colours = [{None: _OTHER, True: _MET, False: _MISSED}[each.met] for each in results]
        places = range(len(results))
        # A bar from 1 to its value: to the right of the line it is better, to the left worse.
        axes.barh(places, [value - 1 for value in shown], left=1, color=colours, height=0.65)
        axes.axvline(1, color=_TEXT, linewidth=1.2)
        for place, each, value in zip(places, results, shown, strict=True):
            axes.annotate(
                _label(each),
                (value, place),
                xytext=(4 if value >= 1 else -4, 0),
                textcoords="offset points",
                ha="left" if value >= 1 else "right",
                va="center",
                fontsize=8,
            )
        axes.set_xscale("log")
        # Room for the labels: a quarter of the axis on either side.
        low, high = min(*shown, 0.5), max(*shown, 2)
        room = (high / low) ** 0.5
        axes.set_xlim(low / room, high * room)
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
        axes.set_yticks(places, [each.name for each in results])
        axes.margins(y=0.01)
        axes.invert_yaxis()
        axes.set_xlabel("times better than the goal; grey: no goal, times better than the peer")
        figure.supxlabel(_caption(about), x=0.01, ha="left", fontsize=8)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_TEXT)
        axes.tick_params(axis="y", length=0)
        figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)


def _label(each: Result) -> str:
    value = f"{each.ours:.3g} {each.unit}"
    if each.peer is not None:
        value = f"{each.ratio:.3g}× the {'time' if each.unit == 's' else 'speed'}"
    return f"{value} (goal {each.goal})".replace(">=", "≥").replace("<=", "≤") if each.goal else value


def _caption(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}\n{versions}"

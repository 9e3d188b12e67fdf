"""Pictures of a page as SVG: distributions, scales, shares, spectra, matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from prep.blocks import Array
from prep.report.bars import rebinned
from prep.report.looked import Panel, log_counts
from prep.report.said import apart, power_of_ten
from prep.report.sheet import Matrices
from prep.report.strokes import Picture

_BINS, _FEW = 60, 30
_CELLS, _LEVELS = 24, 12
_DEEPEST = 16.0


def uneven(panels: Sequence[Panel], places: Sequence[int]) -> bool:
    """Whether any of the histograms at ``places`` is told better by the logarithm of its counts."""
    return any(log_counts(each.histograms[place][1]) for each in panels if each.histograms for place in places)


def histogram(panel: Panel, index: int, kind: str, title: str, *, log: bool) -> Markup:
    """The histogram of one feature from its least to its largest value, which the end of its title tells; nothing where
    there is one value or none.
    """
    if not panel.histograms or len(panel.histograms[index][0]) <= 2:
        return Markup("")
    counts = panel.histograms[index][1]
    summed = rebinned(counts, _BINS) if len(counts) > _BINS else np.asarray(counts, np.float64)
    heights = np.log1p(summed) if log else summed
    top = float(heights.max(initial=0.0)) or 1.0
    low, high = apart(panel.min[index], panel.max[index], 3)
    title += f": {low} to {high}, counts on a {'logarithmic' if log else 'linear'} scale"
    drawn = Picture(_BINS * 3, 30, title, "strip", stretch=True)
    step = _BINS * 3 / len(heights)
    bar = step if len(heights) > _FEW else 0.8 * step
    path = "M0 30" + "".join(
        f"V{30 - max(28 * float(each) / top, 1.0 if filled else 0.0):.3g}h{bar:.3g}"
        + (f"V30h{step - bar:.3g}" if bar < step else "")
        for each, filled in zip(heights, summed > 0, strict=True)
    )
    drawn.add("path", kind, d=f"{path}V30z")
    return drawn.done()


def scale_marks(kinds: Mapping[str, Array], low: int, high: int, title: str) -> Markup:
    """A mark for each value on a logarithmic axis from 10**low to 10**high: a bar for ``after``, else a circle."""
    drawn = Picture(400, 16, title, "strip low marks")
    for decade in range(low, high + 1):
        place = 6 + 388 * (decade - low) / (high - low)
        drawn.add("line", "axis", x1=place, x2=place, y1=0, y2=16)
    for kind, values in sorted(kinds.items()):
        kept = values[np.isfinite(values) & (values > 0)]
        for place in np.unique(np.round(6 + 388 * (np.log10(kept) - low) / (high - low), 1)):
            if kind == "after":
                drawn.add("rect", kind, x=place - 2, y=1, width=4, height=14)
            else:
                drawn.add("circle", kind, cx=place, cy=8, r=4)
    return drawn.done()


def share_bars(before: float | None, after: float, most: float, title: str) -> Markup:
    """Two bars on one scale, the largest share of which is full: an outlined one above for what was before."""
    drawn = Picture(200, 16, title, "strip low", stretch=True)
    if before is not None and np.isfinite(before):
        drawn.add("rect", "before", x=0, y=1, width=200 * before / (most or 1.0), height=6)
    if np.isfinite(after):
        drawn.add("rect", "after", x=0, y=9 if before is not None else 4, width=200 * after / (most or 1.0), height=6)
    return drawn.done()


def spectrum(found: Matrices, name: str) -> Markup:
    """`Matrices.band` over the place in the spectrum on a logarithmic axis: the median as a line, all as a band. What
    is smaller than rounding of the stored type ends at the foot; nothing where no eigenvalue is positive.
    """
    samples = len(found.shares)
    if not samples:
        return Markup("")
    lower, middle, upper = np.log10(np.maximum(found.band, 10**-_DEEPEST))
    count = len(middle)
    depth = max(-float(lower.min()), 1.0)
    left, right, top, bottom = 58.0, 470.0, 12.0, 214.0

    def x(index: float) -> float:
        return float(left + (right - left) * index / max(count - 1, 1))

    def y(log: float) -> float:
        return float(top + (bottom - top) * -log / depth)

    drawn = Picture(
        480,
        260,
        f"eigenvalues of {name} in {samples:,} samples as shares of the largest, on a logarithmic scale",
        "plot",
    )
    for decade in range(0, int(depth) + 1, 1 if depth < 4 else 2):
        drawn.add("line", "grid", x1=left, x2=right, y1=y(-decade), y2=y(-decade))
        drawn.add("text", "tick end", power_of_ten(-decade) if decade else "1", x=left - 8, y=y(-decade) + 5)
    places = dict.fromkeys((0, count // 2, count - 1))
    for index in places:
        kind = "tick end" if index == count - 1 and count > 1 else "tick" if index == 0 else "tick middle"
        drawn.add("text", kind, str(index + 1), x=x(index), y=bottom + 20)
    drawn.add("text", "tick middle", "place in the spectrum, largest first", x=(left + right) / 2, y=bottom + 42)
    there = [f"{x(i):.1f} {y(v):.1f}" for i, v in enumerate(upper)]
    back = [f"{x(i):.1f} {y(v):.1f}" for i, v in reversed(list(enumerate(lower)))]
    drawn.add("path", "band", d=f"M{'L'.join([*there, *back])}z")
    drawn.add("path", "curve", d=f"M{'L'.join(f'{x(i):.1f} {y(v):.1f}' for i, v in enumerate(middle))}")
    return drawn.done()


def matrix(modulus: Array, title: str) -> Markup:
    """A real matrix as at most 24 × 24 means of blocks, blank at the least of them and full at the largest."""
    cuts = [np.array_split(np.arange(n), min(n, _CELLS)) for n in modulus.shape]
    scaled = modulus / (float(modulus.max(initial=0.0, where=np.isfinite(modulus))) or 1.0)  # sums might overflow
    means = np.asarray([[scaled[np.ix_(down, across)].mean() for across in cuts[1]] for down in cuts[0]])
    finite = means[np.isfinite(means)]
    low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    if not low < high:
        return Markup("")
    levels = np.rint(np.nan_to_num((means - low) / (high - low), nan=0.0) * _LEVELS).astype(int)
    drawn = Picture(levels.shape[1], levels.shape[0], title, "matrix")
    for level in range(1, _LEVELS + 1):
        places = np.argwhere(levels == level)
        if len(places):
            path = "".join(f"M{column} {row}h1v1h-1z" for row, column in places)
            drawn.add("path", "cell", d=path, fill_opacity=round(level / _LEVELS, 2))
    return drawn.done()


def graph(chain: Sequence[tuple[str, str]], inputs: Sequence[Sequence[tuple[str, str]]], title: str) -> Markup:
    """Steps from top to bottom, each (what, which), and what goes into each of them from the right."""
    height, gap, room = 46.0, 30.0, 0.0
    tops = []
    for each in inputs:
        tops.append(room)
        room += max(len(each), 1) * (height + 8) - 8 + gap
    drawn = Picture(480, room - gap + 4, title, "graph")
    for index, ((what, which), top, feeds) in enumerate(zip(chain, tops, inputs, strict=True)):
        if index:
            above = tops[index - 1] + height + 2
            drawn.add("path", "edge", d=f"M110 {above:.0f}V{top - 6:.0f}")
            drawn.add("path", "head", d=f"M105 {top - 7:.0f}h10l-5 8z")
        _box(drawn, 2, top + 2, 216, height, what, which, "step last" if index == len(chain) - 1 else "step")
        for place, (label, detail) in enumerate(feeds):
            low = top + 2 + place * (height + 8)
            _box(drawn, 262, low, 216, height, label, detail, "feed")
            turn = f"M262 {low + height / 2:.0f}H240V{top + 2 + height / 2:.0f}H226"
            drawn.add("path", "edge", d=turn)
        if feeds:
            drawn.add("path", "head", d=f"M227 {top + height / 2 - 3:.0f}v10l-8 -5z")
    return drawn.done()


def _box(drawn: Picture, x: float, y: float, width: float, height: float, what: str, which: str, kind: str) -> None:
    drawn.add("rect", kind, x=x, y=y, width=width, height=height, rx=6)
    drawn.add("text", "what", _fit(what), x=x + 12, y=y + (20 if which else 28))
    if which:
        drawn.add("text", "which", _fit(which), x=x + 12, y=y + 38)


def _fit(text: str) -> str:
    return text if len(text) <= 26 else f"{text[:25]}…"

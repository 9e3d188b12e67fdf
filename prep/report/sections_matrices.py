"""Section of a page about matrices: trace, spectrum, rank and condition of a few samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from prep.report.drawings import matrix, spectrum
from prep.report.parts import Cell, Facts, Figure, Heading, Section, Table
from prep.report.said import number, short, span
from prep.report.sections_fields import reach
from prep.report.sheet import Matrices, Sheet

MOST_ROWS = 12


def covariances(sheet: Sheet) -> Section | None:
    """Trace, spectrum and condition of matrices; None where no field holds any."""
    parts: list[Any] = []
    for each in sheet.measured:
        if each.matrices is not None:
            parts += [Heading(each.field.name), *_matrices(each.field.name, each.matrices)]
    return Section("covariance", "Covariance", parts) if parts else None


def _matrices(name: str, found: Matrices) -> Iterator[Any]:
    count, width = len(found.rows), found.shown[0].shape[0]
    hermitian = found.hermitian
    facts: list[tuple[str, Cell]] = [
        ("matrices", f"{width} × {width}, of {count:,} samples, evenly spaced"),
        *([(f"trace before, {short(found.units, 24)}", reach(found.original))] if len(found.original) else []),
        ("trace", reach(found.trace)),
        ("Hermitian", f"{int(hermitian.sum()):,} of {count:,}"),
    ]
    if hermitian.any():
        facts.append(("positive semidefinite", f"{int(hermitian.sum()) - found.negative:,} of {count:,}"))
        facts.append(("rank", span(found.rank[hermitian].min(), found.rank[hermitian].max())))
        condition = found.condition[np.isfinite(found.condition)]
        if len(condition):
            facts.append(
                (
                    "condition number",
                    f"{reach(condition)}, median {number(np.median(condition), 3)}, of the eigenvalues above rounding",
                )
            )
    yield Facts(facts)
    drawn = [
        matrix(each, f"modulus of {name} in sample {row}, from {number(each.min(), 3)} to {number(each.max(), 3)}")
        for row, each in zip(found.rows, found.shown, strict=False)
    ]
    if drawn := [each for each in drawn if each]:
        rows = ", ".join(f"{row:,}" for row in found.rows[: len(found.shown)])
        said = "as means of blocks: blank is the least block of each matrix, full the largest"
        yield Figure(drawn, f"Modulus of {name} in samples {rows}, {said}.")
    if curve := spectrum(found, name):
        yield Figure([curve], _spectrum_caption(name, found))
        yield _spectrum_table(name, found)
    yield _sample_table(name, found)


def _spectrum_caption(name: str, found: Matrices) -> str:
    said = (
        f"Eigenvalues of {name} in {len(found.shares):,} samples, largest first, as shares of the largest: the line is "
        f"the median of the samples, the band holds all of them. What is not above {number(found.rounding, 3)} is "
        "rounding of the stored type and ends at the foot"
    )
    negative = f", as do the negative ones that {found.negative:,} of the matrices have" if found.negative else ""
    return f"{said}{negative}."


def _spectrum_table(name: str, found: Matrices) -> Table:
    """The numbers of the picture, at no more than a dozen places."""
    band, rounding = found.band, found.rounding
    places = np.unique(np.round(np.geomspace(1, band.shape[1], MOST_ROWS)).astype(int)) - 1
    rows = [
        [
            str(place + 1),
            *(number(each, 3) if each > rounding else f"≤\xa0{number(rounding, 3)}" for each in band[:, place]),
        ]
        for place in places.tolist()
    ]
    columns = [("place", "text"), ("least", "number"), ("median", "number"), ("largest", "number")]
    return Table(f"The spectrum of {name} in numbers, as shares of the largest eigenvalue", columns, rows, folded=True)


def _sample_table(name: str, found: Matrices) -> Table:
    rows = [
        [
            f"{row:,}",
            number(found.trace[index]),
            *(number(found.eigenvalues[index][place], 3) for place in (0, -1)),
            str(found.rank[index]) if found.hermitian[index] else "–",
            number(found.condition[index], 3),
        ]
        for index, row in enumerate(found.rows[:MOST_ROWS])
    ]
    columns = [("sample", "text"), ("trace", "number"), ("largest eigenvalue", "number")]
    columns += [("least eigenvalue", "number"), ("rank", "number"), ("condition number", "number")]
    more = len(found.rows) - MOST_ROWS
    return Table(f"{name}, sample by sample", columns, rows, f"{more:,} more samples" if more > 0 else "", folded=True)

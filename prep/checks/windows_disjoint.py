"""Overlapping windows of one series lie in one split: shown by the values, for the case that ids were lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import refuse
from prep.checks.statistics import COUNT, FIELD, Statistics
from prep.checks.verdict import across_verdict
from prep.folds.duplicates import Part, RowHashes


class WindowsDisjoint:
    """The first and last ``overlap`` steps of a sample along ``dim`` never equal those of a sample of another split.

    ``overlap`` is the window less the stride. Of series cut into windows, the last steps of each window are the first
    of the next, bit for bit, whatever the ids say. An end at rest (all of its steps equal each other in every value) is
    no evidence: two series that have come to rest look alike. Series of few distinct values (coarsely quantised ones)
    may share short stretches without being one; windows normalised with statistics of their own do not match.
    """

    name = "windows_disjoint"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "dim": FIELD, "overlap": COUNT}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[RowHashes]:
        field, dim, overlap = spec[statistics["var"]], statistics["dim"], int(statistics["overlap"])
        sizes = dict(zip(field.dims[1:], field.shape, strict=True))
        if not overlap <= sizes.get(dim, 0):
            raise refuse(
                spec,
                field.name,
                self.name,
                measured=f"dims {field.dims}, sizes {field.shape}",
                allowed=f"a dimension {dim!r} of {overlap} steps or more",
            )
        arguments = {"axis": field.dims.index(dim), "overlap": overlap}
        return (RowHashes((field.name,), dict(spec.splits), self.name, ends, arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        name, dim, overlap = statistics["var"], statistics["dim"], statistics["overlap"]
        return across_verdict(
            spec,
            fold,
            measured,
            parts=2,  # a window counts for each of its ends
            limit="no window of one series in two splits",
            good=f"no {overlap} steps of {dim} that begin or end a window of {name} are in two splits",
            bad=lambda count, second, first: (
                f"{count} windows of {name} or more share {overlap} steps of {dim} with a "
                f"window of another split; first: {second} overlaps {first}"
            ),
            remedy="give each window the id of its series, split by series before cutting windows, and build again",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, dim: str, overlap: int) -> bool:
        array = ds[var].transpose("sample", dim, ...).values
        splits = memory.values(ds, "split").tolist()
        home: dict[bytes, int] = {}
        for window, split in zip(array, splits, strict=True):
            for end in (window[:overlap], window[-overlap:]):
                # Adding zero makes -0.0 and 0.0 the same bytes.
                content = (end + np.zeros((), end.dtype)).tobytes()
                if (end != end[:1]).any() and home.setdefault(content, split) != split:
                    return False
        return len(splits) > 0


def ends(arrays: Mapping[str, Array], axis: int, overlap: int) -> list[Part]:
    """The first and the last ``overlap`` steps of each row, telling where they are not at rest."""
    (values,) = arrays.values()
    steps = np.moveaxis(values, axis, 1)
    parts = []
    for end in (steps[:, :overlap], steps[:, -overlap:]):
        moving = (end != end[:, :1]).reshape(len(end), -1).any(axis=1)
        parts.append(Part(np.ascontiguousarray(end), moving))
    return parts

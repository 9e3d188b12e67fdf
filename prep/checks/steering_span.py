"""A covariance lies in the span of the steering vectors of the sources that are said to have caused it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_mask, demand_matrices, refuse
from prep.checks.pieces import by_pieces, norms, relative
from prep.checks.statistics import FIELD, GRID, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise
from prep.kernels.steering import steering

_DEPENDENT = 1e-7


class SteeringSpan:
    """‖R − PR‖ / ‖R‖ ≤ tolerance, P the projector onto the near-field steering vectors of each sample's sources.

    ``sources`` is (sample, K, 3): azimuth and elevation in rad, range in m; ``source_mask`` (sample, K) says which
    exist. ``grid`` is the number of elements along y and x, ``wavelength`` and ``spacing`` are in m
    (`prep.kernels.steering`).
    """

    name = "steering_span"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "sources": FIELD,
        "source_mask": FIELD,
        "grid": GRID,
        "wavelength": POSITIVE,
        "spacing": POSITIVE,
        "tolerance": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return statistics["var"], statistics["sources"], statistics["source_mask"]

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_matrices(spec, statistics["var"], self.name)
        sources = demand_kind(spec, statistics["sources"], self.name, "f", "float")
        demand_mask(spec, statistics["source_mask"], self.name, sources)
        if len(sources.shape) != 2 or sources.shape[1] != 3:
            raise refuse(
                spec, sources.name, self.name, measured=f"sizes {sources.shape}", allowed="dims (sample, source, 3)"
            )
        grid = [int(size) for size in statistics["grid"]]
        if grid[0] * grid[1] != field.shape[0]:
            raise refuse(
                spec,
                field.name,
                self.name,
                measured=f"grid {grid}, N = {field.shape[0]}",
                allowed="grid with N elements",
            )
        arguments = {"grid": grid, **{key: float(statistics[key]) for key in ("wavelength", "spacing")}}
        limit = float(statistics["tolerance"])
        return (Rowwise(self.name, self.fields(statistics), span_residual, limit, Scope.of(spec), arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"‖R − PR‖ / ‖R‖ ≤ {fold.limit:g}",
            good=f"lie in the span of the steering vectors of {statistics['sources']}",
            bad=f"do not come from the {statistics['sources']} that stand beside them",
            remedy="see that matrix and sources are of one sample; grid, wavelength and spacing those of the recipe",
        )

    @staticmethod
    def pandera_function(
        ds: Any,
        *,
        var: str,
        sources: str,
        source_mask: str,
        grid: list[int],
        wavelength: float,
        spacing: float,
        tolerance: float,
    ) -> Any:
        y, x = np.meshgrid(*((np.arange(size) - (size - 1) / 2) * spacing for size in grid), indexing="ij")
        ok = []
        for matrix, places, flags in zip(
            *(memory.values(ds, name) for name in (var, sources, source_mask)), strict=True
        ):
            wide, kept = matrix.astype(np.complex128), places[flags != 0].astype(np.float64)
            if not (np.isfinite(wide).all() and np.isfinite(kept).all() and (kept[:, 2] > 0).all() and len(kept)):
                ok.append(bool(np.isfinite(wide).all() and not len(kept) and not wide.any()))
                continue
            columns = [
                np.exp(
                    2j * np.pi / wavelength * (x * np.sin(p) * np.cos(t) + y * np.sin(t) - (x**2 + y**2) / 2 / r)
                ).ravel()
                for p, t, r in kept
            ]
            basis = np.stack(columns, axis=1)
            residual = wide - basis @ (np.linalg.pinv(basis, rcond=1e-7) @ wide)
            ok.append(bool(np.linalg.norm(residual) <= tolerance * np.linalg.norm(wide)))
        return memory.by_sample(np.array(ok))


def span_residual(arrays: Mapping[str, Array], grid: list[int], wavelength: float, spacing: float) -> Array:
    """‖R − PR‖ / ‖R‖ of each matrix, (rows,); 0 for a zero matrix."""
    matrices, sources, mask = arrays.values()
    return by_pieces(_residual, matrices, sources, mask, grid=grid, wavelength=wavelength, spacing=spacing)


def _residual(
    matrices: Array, sources: Array, mask: Array, *, grid: list[int], wavelength: float, spacing: float
) -> Array:
    exists = mask != 0
    placed = np.where(exists[..., np.newaxis], sources.astype(np.float64), 1.0)
    possible = np.isfinite(placed).all(axis=(1, 2)) & (placed[..., 2] > 0).all(axis=1)
    placed[~possible] = 1.0
    vectors = steering(*np.moveaxis(placed, -1, 0), grid=(grid[0], grid[1]), wavelength=wavelength, spacing=spacing)
    basis = _orthonormal(np.where(exists[..., np.newaxis], vectors, 0.0))
    # ‖R − PR‖² = ‖R‖² − ‖QᴴR‖²: exact to 1e-8 in double precision, and no second matrix of N × N is made.
    whole, inside = norms(matrices), norms(np.conj(basis) @ matrices)
    residual = relative(np.sqrt(np.maximum(whole**2 - inside**2, 0.0)), whole)
    return np.where(possible, residual, np.inf)


def _orthonormal(vectors: Array) -> Array:
    """Rows (n, K, N) made orthonormal by Gram-Schmidt, twice for accuracy; dependent and zero rows become zero."""
    basis = np.zeros_like(vectors)
    for index in range(vectors.shape[1]):
        row = vectors[:, index : index + 1]
        for _ in range(2):
            row = row - (row @ np.conj(np.swapaxes(basis, 1, 2))) @ basis
        length = norms(row)[:, np.newaxis, np.newaxis]
        basis[:, index : index + 1] = np.divide(row, length, out=np.zeros_like(row), where=length > _DEPENDENT)
    return basis

"""Trace N for Hermitian matrices: the scale of each sample leaves for a companion field, the shape stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.canonical import value_digest
from prep.errors import DataError, SchemaError, Where
from prep.folds import Scope
from prep.folds.scales import Scales
from prep.kernels.matrices import (
    asymmetry,
    hermitian,
    scale_to_trace,
    trace_normalise,
    trace_restore,
    traces,
    wide_type,
)
from prep.transforms import settle
from prep.transforms.companion import (
    companion_spec,
    fit_scale,
    from_companion,
    refuse_existing,
    refuse_nonfinite,
    to_companion,
    usable_scales,
)

__all__ = ["TraceN", "trace_normalise"]
_PIECE_VALUES = 1 << 17


class TraceN:
    """Hermitise → divide by the own trace in float64, no epsilon → times N → optional loading → trace N again.

    For fields (sample, N, N), complex or real. Options: ``loading`` λ ≥ 0 adds λI to the matrix of trace N and
    divides by 1 + λ; ``asymmetry`` is the largest ‖A − Aᴴ‖ / ‖A‖ that Hermitising may remove, so that it never hides
    a matrix that is not Hermitian.

    The companion ``<field>_log_trace`` (float64, role aux) keeps ln(trace), standardised with the train split.
    `invert` gives back the Hermitised matrix up to the rounding of the stored dtype.
    """

    name = "trace_n"
    options: Mapping[str, Any] = {"loading": 0.0, "asymmetry": 1e-3}

    def folds(self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any]) -> tuple[Scales, ...]:
        chosen = settle(self, field, options)
        if len(field.shape) != 2 or field.shape[0] != field.shape[1] or field.dtype.kind not in "fc" or field.mask:
            raise SchemaError(
                "trace_n is for square matrices of floats without a mask",
                where=Where(field=field.name),
                measured=f"dtype {field.dtype}, sizes {field.shape}, mask {field.mask or 'none'}",
                allowed="float or complex, dims (sample, N, N), no mask",
                remedy="choose another transform for this field",
            )
        for option, least in (("loading", 0.0), ("asymmetry", 1e-6)):
            value = chosen[option]
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < np.inf:
                raise SchemaError(
                    f"option {option!r} of trace_n is out of range",
                    where=Where(field=field.name),
                    measured=repr(value),
                    allowed=f"a number of at least {least:g}",
                    remedy="correct the transform's options in the schema",
                )
        refuse_existing(spec, companion_name(field), field)
        return (Scales(field, Scope.of(spec, "train"), "trace"),)

    def fit(
        self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> dict[str, Any]:
        chosen = settle(self, field, options)
        (fold,) = self.folds(spec, field, options)
        params = {
            "loading": float(chosen["loading"]),
            "asymmetry": float(chosen["asymmetry"]),
            "companion": companion_name(field),
            **fit_scale(field, measured[fold.key], "trace"),
        }
        return {**params, "operator": self.operator(params)}

    def operator(self, params: Mapping[str, Any]) -> str:
        """Identity of the map on matrices, for predictions as for targets; ``params`` or options with ``loading``."""
        content = {"name": self.name, "loading": float(params.get("loading", 0.0))}
        return f"{self.name}/{value_digest('operator', content)}"

    def outputs(self, field: FieldSpec, params: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
        main = replace(field, units="1", transform=self.name, transform_state="normalized")
        return main, companion_spec(params["companion"], field, "aux", self.name)

    def needs(self, field: FieldSpec, params: Mapping[str, Any]) -> frozenset[str]:
        return frozenset()

    def apply(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """`DataError` for a trace that is not positive and finite, a matrix that is not Hermitian, NaN or infinity.

        Sample indices in errors count from the first row given.
        """
        matrices = arrays[field.name]
        scales = usable_scales(field, "trace", traces(matrices))
        result = np.empty(matrices.shape, field.dtype)
        for start in range(0, len(matrices), self._step(field)):
            rows = slice(start, start + self._step(field))
            part = hermitian(matrices[rows])
            self._refuse_asymmetric(field, params, asymmetry(matrices[rows], part), start)
            scale_to_trace(part, scales[rows], params["loading"])
            with np.errstate(over="ignore", invalid="ignore"):
                result[rows] = part
        refuse_nonfinite(field, result, "a matrix, or what trace N makes of it,")
        return {field.name: result, params["companion"]: to_companion(scales, params)}

    def invert(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
        matrices = arrays[field.name]
        scales = from_companion(arrays[params["companion"]], params)
        result = np.empty(matrices.shape, wide_type(matrices.dtype))
        for start in range(0, len(matrices), self._step(field)):
            rows = slice(start, start + self._step(field))
            result[rows] = trace_restore(matrices[rows], scales[rows], params["loading"])
        return result

    def _step(self, field: FieldSpec) -> int:
        return max(_PIECE_VALUES // max(field.row_values, 1), 1)

    def _refuse_asymmetric(self, field: FieldSpec, params: Mapping[str, Any], measured: Array, start: int) -> None:
        bad = np.flatnonzero(measured > params["asymmetry"])
        if len(bad):
            raise DataError(
                "a matrix is not Hermitian, and Hermitising it would hide that",
                where=Where(field=field.name, samples=tuple((bad[:10] + start).tolist())),
                measured=f"‖A − Aᴴ‖ / ‖A‖ = {measured[bad].max():.3g}",
                allowed=f"at most {params['asymmetry']:g}",
                remedy="mend what made the matrix, or allow more by the option 'asymmetry' of trace_n",
            )


def companion_name(field: FieldSpec) -> str:
    """Name of the companion field."""
    return f"{field.name}_log_trace"

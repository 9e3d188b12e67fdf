"""Unit root mean square for each sample: the scale leaves for a companion field that a model may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec, expand_mask
from prep.canonical import value_digest
from prep.errors import SchemaError, Where
from prep.folds import Scope
from prep.folds.scales import Scales, sample_scales
from prep.kernels.matrices import divide_rows, wide_type
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

_PIECE_VALUES = 1 << 17


class UnitRms:
    """Divides each sample by its own RMS, √ of the mean of |x|² over what the mask counts, in float64.

    Option ``companion`` names the field that keeps ln(RMS), standardised with the train split (float64, role input;
    default ``<field>_log_rms``). Masked-out entries become exactly 0, and 0 again on the way back.
    """

    name = "unit_rms"
    options: Mapping[str, Any] = {"companion": ""}

    def folds(self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any]) -> tuple[Scales, ...]:
        chosen = settle(self, field, options)
        if field.dtype.kind not in "fc":
            raise SchemaError(
                "unit_rms is for floats",
                where=Where(field=field.name),
                measured=f"dtype {field.dtype}",
                allowed="float or complex",
                remedy="store the field as floats, or choose another transform",
            )
        refuse_existing(spec, chosen["companion"] or f"{field.name}_log_rms", field)
        return (Scales(field, Scope.of(spec, "train"), "rms", spec[field.mask] if field.mask else None),)

    def fit(
        self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> dict[str, Any]:
        chosen = settle(self, field, options)
        (fold,) = self.folds(spec, field, options)
        params = {
            "companion": chosen["companion"] or f"{field.name}_log_rms",
            "mask": {"name": field.mask, "dims": list(spec[field.mask].dims)} if field.mask else None,
            **fit_scale(field, measured[fold.key], "RMS"),
        }
        return {**params, "operator": self.operator(params)}

    def operator(self, params: Mapping[str, Any]) -> str:
        """Identity of the map on samples; it depends on the mask alone."""
        mask = (params.get("mask") or {}).get("name", "")
        return f"{self.name}/{value_digest('operator', {'name': self.name, 'mask': mask})}"

    def outputs(self, field: FieldSpec, params: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
        main = replace(field, units="1", transform=self.name, transform_state="normalized")
        return main, companion_spec(params["companion"], field, "input", self.name)

    def needs(self, field: FieldSpec, params: Mapping[str, Any]) -> frozenset[str]:
        return frozenset({params["mask"]["name"]} if params["mask"] else ())

    def apply(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """`DataError` for an RMS that is not positive and finite; sample indices count from the first row given."""
        values = arrays[field.name]
        mask, mask_spec = _mask(params, arrays)
        scales = usable_scales(field, "RMS", sample_scales("rms", values, field, mask, mask_spec))
        result = np.empty(values.shape, field.dtype)
        for rows, padding in self._pieces(field, mask, mask_spec, len(values)):
            work = values[rows].astype(wide_type(values.dtype), order="C")
            if padding is not None:
                work[padding] = 0
            with np.errstate(over="ignore", invalid="ignore"):
                divide_rows(work, scales[rows])
                result[rows] = work
        refuse_nonfinite(field, result, "a sample of unit RMS")
        return {field.name: result, params["companion"]: to_companion(scales, params)}

    def invert(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
        values = arrays[field.name]
        mask, mask_spec = _mask(params, arrays)
        scales = from_companion(arrays[params["companion"]], params)
        result = np.empty(values.shape, wide_type(values.dtype))
        for rows, padding in self._pieces(field, mask, mask_spec, len(values)):
            np.multiply(values[rows], _beside(scales[rows], values), out=result[rows])
            if padding is not None:
                result[rows][padding] = 0
        return result

    def _pieces(self, field: FieldSpec, mask: Array | None, mask_spec: FieldSpec | None, count: int) -> Any:
        step = max(_PIECE_VALUES // max(field.row_values, 1), 1)
        for start in range(0, count, step):
            rows = slice(start, start + step)
            padding = None
            if mask is not None and mask_spec is not None:
                padding = ~expand_mask(mask[rows], mask_spec, field)
            yield rows, padding


def _mask(params: Mapping[str, Any], arrays: Mapping[str, Array]) -> tuple[Array | None, FieldSpec | None]:
    if not params["mask"]:
        return None, None
    name = params["mask"]["name"]
    mask = arrays[name]
    return mask, FieldSpec(name, mask.dtype, tuple(params["mask"]["dims"]), mask.shape[1:], "mask")


def _beside(scales: Array, values: Array) -> Array:
    return scales.reshape(-1, *([1] * (values.ndim - 1)))

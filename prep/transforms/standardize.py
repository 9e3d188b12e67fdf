"""Zero mean and unit variance per feature, per group where the schema says so, over what the mask counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import Array, Block, DatasetSpec, FieldSpec, expand_mask
from prep.canonical import value_digest
from prep.errors import DataError, SchemaError, Where
from prep.folds import Scope
from prep.folds.layout import Layout, group_ids
from prep.folds.moments import Moments, MomentsResult
from prep.kernels.compiled import lanes_for
from prep.kernels.slots import LANES
from prep.transforms import settle
from prep.transforms.companion import refuse_nonfinite

POLICIES = ("error", "unit", "center")
_PIECE_VALUES = 1 << 17


class Standardize:
    """(x − mean) / std with the train split's population moments, in float64; integers become floats.

    Options: ``group`` names an integer id field, one set of parameters for each id. ``constant`` says what happens to
    a feature that has one single value in the train split (of its group):

    - ``error`` (default): `DataError` that names it;
    - ``unit``: centred and divided by 1, so that it is 0 where it keeps that value and deviates in its own units
      elsewhere;
    - ``center``: it becomes 0, and a sample in any split with another value is a `DataError`, since nothing says how to
      scale it.

    Masked-out entries become exactly 0, and 0 again on the way back. A feature that the mask leaves out in a whole
    group gets mean 0 and std 1. Complex fields are refused: their phase would be lost on a mean.
    """

    name = "standardize"
    options: Mapping[str, Any] = {"group": "", "constant": "error"}

    def folds(self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any]) -> tuple[Moments, ...]:
        chosen = settle(self, field, options)
        if field.dtype.kind == "c":
            raise SchemaError(
                "a complex field cannot be standardised",
                where=Where(field=field.name),
                measured=f"dtype {field.dtype}",
                allowed="real dtypes",
                remedy="use unit_rms or trace_n, or store real and imaginary part as a dimension",
            )
        if chosen["constant"] not in POLICIES:
            raise SchemaError(
                "unknown policy for constant features",
                where=Where(field=field.name),
                measured=repr(chosen["constant"]),
                allowed=", ".join(POLICIES),
                remedy="choose one of the listed policies",
            )
        group = chosen["group"]
        if group and (spec[group].dtype.kind not in "biu" or spec[group].shape):
            raise SchemaError(
                "parameters per group need one integer id for each sample",
                where=Where(field=group),
                measured=f"dtype {spec[group].dtype}, dims {spec[group].dims}",
                allowed="integer, dims ('sample',)",
                remedy="name an id field as the group",
            )
        mask = spec[field.mask] if field.mask else None
        return (Moments(field, Scope.of(spec, "train"), mask, group),)

    def fit(
        self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> dict[str, Any]:
        chosen = settle(self, field, options)
        (fold,) = self.folds(spec, field, options)
        moments: MomentsResult = measured[fold.key]
        _refuse_unmeasurable(field, moments)
        seen = moments.count > 0
        constant = moments.constant & seen
        if chosen["constant"] == "error" and constant.any():
            raise _constant(field, moments, constant, chosen["group"])
        mean = np.where(seen, moments.mean, 0.0)
        std = np.where(constant | ~seen, 1.0, moments.std)
        bad = np.argwhere(~(np.isfinite(mean) & np.isfinite(std) & (std > 0)))
        if len(bad):
            place = tuple(bad[0].tolist())
            raise DataError(
                f"mean or std of {_place(field, moments.groups, chosen['group'], place)} cannot be used",
                where=Where(field=field.name, split="train"),
                measured=f"mean {mean[place]:g}, std {std[place]:g}",
                allowed="finite mean, finite std > 0",
                remedy="bring the feature into the range of float64 squares (change its units) before normalising",
            )
        mask = {"name": field.mask, "dims": list(spec[field.mask].dims)} if field.mask else None
        params: dict[str, Any] = {
            "group": chosen["group"],
            "groups": list(moments.groups),
            "features": list(field.features),
            "mask": mask,
            "policy": chosen["constant"],
            "mean": mean.tolist(),
            "std": std.tolist(),
            "constant": constant.tolist(),
        }
        return {**params, "operator": self.operator(params)}

    def operator(self, params: Mapping[str, Any]) -> str:
        """Identity of the map by its fixed options, not by what was fitted."""
        content = {"name": self.name, "group": params["group"], "policy": params["policy"]}
        return f"{self.name}/{value_digest('operator', content)}"

    def outputs(self, field: FieldSpec, params: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
        dtype = field.dtype if field.dtype.kind == "f" else np.dtype("f4" if field.dtype.itemsize <= 2 else "f8")
        return (replace(field, dtype=dtype, units="1", transform=self.name, transform_state="normalized"),)

    def needs(self, field: FieldSpec, params: Mapping[str, Any]) -> frozenset[str]:
        mask = params["mask"]["name"] if params["mask"] else ""
        return frozenset({mask, params["group"]} - {""})

    def apply(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """`DataError` for a group without parameters, a counted NaN or infinity, or a result beyond the dtype.

        Sample indices in errors count from the first row given.
        """
        values = arrays[field.name]
        result = np.empty(values.shape, self.outputs(field, params)[0].dtype)
        if self._compiled(field, params, arrays, result):
            refuse_nonfinite(field, result, "a value, or what standardising makes of it,")
            return {field.name: result}
        for rows, mean, std, constant, padding in self._pieces(field, params, arrays):
            work = values[rows].astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                work -= mean
                if params["policy"] == "center":
                    _refuse_deviation(field, work, constant, padding, rows.start)
                work /= std
                if padding is not None:
                    np.copyto(work, 0.0, where=padding)
                result[rows] = work
        refuse_nonfinite(field, result, "a value, or what standardising makes of it,")
        return {field.name: result}

    def _compiled(
        self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array], result: Array
    ) -> bool:
        """Fill ``result`` with the compiled loop, to the same bits; False where it cannot."""
        values, layout = arrays[field.name], Layout(replace(field, features=tuple(params["features"])))
        loops = lanes_for(values.nbytes)
        plain = layout.trailing and params["policy"] != "center" and values.flags.c_contiguous
        if loops is None or not plain or not {values.dtype, result.dtype} <= {np.dtype("f4"), np.dtype("f8")}:
            return False
        index = _group_index(field, params, arrays, len(values))
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(index)) + 1, [len(index)]])
        beside = max(LANES // layout.width, 1)
        mean, std = (np.tile(np.asarray(params[key]).reshape(-1, layout.width), beside) for key in ("mean", "std"))
        places = bounds * layout.row_values
        loops.standardise(
            values.reshape(-1), places[:-1], places[1:], index[bounds[:-1]], mean, std, result.reshape(-1)
        )
        if params["mask"]:
            step = max(_PIECE_VALUES // max(field.row_values, 1), 1)
            for start in range(0, len(values), step):
                rows = slice(start, start + step)
                np.copyto(result[rows], 0.0, where=_padding(field, params, arrays, rows))
        return True

    def invert(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
        values = arrays[field.name]
        result = np.empty(values.shape, np.float64)
        for rows, mean, std, _, padding in self._pieces(field, params, arrays):
            work = result[rows]
            np.multiply(values[rows], std, out=work)
            work += mean
            if padding is not None:
                np.copyto(work, 0.0, where=padding)
        return result

    def _pieces(
        self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Iterator[tuple[slice, Array, Array, Array, Array | None]]:
        """Rows with the parameters that broadcast against them, and where padding is."""
        values = arrays[field.name]
        groups = max(len(params["groups"]), 1)
        line = [n if name in params["features"] else 1 for name, n in zip(field.dims[1:], field.shape, strict=True)]
        tables = [np.asarray(params[key]).reshape(groups, *line) for key in ("mean", "std", "constant")]
        index = _group_index(field, params, arrays, len(values))
        step = max(_PIECE_VALUES // max(field.row_values, 1), 1)
        for start in range(0, len(values), step):
            rows = slice(start, min(start + step, len(values)))
            own = index[rows]
            same = slice(own[0], own[0] + 1) if (own == own[0]).all() else own
            mean, std, constant = (table[same] for table in tables)
            yield rows, mean, std, constant, _padding(field, params, arrays, rows)


def _padding(field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array], rows: slice) -> Array | None:
    if not params["mask"]:
        return None
    mask = arrays[params["mask"]["name"]][rows]
    dims = tuple(params["mask"]["dims"])
    spec = FieldSpec(params["mask"]["name"], mask.dtype, dims, mask.shape[1:], "mask")
    return ~expand_mask(mask, spec, field)


def _group_index(field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array], rows: int) -> Array:
    """Row of the parameter tables for each sample."""
    if not params["group"]:
        return np.zeros(rows, np.int64)
    ids = group_ids(Block(0, rows, {params["group"]: arrays[params["group"]].view()}), params["group"])
    known = np.asarray(params["groups"], np.int64)
    index = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    strange = np.flatnonzero(known[index] != ids)
    if len(strange):
        raise DataError(
            f"{params['group']} {int(ids[strange[0]])} has no parameters: the train split does not contain it",
            where=Where(field=field.name, samples=tuple(strange[:10].tolist())),
            measured=f"{params['group']} {', '.join(str(value) for value in np.unique(ids[strange])[:5].tolist())}",
            allowed=f"the {len(known)} groups of the train split",
            remedy="put samples of every group into the train split, or drop this group",
        )
    return index


def _refuse_unmeasurable(field: FieldSpec, moments: MomentsResult) -> None:
    if not moments.count.any():
        raise DataError(
            "the train split has no value to fit on",
            where=Where(field=field.name, split="train"),
            measured="0 values that the mask counts",
            allowed="at least 1",
            remedy="generate or ingest a train split that is not empty, and see what the mask says",
        )
    if moments.nan.any() or moments.inf.any():
        raise DataError(
            "NaN or infinity in the train split",
            where=Where(field=field.name, split="train", samples=moments.nonfinite_samples),
            measured=f"{int(moments.nan.sum())} NaN, {int(moments.inf.sum())} infinite",
            allowed="finite values",
            remedy="drop these samples or mend what made them; they cannot be averaged",
        )


def _refuse_deviation(field: FieldSpec, centred: Array, constant: Array, padding: Array | None, start: int) -> None:
    moved = (centred != 0) & constant
    if padding is not None:
        moved &= ~padding
    if moved.any():
        place = np.argwhere(moved)[0].tolist()
        rows = np.flatnonzero(moved.reshape(len(moved), -1).any(axis=1)) + start
        raise DataError(
            "a feature that is constant in the train split takes another value",
            where=Where(field=field.name, samples=tuple(rows[:10].tolist())),
            measured=f"{centred[tuple(place)]!r} away from the constant, at index {tuple(place[1:])}",
            allowed="the constant (policy 'center')",
            remedy="let the train split vary in this feature, or choose the policy 'unit'",
        )


def _constant(field: FieldSpec, moments: MomentsResult, constant: Array, group: str) -> DataError:
    place = tuple(np.argwhere(constant)[0].tolist())
    return DataError(
        f"{_place(field, moments.groups, group, place)} is constant",
        where=Where(field=field.name, split="train"),
        measured=f"{int(moments.count[place])} values, all {moments.min[place].item()!r}; "
        f"{int(constant.sum())} of {constant.size} features are constant",
        allowed="more than one value",
        remedy="drop the feature, mask it, or say constant: unit (or center) in the field's transform",
    )


def _place(field: FieldSpec, groups: tuple[int, ...], group: str, place: tuple[int, ...]) -> str:
    feature = f"feature {', '.join(str(index) for index in place[1:])}" if field.features else "the field"
    return f"{feature} of {group} {groups[place[0]]}" if groups else feature

"""The fitted transforms as torch modules: what a program does to raw values that has no prep beside it.

The same arithmetic as `prep.transforms`, in float64, rounded to the stored dtype where the dataset is. A group that was
not trained on has no parameters: it gives NaN, since a program cannot refuse.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prep.errors import UsageError, Where
from prep.registry import Table
from prep.transforms.pipeline import BoundTransform

MODULES = Table(
    "exportable transforms",
    {
        "identity": "prep.training.export_transforms:IdentityModule",
        "standardize": "prep.training.export_transforms:StandardizeModule",
        "trace_n": "prep.training.export_transforms:TraceNModule",
        "unit_rms": "prep.training.export_transforms:UnitRmsModule",
    },
)
_DTYPES = {"f4": torch.float32, "f8": torch.float64, "c8": torch.complex64, "c16": torch.complex128}


def module_of(bound: BoundTransform) -> TransformModule:
    """The torch module of a fitted transform; `UsageError` for a family that has none."""
    if bound.name not in MODULES:
        raise UsageError(
            "this transform cannot be exported",
            where=Where(field=bound.field.name),
            measured=bound.name,
            allowed=", ".join(MODULES.names()),
            remedy="use `prep predict`, which applies every transform",
        )
    made: TransformModule = MODULES.load(bound.name)(bound)
    return made


class TransformModule(nn.Module, abc.ABC):
    """One fitted transform: `apply_to` raw rows, `invert` normalised ones; fields by name as in `BoundTransform`."""

    def __init__(self, bound: BoundTransform) -> None:
        super().__init__()
        self.field, self.params = bound.field, bound.params
        self.dtype = _DTYPES.get(bound.outputs()[0].dtype.str[1:])

    @abc.abstractmethod
    def apply_to(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalised tensors by name."""

    @abc.abstractmethod
    def invert(self, values: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        """Values in original units, float64 or complex128."""

    def stored(self, values: Tensor) -> Tensor:
        """As the dataset stores it."""
        return values if self.dtype is None else values.to(self.dtype)

    def counted(self, fields: Mapping[str, Tensor]) -> Tensor | None:
        """Where the mask counts, broadcast to the field; None without a mask."""
        mask = self.params.get("mask")
        if not mask:
            return None
        own = zip(self.field.dims[1:], self.field.shape, strict=True)
        line = [size if name in mask["dims"] else 1 for name, size in own]
        return fields[mask["name"]].reshape(-1, *line) != 0


class IdentityModule(TransformModule):
    """Values as they are."""

    def apply_to(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {self.field.name: fields[self.field.name]}

    def invert(self, values: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        return values


class StandardizeModule(TransformModule):
    """(x - mean) / std, of the row's group, 0 where the mask does not count."""

    mean: Tensor
    std: Tensor
    groups: Tensor

    def __init__(self, bound: BoundTransform) -> None:
        super().__init__(bound)
        params, field = bound.params, bound.field
        count = max(len(params["groups"]), 1)
        own = zip(field.dims[1:], field.shape, strict=True)
        line = [size if name in params["features"] else 1 for name, size in own]
        for name in ("mean", "std"):
            table = np.asarray(params[name], np.float64).reshape(count, *line)
            self.register_buffer(name, torch.from_numpy(table.copy()))
        self.register_buffer("groups", torch.tensor(params["groups"] or [0], dtype=torch.int64))

    def _tables(self, fields: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if not self.params["group"]:
            return self.mean, self.std
        ids = fields[self.params["group"]].to(torch.int64)
        place = torch.searchsorted(self.groups, ids).clamp_max(len(self.groups) - 1)
        known = (self.groups[place] == ids).reshape(-1, *[1] * (self.mean.ndim - 1))
        return torch.where(known, self.mean[place], math.nan), self.std[place]

    def apply_to(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mean, std = self._tables(fields)
        result = (fields[self.field.name].to(torch.float64) - mean) / std
        return {self.field.name: self.stored(self._masked(result, fields))}

    def invert(self, values: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        mean, std = self._tables(fields)
        return self._masked(values.to(torch.float64) * std + mean, fields)

    def _masked(self, values: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        counted = self.counted(fields)
        return values if counted is None else torch.where(counted, values, 0.0)


class UnitRmsModule(TransformModule):
    """Divided by its own root mean square, whose standardised logarithm is the companion."""

    def apply_to(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = _wide(fields[self.field.name])
        counted = self.counted(fields)
        parts = (torch.view_as_real(values) if values.is_complex() else values).flatten(1)
        number: Tensor | float = float(np.prod(self.field.shape))
        if counted is not None:
            values = torch.where(counted, values, 0.0)
            parts = (torch.view_as_real(values) if values.is_complex() else values).flatten(1)
            number = counted.expand(values.shape).flatten(1).sum(1)
        scale = (parts.square().sum(1) / number).sqrt()
        shaped = values / scale.reshape(-1, *[1] * (values.ndim - 1))
        companion = (scale.log() - self.params["mean"]) / self.params["std"]
        return {self.field.name: self.stored(shaped), self.params["companion"]: companion}

    def invert(self, values: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        scale = (fields[self.params["companion"]].double() * self.params["std"] + self.params["mean"]).exp()
        result = _wide(values) * scale.reshape(-1, *[1] * (values.ndim - 1))
        counted = self.counted(fields)
        return result if counted is None else torch.where(counted, result, 0.0)


class TraceNModule(TransformModule):
    """Hermitised, divided by its own trace, times N; loaded where the transform says so."""

    def apply_to(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = _wide(fields[self.field.name])
        values = 0.5 * (values + values.mH)
        size, loading = self.field.shape[0], self.params["loading"]
        diagonal = values.diagonal(dim1=1, dim2=2)
        trace = (diagonal.real if values.is_complex() else diagonal).sum(1)
        eye = torch.eye(size, dtype=torch.float64, device=values.device)
        shaped = (values * (size / trace)[:, None, None] + loading * eye) / (1.0 + loading)
        companion = (trace.log() - self.params["mean"]) / self.params["std"]
        return {self.field.name: self.stored(shaped), self.params["companion"]: companion}

    def invert(self, values: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        size, loading = self.field.shape[0], self.params["loading"]
        trace = (fields[self.params["companion"]].double() * self.params["std"] + self.params["mean"]).exp()
        eye = torch.eye(size, dtype=torch.float64, device=values.device)
        result: Tensor = (_wide(values) * (1.0 + loading) - loading * eye) * (trace / size)[:, None, None]
        return result


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)

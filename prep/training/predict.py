"""From raw values in original units to predictions in original units, with nothing but a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from prep.blocks import Array, FieldSpec, expand_mask
from prep.errors import DataError, UsageError, Where
from prep.loaders.torch import TorchPlacement
from prep.training.remembered import Trained
from prep.transforms.pipeline import BoundTransform

BATCH = 256
NORMALIZED = "_normalized"


class Predictor:
    """A trained model asked in original units.

    ``needed`` are the raw fields that an input must have; ``scales`` those of which a prediction takes back the scale
    that was removed from each sample and that no model predicts: where an input has them, predictions are in original
    units, elsewhere they stay normalised and are named ``<field>_normalized``.
    """

    def __init__(self, trained: Trained, device: str = "cpu") -> None:
        self.trained, self.system = trained, trained.system
        self.device = TorchPlacement(device).device
        self.network = trained.network.to(self.device)
        self._transforms = trained.data.transforms
        self._origin = {out.name: name for name, bound in self._transforms.items() for out in bound.outputs()}
        wanted = dict.fromkeys(self._raw(name) for name in self.system.reads)
        for name in self.system.predicted:
            bound = self._transforms.get(name)
            if bound is not None:
                wanted |= dict.fromkeys(sorted(bound.transform.needs(bound.field, bound.params)))
        for name in tuple(wanted):
            if name in self._transforms:
                bound = self._transforms[name]
                wanted |= dict.fromkeys(sorted(bound.transform.needs(bound.field, bound.params)))
        self.needed = tuple(self._spec(name) for name in wanted)
        self.scales = tuple(
            self._spec(name)
            for name in self.system.predicted
            if name in self._transforms and len(self._transforms[name].outputs()) > 1 and name not in wanted
        )

    def outputs(self, given: frozenset[str]) -> tuple[FieldSpec, ...]:
        """The predicted fields from an input that has the fields ``given``: dtype, shape and units of each."""
        return tuple(self._output(name, name in self._in_original_units(given)) for name in self.system.predicted)

    def __call__(self, arrays: Mapping[str, Array], first: int = 0) -> dict[str, Array]:
        """Predictions (rows, *shape) by name for raw rows by name, in the order given.

        Raises `UsageError` for missing fields and wrong shapes, `DataError` for values that are not finite and groups
        that were not trained on; ``first`` is the number of the first row, for messages.
        """
        self.demand(frozenset(arrays))
        checked = {
            spec.name: self._checked(spec, arrays, first)
            for spec in (*self.needed, *self.scales)
            if spec.name in arrays
        }
        rows = len(next(iter(checked.values())))
        parts = [
            self._batch({name: values[start : start + BATCH] for name, values in checked.items()}, first + start)
            for start in range(0, rows, BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}

    @staticmethod
    def torch_type(spec: FieldSpec) -> torch.dtype:
        """The dtype of a field as torch has it."""
        return torch.from_numpy(np.zeros(0, spec.dtype)).dtype

    def demand(self, given: frozenset[str]) -> None:
        """`UsageError` unless an input with the fields ``given`` has all that is needed."""
        missing = [spec.name for spec in self.needed if spec.name not in given]
        if missing:
            raise UsageError(
                "the input lacks fields that the model reads",
                where=Where(path=str(self.trained.path), field=missing[0]),
                measured=f"missing {', '.join(missing)}; there are {', '.join(sorted(given)) or 'none'}",
                allowed=", ".join(f"{spec.name} {_shape(spec)}" for spec in self.needed),
                remedy="add them by these names, in original units; --mapping says where an array lies under another",
            )

    def _batch(self, raw: Mapping[str, Array], first: int) -> dict[str, Array]:
        normalised = self.normalised(raw, first)
        batch = {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in normalised.items()}
        with torch.no_grad():
            found = self.system.joined(list(self._pieces({name: each.to(self.device) for name, each in batch.items()})))
        original = self._in_original_units(frozenset(raw))
        result = {}
        for name, values in found.items():
            spec = self._output(name, name in original)
            result[spec.name] = self._typed(
                self._inverted(name, values, normalised) if name in original else values, spec
            )
        return result

    def normalised(self, raw: Mapping[str, Array], first: int = 0) -> dict[str, Array]:
        """What the dataset would hold of these rows: stored dtypes, companions too."""
        result: dict[str, Array] = {}
        for name, values in raw.items():
            bound = self._transforms.get(name)
            if bound is None:
                result[name] = values
                continue
            try:
                result |= bound.apply(raw)
            except DataError as error:
                where = replace(error.where, samples=tuple(first + each for each in error.where.samples))
                raise DataError(
                    error.what, where=where, measured=error.measured, allowed=error.allowed, remedy=error.remedy
                ) from error
        return result

    def _pieces(self, batch: Mapping[str, torch.Tensor]) -> Iterator[Mapping[str, Array]]:
        for piece in self.system.cut(batch):
            yield self.system.predictions(self.network(piece), piece)

    def _inverted(self, name: str, values: Array, normalised: Mapping[str, Array]) -> Array:
        bound = self._transforms.get(name)
        if bound is None:
            return values
        return bound.invert(values, **{each: normalised[each] for each in bound.reads})

    def _in_original_units(self, given: frozenset[str]) -> frozenset[str]:
        without = {spec.name for spec in self.scales if spec.name not in given}
        return frozenset(self.system.predicted) - without

    def _output(self, name: str, original: bool) -> FieldSpec:
        spec = self._spec(name)
        kept = spec.dtype if spec.dtype.kind in "iub" else np.dtype("c16" if spec.dtype.kind == "c" else "f8")
        plain = replace(spec, role="aux", dtype=kept, mask="", features=(), long_name=f"predicted {spec.name}")
        return plain if original else replace(plain, name=name + NORMALIZED, units="1")

    def _typed(self, values: Array, spec: FieldSpec) -> Array:
        return (np.rint(values.real) if spec.dtype.kind in "iub" else values).astype(spec.dtype)

    def _raw(self, name: str) -> str:
        return self._origin.get(name, name)

    def _spec(self, name: str) -> FieldSpec:
        bound: BoundTransform | None = self._transforms.get(name)
        return bound.field if bound is not None else self.trained.data.spec[name]

    def _checked(self, spec: FieldSpec, arrays: Mapping[str, Array], first: int) -> Array:
        """``arrays[spec.name]`` in the dtype that the raw dataset had."""
        values = np.asarray(arrays[spec.name])
        where = Where(path=str(self.trained.path), field=spec.name)
        if values.shape[1:] != spec.shape or values.ndim == 0:
            raise UsageError(
                "a field of the input has another shape than the model was trained on",
                where=where,
                measured=f"{values.shape}",
                allowed=_shape(spec),
                remedy="give one row for each sample, each of that shape",
            )
        if values.dtype.kind not in "biufc" or (values.dtype.kind == "c" and spec.dtype.kind != "c"):
            raise UsageError(
                "a field of the input has numbers of another kind than the model was trained on",
                where=where,
                measured=f"dtype {values.dtype}",
                allowed=f"{spec.dtype}, or what converts to it without losing a part",
                remedy="save the field as real numbers of that type",
            )
        self._demand_finite(spec, values, arrays, first)
        with np.errstate(over="ignore", invalid="ignore"):
            result = values.astype(spec.dtype)
        if spec.dtype.kind in "iub" and not (result == values).all():
            bad = np.flatnonzero((result != values).reshape(len(values), -1).any(1))
            raise DataError(
                f"{spec.name} holds numbers that are no {spec.dtype}",
                where=replace(where, samples=tuple((first + bad[:10]).tolist())),
                measured=f"{values[bad[0]]!r}",
                allowed=f"whole numbers that {spec.dtype} holds",
                remedy="give ids, masks and classes as the whole numbers they are",
            )
        self._demand_groups(spec, result, first)
        return result

    def _demand_finite(self, spec: FieldSpec, values: Array, arrays: Mapping[str, Array], first: int) -> None:
        wrong = ~np.isfinite(values)
        if spec.mask and wrong.any() and spec.mask in arrays:
            wrong &= expand_mask(np.asarray(arrays[spec.mask]), self._spec(spec.mask), spec)
        bad = np.flatnonzero(wrong.reshape(len(values), -1).any(1))
        if len(bad):
            raise DataError(
                f"{spec.name} is not finite",
                where=Where(field=spec.name, samples=tuple((first + bad[:10]).tolist())),
                measured=f"{int(wrong.sum())} values in {len(bad)} rows are NaN or infinite",
                allowed="finite values",
                remedy="drop these rows or mend what made them; a model says nothing about them",
            )

    def _demand_groups(self, spec: FieldSpec, ids: Array, first: int) -> None:
        for bound in self._transforms.values():
            if bound.params.get("group") != spec.name:
                continue
            bad = np.flatnonzero(~np.isin(ids, bound.params["groups"]))
            if len(bad):
                raise DataError(
                    f"the model was not trained on this {spec.name}, so nothing says how its values are scaled",
                    where=Where(field=spec.name, samples=tuple((first + bad[:10]).tolist())),
                    measured=f"{spec.name} {', '.join(map(str, np.unique(ids[bad])[:5].tolist()))}",
                    allowed=f"{', '.join(map(str, bound.params['groups'][:40]))}",
                    remedy="leave these rows out, or train on data that have them",
                )


def _shape(spec: FieldSpec) -> str:
    return f"({', '.join(['rows', *map(str, spec.shape)])})"

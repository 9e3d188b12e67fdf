"""A multilayer perceptron on flattened fields, and the squared errors of its predictions in both units."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from prep.blocks import Array, FieldSpec
from prep.errors import SchemaError, Where
from prep.gate import CertifiedDataset
from prep.training.metrics import R2, gaussian_nll, mean, squared_error
from prep.training.systems.system import Batch, Outputs, System, numpy, score_of_zero

_PARTS = ("error", "count")
_LISTED = 16  # values of a target that metrics are listed for one by one


class Perceptron(nn.Module):
    """Every input field, flattened and side by side (batch, features), through hidden layers of ``widths`` to every
    target field.
    """

    def __init__(self, inputs: Sequence[FieldSpec], targets: Sequence[FieldSpec], widths: Sequence[int]) -> None:
        super().__init__()
        self.inputs = tuple(spec.name for spec in inputs)
        self.targets = {spec.name: spec.shape for spec in targets}
        sizes = [sum(map(_size, inputs)), *widths]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], sum(_size(spec) for spec in targets))
        # The first prediction is near zero, so the first loss is the certified baseline.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """float32 predictions (batch, *shape) by target field."""
        parts = [batch[name].flatten(1) if batch[name].ndim > 1 else batch[name][:, None] for name in self.inputs]
        features = torch.cat([part.to(self.head.weight.dtype) for part in parts], 1)
        flat = self.head(self.body(features))
        sizes = [int(np.prod(shape)) for shape in self.targets.values()]
        pieces = flat.split(sizes, 1)
        return {
            name: piece.reshape(-1, *shape) for (name, shape), piece in zip(self.targets.items(), pieces, strict=True)
        }


class PerceptronSystem(System):
    """Mean squared error over the values of all targets that their masks count; subclasses say which fields and how
    wide.
    """

    metric = "mse"
    widths: tuple[int, ...]
    inputs: tuple[FieldSpec, ...]
    targets: tuple[FieldSpec, ...]

    def __init__(self, data: CertifiedDataset, inputs: Sequence[FieldSpec], targets: Sequence[FieldSpec]) -> None:
        super().__init__(data)
        self.inputs, self.targets = tuple(inputs), tuple(targets)
        for role, specs in (("input", self.inputs), ("target", self.targets)):
            if not specs:
                raise self._unfit(f"it has no {role} field", f"no {role}", f"one or more {role} fields")
            for spec in specs:
                if spec.dtype.kind != "f" and (role == "target" or spec.dtype.kind not in "iub"):
                    raise self._unfit(
                        f"{role} {spec.name} is not real", str(spec.dtype), "floating point", field=spec.name
                    )

    @property
    def fields(self) -> tuple[str, ...]:
        """Inputs and targets with their masks, and what the inverse of each target reads."""
        names = [name for spec in (*self.inputs, *self.targets) for name in (spec.name, spec.mask) if name]
        return tuple(dict.fromkeys([*names, *(name for spec in self.targets for name in self._reads(spec))]))

    @property
    def baseline(self) -> float:
        """The mean square of the certified targets, weighed by their values."""
        names = [spec.name for spec in self.targets]
        weights = [_size(spec) for spec in self.targets]
        return float(np.average([self.certified_baseline(name) for name in names], weights=weights))

    def model(self) -> nn.Module:
        """A `Perceptron` of this system's widths; masked inputs carry their mask along."""
        return Perceptron([self.data.spec[name] for name in self.reads], self.targets, self.widths)

    @property
    def reads(self) -> tuple[str, ...]:
        """Inputs, each followed by its mask."""
        return tuple(dict.fromkeys(name for spec in self.inputs for name in (spec.name, spec.mask) if name))

    def augment(self, batch: Batch) -> Batch:
        """The batch itself."""
        return batch

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Mean squared error over all counted values."""
        total = count = torch.zeros((), device=next(iter(outputs.values())).device)
        for spec in self.targets:
            predicted = outputs[spec.name]
            mask = self._mask(spec, batch, predicted)
            total = total + (mask * (predicted - batch[spec.name].to(predicted.dtype)).square()).sum()
            count = count + mask.sum()
        return total / count

    def perfect(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """The targets, and their masks."""
        targets = {spec.name: batch[spec.name].float() for spec in self.targets}
        return targets, {spec.name: self._mask(spec, batch, targets[spec.name]) for spec in self.targets}

    @property
    def predicted(self) -> tuple[str, ...]:
        """The targets."""
        return tuple(spec.name for spec in self.targets)

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, Array]:
        """Every target, 0 where its mask says that there is nothing."""
        return {
            spec.name: numpy(outputs[spec.name]) * numpy(self._mask(spec, batch, outputs[spec.name]))
            for spec in self.targets
        }

    def groups(self, batch: Batch) -> tuple[str, Array] | None:
        """The groups that the first target is normalised by, where it is by groups."""
        name = self.data.transforms[self.targets[0].name].params.get("group", "")
        return (name, batch[name].cpu().numpy()) if name else None

    def sums(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        """Per target field and value: counts, squared errors, and what R² in original units needs."""
        result: dict[str, Array] = {}
        for spec in self.targets:
            predicted, true = numpy(outputs[spec.name]), numpy(batch[spec.name])
            mask = numpy(self._mask(spec, batch, outputs[spec.name]))
            extra = {name: batch[name].cpu().numpy() for name in self._reads(spec)}
            invert = self.data.transforms[spec.name].invert
            there, original = invert(predicted, **extra), invert(true, **extra)
            # Sums of squares about a fixed offset, since offsets may be far larger than spreads.
            offset = self._offset(spec)
            terms = {"error": squared_error(predicted, true, mask), **R2.terms(there, original, mask, offset)}
            for name, values in terms.items():
                result[f"{spec.name}/{name}"] = values.sum(0)
        return result

    def metrics(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """mse over all values and nll, ½ (mse + ln 2π), that of unit normal errors; for each target its R² and root
        mean squared error in original units.
        """
        totals = {part: sum(float(sums[f"{spec.name}/{part}"].sum()) for spec in self.targets) for part in _PARTS}
        mse = float(mean(totals["error"], totals["count"]))
        result = {"mse": mse, "nll": gaussian_nll(mse)}
        for spec in self.targets:
            found = R2(**{part: np.atleast_1d(sums[f"{spec.name}/{part}"]) for part in R2.__slots__})
            rmse, r2, size = np.sqrt(mean(found.residual, found.count)), found.finish(), found.count.size
            for index in np.ndindex(found.count.shape) if size <= _LISTED else ():
                label = f"{spec.name}[{','.join(map(str, index))}]" if size > 1 else spec.name
                result[f"rmse_original/{label}"] = float(rmse[index])
                result[f"r2_original/{label}"] = float(r2[index])
        return result

    def references(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Predicting zero, which is the train mean of standardised targets, and of a single target the certificate's
        linear probe.
        """
        zero = score_of_zero(
            (numpy(self._mask(spec, batch, batch[spec.name])), numpy(batch[spec.name]))
            for batch in batches
            for spec in self.targets
        )
        return {"zero": zero, **(self.certified_probe(self.targets[0].name, zero) if len(self.targets) == 1 else {})}

    def _reads(self, spec: FieldSpec) -> tuple[str, ...]:
        return tuple(sorted(self.data.transforms[spec.name].reads))

    def _offset(self, spec: FieldSpec) -> Array:
        first, _ = self.data.bounds("train")
        rows = {name: self.data.rows(name, first, first + 1) for name in (spec.name, *self._reads(spec))}
        offset: Array = self.data.transforms[spec.name].invert(rows.pop(spec.name), **rows)[0]
        return offset

    def _mask(self, spec: FieldSpec, batch: Batch, like: Tensor) -> Tensor:
        """1 where a value of ``spec`` counts, of the shape and dtype of ``like`` (see `prep.blocks.expand_mask`)."""
        if not spec.mask:
            return torch.ones_like(like)
        dims = self.data.spec[spec.mask].dims
        line = [size if dim in dims else 1 for dim, size in zip(spec.dims[1:], spec.shape, strict=True)]
        return batch[spec.mask].ne(0).to(like.dtype).reshape(-1, *line).expand_as(like)

    def _unfit(self, what: str, measured: str, allowed: str, field: str = "") -> SchemaError:
        return SchemaError(
            f"{type(self).__name__.lower()} cannot be trained on this dataset: {what}",
            where=Where(path=str(self.data.path), dataset=self.data.id, field=field),
            measured=measured,
            allowed=allowed,
            remedy="correct the roles in the schema, or name the system that fits the data with --system",
        )


def _size(spec: FieldSpec) -> int:
    return int(np.prod(spec.shape))

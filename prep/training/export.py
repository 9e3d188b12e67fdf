"""Model and transforms as one program: raw inputs in original units to outputs in original units, without prep."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prep.blocks import FieldSpec
from prep.errors import UsageError, Where
from prep.training.export_transforms import module_of
from prep.training.predict import Predictor
from prep.training.remembered import Trained

METADATA = "prep.json"
_EXAMPLE_ROWS = 3


class Program(nn.Module):
    """What is exported: {raw field: (batch, *shape)} to {field: (batch, *shape)}, both as in `Predictor`."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        system, trained = predictor.system, predictor.trained
        bound = trained.data.transforms
        self.system_of = system.exported(trained.network)
        self.given = tuple(spec.name for spec in predictor.needed)
        self.transforms = nn.ModuleDict({name: module_of(bound[name]) for name in bound if name in self.given})
        left = {spec.name for spec in predictor.scales}
        outputs = predictor.outputs(frozenset(self.given))
        self.outputs = tuple(zip(system.predicted, (spec.name for spec in outputs), strict=True))
        self.whole = {spec.name: predictor.torch_type(spec) for spec in outputs if spec.dtype.kind in "iub"}
        inverted = [name for name in system.predicted if name in bound and name not in left]
        self.inverses = nn.ModuleDict({name: module_of(bound[name]) for name in inverted})

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Predictions by name."""
        batch: dict[str, Tensor] = {}
        for name in self.given:
            batch |= self.transforms[name].apply_to(inputs) if name in self.transforms else {name: inputs[name]}  # type: ignore[operator]
        said = self.system_of(batch)
        result: dict[str, Tensor] = {}
        for field, name in self.outputs:
            values = said[field]
            if field in self.inverses:
                values = self.inverses[field].invert(values, {**inputs, **batch})  # type: ignore[operator]
            elif name not in self.whole:
                values = values.to(torch.complex128 if values.is_complex() else torch.float64)
            result[name] = values.round().to(self.whole[name]) if name in self.whole else _wide(values)
        return result


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)


def exported(trained: Trained) -> tuple[bytes, dict[str, Any]]:
    """The program as the bytes of a .pt2 file, and the metadata that travel in it (extra file ``prep.json``).

    The first dimension of every input is dynamic. Raises `UsageError` where a system cannot be exported.
    """
    predictor = Predictor(trained)
    program = Program(predictor).eval().requires_grad_(False)
    example = {spec.name: _example(predictor, spec) for spec in predictor.needed}
    rows = torch.export.Dim("rows", min=1, max=1 << 20)
    shapes = {"inputs": {name: {0: rows} for name in example}}
    try:
        with torch.no_grad():
            made = torch.export.export(program, (example,), dynamic_shapes=shapes)
    except Exception as error:
        raise UsageError(
            "this model cannot be written as one program",
            where=Where(path=str(trained.path)),
            measured=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300],
            allowed="a model without decisions that depend on values",
            remedy="give the system an network of its own in `System.exported`, or use `prep predict`",
        ) from error
    about = metadata(predictor)
    buffer = io.BytesIO()
    torch.export.save(made, buffer, extra_files={METADATA: json.dumps(about)})
    return buffer.getvalue(), about


def metadata(predictor: Predictor) -> dict[str, Any]:
    """What the program is of, and its fields: name, dtype, shape without rows, units."""
    record: Mapping[str, Any] = predictor.trained.record
    given = frozenset(spec.name for spec in predictor.needed)
    return {
        "format": "prep-program/1",
        **{key: record[key] for key in ("dataset", "version", "root", "certificate", "system")},
        "inputs": [_described(spec) for spec in predictor.needed],
        "outputs": [_described(spec) for spec in predictor.outputs(given)],
        "torch": torch.__version__,
    }


def _described(spec: FieldSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype.name, "shape": list(spec.shape), "units": spec.units}


def _example(predictor: Predictor, spec: FieldSpec) -> Tensor:
    """Values that every transform takes: ones are counted by masks, and a group that is known."""
    dtype = predictor.torch_type(spec)
    groups = [
        bound.params["groups"][0]
        for bound in predictor.trained.data.transforms.values()
        if bound.params.get("group") == spec.name
    ]
    if groups:
        return torch.full((_EXAMPLE_ROWS, *spec.shape), groups[0], dtype=dtype)
    if spec.dtype.kind in "iub":
        return torch.ones((_EXAMPLE_ROWS, *spec.shape), dtype=dtype)
    return torch.randn((_EXAMPLE_ROWS, *spec.shape), dtype=dtype, generator=torch.Generator().manual_seed(0))

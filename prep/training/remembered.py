"""What a checkpoint remembers of its data: enough to make the model and to undo the transforms, and not one sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import nn

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.errors import IntegrityError, PrepError, UsageError, Where
from prep.gate import CertifiedDataset
from prep.training.checkpoint import KEY, read_checkpoint
from prep.training.faults import FAULTS
from prep.training.systems import SYSTEMS, System
from prep.transforms.pipeline import BoundTransform, bound_transforms

_NETWORK = "network."


class Remembered:
    """The data of a run as its checkpoint describes them: what systems read of a `CertifiedDataset`, but its rows."""

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        self.path = path
        self.id, self.version, self.root = record["dataset"], record["version"], record["root"]
        self.certificate_digest = record["certificate"]
        kept = json.loads(record["spec"])
        self.documents: Mapping[str, str] = {name: record[name] for name in ("transforms", "statistics")}
        self.spec = DatasetSpec(
            name=self.id,
            version=self.version,
            fields=tuple(map(FieldSpec.from_dict, kept["fields"])),
            constants=tuple(map(FieldSpec.from_dict, kept["constants"])),
            splits={},
            attributes=kept["attributes"],
            documents=self.documents,
        )
        self.constants: Mapping[str, Array] = {name: value.numpy() for name, value in record["constants"].items()}
        self.baselines: Mapping[str, Any] = json.loads(record["baselines"])

    @cached_property
    def transforms(self) -> Mapping[str, BoundTransform]:
        """Fitted transforms by raw field."""
        return bound_transforms(json.loads(self.documents["transforms"]))

    def rows(self, field: str, start: int, stop: int) -> NoReturn:
        """`UsageError`: there are none."""
        raise UsageError(
            "a checkpoint holds no samples of the data that it was trained on",
            where=Where(path=str(self.path), dataset=self.id, field=field),
            remedy="name the certified dataset with --data",
        )


class Trained:
    """The model of a checkpoint, ready to be asked: ``record``, ``data``, ``system`` and ``network`` in eval mode.

    ``data`` are those of the caller where they are given (they have to be the ones it was trained on: see
    `prep.training.checkpoint.demand_data`), else what the checkpoint remembers of them.
    """

    def __init__(self, path: Path, data: CertifiedDataset | None = None) -> None:
        content = read_checkpoint(path)
        self.path = path
        self.record: Mapping[str, Any] = content[KEY]
        try:
            self.data = data or cast(CertifiedDataset, Remembered(path, self.record))
            self.name = str(self.record["system"])
            family, _, fault = self.name.partition("+")
            self.system: System = SYSTEMS.load(family)(self.data)
            if fault:
                self.system = FAULTS.load(fault)(self.system)
            with torch.random.fork_rng(devices=[]):
                self.network: nn.Module = self.system.model()
            weights = content["state_dict"]
            self.network.load_state_dict({name.removeprefix(_NETWORK): value for name, value in weights.items()})
        except PrepError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise IntegrityError(
                "this checkpoint does not describe a model that can be made again",
                where=Where(path=str(path)),
                measured=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200],
                allowed="what `prep train` of this version writes",
                remedy="train anew, or use the version of prep that wrote it",
            ) from error
        self.network.eval()

"""Checkpoints that say on which certified bytes they were trained, written atomically, read without unpickling code."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from prep.canonical import canonical_json
from prep.errors import CertificateError, IntegrityError, UsageError, Where
from prep.formats.commit import storage_errors, write_atomically
from prep.gate import CertifiedDataset
from prep.training.differences import described, differences

KEY = "prep"
_IDENTITY = frozenset({"dataset", "version", "root", "certificate", "transforms"})
_RECORD = _IDENTITY | {"statistics", "spec", "constants", "baselines", "system", "run", "epochs", "history", "step0"}
_YOUR_OWN = (
    "load a checkpoint of your own module with that module (`load_from_checkpoint`, or ckpt_path of its Trainer); its"
    " CertifiedDataModule compares the data"
)


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, whole or not at all under their name."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint``; `StorageError` where the disk refuses, the old file is then as it was."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Tensors and plain values only, whatever is asked for."""
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint of `prep train`; `UsageError` if there is none, `IntegrityError` if it is damaged or holds code."""
    try:
        content: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(
            "there is no checkpoint",
            where=Where(path=str(path)),
            remedy="train without --resume first, or name the run with --run-dir",
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or ["it ends early"])[0]
        if isinstance(error, pickle.UnpicklingError) and is_zipfile(path):
            raise _with_objects(path, reason) from error
        raise _damaged(path, reason) from error
    if not isinstance(content, dict) or KEY not in content:
        raise UsageError(
            "this is no checkpoint of prep train, so nothing says what its model is",
            where=Where(path=str(path)),
            measured=f"no record {KEY!r} of system, fields and transforms",
            allowed="best.ckpt or last.ckpt of a run of `prep train`",
            remedy=_YOUR_OWN,
        )
    found = content[KEY]
    if not isinstance(found, dict) or not set(found) >= _RECORD or not isinstance(found["run"], dict):
        raise _damaged(path, f"the record {KEY!r} lacks parts")
    return content


def same(source: Path, target: Path) -> None:
    """``target`` becomes another name of the file ``source``, in one step: a large checkpoint is written once."""
    link = target.with_name(f".{target.name}.{os.getpid()}")
    with storage_errors(target):
        try:
            os.link(source, link)
        except OSError:  # a file system without links
            write_atomically(target, source.read_bytes())
            return
        os.replace(link, target)


def record(data: CertifiedDataset, system: str, run: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint keeps beside weights: the data's identity, what makes its model and undoes its transforms
    without the data (`prep.training.remembered`), and how the run was set up.
    """
    spec = {
        "fields": [field.to_dict() for field in data.spec.fields],
        "constants": [field.to_dict() for field in data.spec.constants],
        "attributes": dict(data.spec.attributes),
    }
    return {
        **identity(data),
        "statistics": data.documents["statistics"],
        "spec": canonical_json(spec).decode(),
        "constants": {name: torch.from_numpy(np.array(value)) for name, value in data.constants.items()},
        "baselines": canonical_json(data.baselines).decode(),
        "system": system,
        "run": run,
    }


def identity(data: CertifiedDataset) -> dict[str, str]:
    """Which data a checkpoint is of, with the transforms that give original units."""
    return {
        "dataset": data.id,
        "version": data.version,
        "root": data.root,
        "certificate": data.certificate_digest,
        "transforms": data.documents["transforms"],
    }


def demand_data(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], *, what: str, remedy: str) -> None:
    """`CertificateError` unless ``wanted`` (dataset, root, transforms) are the data of the checkpoint's record
    ``found``; it shows which fitted statistics differ, and by how much.
    """
    name = next((each for each in ("dataset", "root", "transforms") if found[each] != wanted[each]), None)
    if name is None:
        return
    apart = differences(found["transforms"], wanted["transforms"])
    same_text = found["transforms"] == wanted["transforms"]
    how = described(apart) if apart else "its transforms are " + ("the same" if same_text else "written otherwise")
    raise CertificateError(
        what,
        where=Where(path=str(path), dataset=wanted["dataset"], field=apart[0].field if apart else ""),
        measured=how if name == "transforms" else f"{name} {wanted[name]}; {how}",
        allowed="the transforms of the checkpoint"
        if name == "transforms"
        else f"{name} {found[name]}, as in the checkpoint",
        remedy=remedy,
    )


def demand_own(data: CertifiedDataset, found: Mapping[str, Any]) -> None:
    """`CertificateError` unless ``data`` are those of the `identity` that a checkpoint holds."""
    demand_data(
        Path(data.path),
        found,
        identity(data),
        what="this checkpoint was trained on other data",
        remedy="restore that dataset, or train anew",
    )


def demand_checkpoint(data: CertifiedDataset, path: str | os.PathLike[str] | None) -> None:
    """`CertificateError` where a checkpoint of Lightning says that it was trained on other data than ``data``,
    whatever the class that wrote it was called. One that cannot be read here is left to Lightning.
    """
    if path is None or not Path(path).is_file():
        return
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        records = [each for each in content.values() if isinstance(each, Mapping) and set(each) >= _IDENTITY]
        states = content.get("loops", {}).get("fit_loop", {}).get("state_dict", {}).get("combined_loader", ())
        roots = {each.get("batches", each).get("root", data.root) for each in states}
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError, AttributeError):
        return
    mine = identity(data)
    if records and not any(all(each[name] == mine[name] for name in ("root", "transforms")) for each in records):
        demand_own(data, records[0])
    if not records and roots and data.root not in roots:
        raise CertificateError(
            "this checkpoint was trained on other data",
            where=Where(path=str(path), dataset=data.id),
            measured=f"root {data.root}",
            allowed=f"root {min(roots)}, as in the checkpoint",
            remedy="restore that dataset, or train anew",
        )


def demand_same(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """`CertificateError` unless a run goes on with the very data, and `UsageError` unless with the set-up, it began
    with.
    """
    demand_data(
        path,
        found,
        wanted,
        what="this run was trained on other data, so it cannot go on with these",
        remedy="restore that dataset, or train anew without --resume",
    )
    begun = {"system": found["system"], **found["run"]}
    for name, value in {"system": wanted["system"], **wanted["run"]}.items():
        if begun.get(name) != value:
            raise UsageError(
                "a run goes on as it was begun",
                where=Where(path=str(path), key=name),
                measured=f"{name} {value}",
                allowed=f"{name} {begun.get(name)}, as in the checkpoint",
                remedy=f"repeat the same {name}, or train anew without --resume",
            )


def _damaged(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        "this is not a whole checkpoint",
        where=Where(path=str(path)),
        measured=reason,
        allowed="a file as `prep train` writes it",
        remedy="restore it from a copy, name another one, or train anew in another folder (--run-dir)",
    )


def _with_objects(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        "this checkpoint holds objects, and making them could run code, so it is not read",
        where=Where(path=str(path)),
        measured=reason,
        allowed="tensors and plain values, as `prep train` writes them",
        remedy=_YOUR_OWN,
    )

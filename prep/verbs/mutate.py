"""`prep mutate`: plant a historic failure on a good dataset, to see it refused."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prep.certificate import envelope, manifest
from prep.errors import UsageError, Where
from prep.formats import create
from prep.formats.commit import Pending, storage_errors, write_atomically
from prep.gate import CertifiedDataset, admit
from prep.mutations import MUTATIONS, SEEN_IN_TRAINING, TRAINING_FAULTS, Specimen, story
from prep.verbs.config import load_config
from prep.verbs.rawdata import commit, demand_output

_MEMORY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Failure:
    """One entry of the museum: ``system``, ``name`` and what happened."""

    system: str
    name: str
    story: str


def failures(system: str = "") -> tuple[Failure, ...]:
    """The whole museum, or one system's part of it."""
    entries = [(*key.split("/", 1), story(MUTATIONS.load(key))) for key in MUTATIONS]
    entries += [(owner, name, fault.story) for name, fault in TRAINING_FAULTS.items() for owner in fault.systems]
    return tuple(Failure(owner, name, text) for owner, name, text in entries if system in ("", owner))


def mutate(
    system: str,
    failure: str,
    output: str | Path,
    *,
    data: str | Path | None = None,
    config: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
) -> Path:
    """Write a copy of a certified dataset with ``failure`` planted in it to ``output``, without a certificate.

    A failure of training code (`TRAINING_FAULTS`) leaves the data and their certificate as they are: it is planted by
    training on the copy with ``--system SYSTEM+FAILURE``.

    ``data`` is by default the configuration's dataset of that name. The dataset is held in memory: `UsageError` for
    one that is too large for it, for an unknown failure, and for an output that would replace what prep did not write.
    Raises what the gate raises for data that are not certified.
    """
    fault = TRAINING_FAULTS.get(failure)
    if fault is not None and system not in fault.systems:
        raise UsageError(
            "the code of this system cannot have this failure",
            where=Where(key=f"{system}/{failure}"),
            measured=system,
            allowed=", ".join(fault.systems),
            remedy=f"see what there is: prep mutate --list {system}",
        )
    mutation = None if fault is not None else MUTATIONS.load(f"{system}/{failure}")
    output = Path(output)
    source = good_path(system, data, config)
    demand_output(output, [source])
    good = admit(source, lock_path=lock_path, trust_path=trust_path)
    if mutation is None:
        return _copy(source, output)
    specimen = specimen_of(good)
    mutation(specimen)
    spec = specimen.finished()
    with create(output, spec) as writer:
        for field in spec.constants:
            writer.write_constant(field, specimen.constants[field.name])
        for field in spec.fields:
            writer.write(field.name, specimen.arrays[field.name])
        commit(writer, output, spec)
    return output


def good_path(system: str, data: str | Path | None, config: str | Path | None) -> Path:
    """The certified dataset to start from: ``data``, else the configuration's of that name."""
    if data is not None:
        return Path(data)
    settings = load_config(config)
    return settings.normalized_path(settings.dataset(system))


def refusal(system: str | None, failure: str | None, output: Path) -> str:
    """The command that refuses a planted failure."""
    if failure in TRAINING_FAULTS:
        return f"prep train {output} --system {system}+{failure}"
    if f"{system}/{failure}" in SEEN_IN_TRAINING:
        return f"prep certify {output} && prep train {output}"
    return f"prep validate {output}"


def _copy(source: Path, output: Path) -> Path:
    """The dataset and its sidecars, byte by byte."""
    if source.suffix != output.suffix:
        raise UsageError(
            "a copy keeps its format",
            where=Where(path=str(output)),
            measured=output.suffix,
            allowed=source.suffix,
            remedy=f"name the output with the ending {source.suffix}",
        )
    with Pending(output) as pending, storage_errors(output):
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, pending.path)
        described = manifest.path_of(output), manifest.path_of(source).read_bytes()
        sealed = envelope.path_of(source).read_bytes()
        pending.publish((described[0], envelope.path_of(output)), beside=described)
    write_atomically(envelope.path_of(output), sealed)
    return output


def specimen_of(good: CertifiedDataset) -> Specimen:
    """The whole dataset in memory; `UsageError` for one that is too large for it."""
    size = good.spec.rows * good.spec.row_bytes
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > _MEMORY_SHARE * available:
        raise UsageError(
            "the dataset is too large to be mutated in memory",
            where=Where(path=str(good.path), dataset=good.id),
            measured=f"{size / 2**30:.1f} GiB",
            allowed=f"{_MEMORY_SHARE * available / 2**30:.1f} GiB, a quarter of the memory",
            remedy="mutate a smaller scale: set `scale: smoke` in the configuration, build it, and name it with --data",
        )
    arrays = {field.name: np.array(good.rows(field.name, 0, good.spec.rows)) for field in good.spec.fields}
    return Specimen(good.spec, arrays, dict(good.constants), good.transforms)

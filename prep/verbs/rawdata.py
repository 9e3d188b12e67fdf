"""Write raw rows as a dataset: what `generate` and `ingest` share, from rows by split to a committed file with its
manifest.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import SPLITS, Array, DatasetSpec, FieldSpec
from prep.canonical import canonical_json
from prep.certificate import envelope, manifest
from prep.certificate.matching import manifest_bytes, match_container
from prep.engine import DatasetSource, Progress, Workers, all_digests, silent
from prep.engine.versions import installed
from prep.errors import DataError, IntegrityError, PrepError, UnfinishedError, Where
from prep.formats import create, format_by_ending, no_such_dataset
from prep.formats.commit import tidy_up
from prep.formats.layout import Container
from prep.formats.replace import demand_no_input, demand_replaceable
from prep.formats.writer import Writer

SPLIT_FIELD = FieldSpec("split", np.dtype("u1"), ("sample",), (), "split", long_name="split of the sample")


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one split, (rows, *shape) by field, and counts of what was dropped on the way."""

    split: str
    arrays: Mapping[str, Array]
    counts: Mapping[str, int]


def versions() -> dict[str, str]:
    """What made the data: versions of Python, prep and the libraries that compute."""
    return {"python": platform.python_version(), **installed("prep-certified", "numpy", "scipy", "h5py", "zarr")}


def demand_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output before any work is done for it.

    `UsageError` for an ending that names no format, an output that is an input, and one that would replace something
    that prep did not write.
    """
    folder = format_by_ending(path) == "zarr"
    demand_no_input(path, inputs)
    demand_replaceable(path, folder=folder, manifest=manifest.path_of(path))


def is_made(path: Path, identity: str, workers: Workers = None, progress: Progress = silent) -> bool:
    """Whether the dataset at ``path`` was made under ``identity`` and every stored byte is still as it was written."""
    if not path.exists():
        return False
    try:
        contents = read_manifest(path)
        if json.loads(contents.spec.documents["provenance"]).get("identity") != identity:
            return False
        hash_all(path, contents, workers, progress)
    except UnfinishedError:
        raise
    except (PrepError, OSError, KeyError, ValueError, AttributeError):
        return False
    tidy_up(path, manifest.path_of(path), envelope.path_of(path))
    return True


def hash_all(path: Path, contents: manifest.Manifest, workers: Workers, progress: Progress = silent) -> None:
    """Read every chunk of the dataset; `IntegrityError` for the first that is not the one in its manifest."""
    with DatasetSource.open(path, contents.digests) as source:
        all_digests(source, workers, progress)


def write_dataset(
    path: Path,
    spec: DatasetSpec,
    constants: Iterable[tuple[FieldSpec, Array]],
    rows: Iterable[Rows],
    provenance: Mapping[str, Any],
    *,
    compression: str,
) -> Container:
    """Write all rows and commit them with their manifest.

    ``spec`` has the fields without ``split`` and no rows yet; counts are added to ``provenance`` as "counts". Raises
    `DataError` for rows that do not fit the fields or come out of split order, `StorageError` where the disk refuses;
    nothing is left behind then.
    """
    constants = tuple(constants)
    spec = replace(
        spec, fields=(*spec.fields, SPLIT_FIELD), constants=tuple(field for field, _ in constants), splits={}
    )
    filled: dict[str, int] = dict.fromkeys(SPLITS, 0)
    counts: dict[str, int] = {}
    order = -1
    with create(path, spec, compression) as writer:
        for field, array in constants:
            writer.write_constant(field, array)
        for part in rows:
            code = SPLITS.index(part.split)
            if code < order:
                raise DataError(
                    "rows must come split by split",
                    where=Where(dataset=spec.name, split=part.split),
                    measured=f"{part.split} after {SPLITS[order]}",
                    allowed=", ".join(SPLITS),
                    remedy="yield all of train, then val, then test",
                )
            order = code
            filled[part.split] += _write_rows(writer, spec, part, code)
            for name, count in part.counts.items():
                counts[name] = counts.get(name, 0) + int(count)
        splits, start = {}, 0
        for name, count in filled.items():
            splits[name] = (start, start + count)
            start += count
        if start == 0:
            raise DataError(
                "there are no samples to write",
                where=Where(path=str(path), dataset=spec.name),
                measured=f"0 rows, dropped: {counts or 'none'}",
                allowed="1 or more",
                remedy="check the source and the parameters",
            )
        documents = {**spec.documents, "provenance": canonical_json({**provenance, "counts": counts}).decode()}
        return commit(writer, path, replace(spec, splits=splits, documents=documents))


def commit(writer: Writer, path: Path, spec: DatasetSpec) -> Container:
    """Put a finished dataset and its manifest under their final names, without the sidecars of what lay there."""
    superseded = (envelope.path_of(path), manifest.path_of(path))
    return writer.commit(
        spec,
        superseded,
        beside=lambda container: (manifest.path_of(path), manifest.encode(container, writer.digests)),
    )


def read_manifest(path: Path) -> manifest.Manifest:
    """The manifest beside a dataset, which must describe the container as it is; `IntegrityError` otherwise.

    `UsageError` where there is no dataset at all.
    """
    if not path.exists():
        raise no_such_dataset(path)
    place = manifest.path_of(path)
    try:
        data = manifest_bytes(path)
    except OSError as error:
        raise IntegrityError(
            "this dataset has no manifest, so it was not written completely",
            where=Where(path=str(place)),
            measured=error.strerror,
            allowed="a manifest beside the dataset",
            remedy="run the stage that writes it (`prep generate`, `prep ingest` or `prep normalize`) again",
        ) from error
    contents = manifest.parse(data, path=str(place))
    match_container(path, contents)
    return contents


def _write_rows(writer: Writer, spec: DatasetSpec, part: Rows, code: int) -> int:
    lengths = {len(array) for array in part.arrays.values()}
    names = {field.name for field in spec.fields} - {SPLIT_FIELD.name}
    if len(lengths) != 1 or set(part.arrays) != names:
        raise DataError(
            "rows do not have the fields of the dataset, all of one length",
            where=Where(dataset=spec.name, split=part.split),
            measured=f"{sorted(part.arrays)} with lengths {sorted(lengths)}",
            allowed=", ".join(sorted(names)),
            remedy="yield every field, equally long",
        )
    (count,) = lengths
    for field in spec.fields:
        if field.name == SPLIT_FIELD.name:
            writer.write(field.name, np.full(count, code, np.uint8))
            continue
        array = part.arrays[field.name]
        if array.dtype != field.dtype or array.shape[1:] != field.shape:
            raise DataError(
                "rows do not have the dtype and shape of their field",
                where=Where(dataset=spec.name, field=field.name, split=part.split),
                measured=f"{array.dtype} {array.shape[1:]}",
                allowed=f"{field.dtype} {field.shape}",
                remedy="convert in the recipe or importer; nothing is cast silently here",
            )
        writer.write(field.name, array)
    return count

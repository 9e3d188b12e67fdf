"""A small certified project in every way prep stores data, made in a moment, and what attackers do to it."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np

import prep
from prep.blocks import Array, ChunkKey
from prep.canonical import sha256_hex
from prep.certificate import envelope, lock, manifest
from prep.certificate.matching import metadata_ranges
from prep.certificate.statement import compose
from prep.certificate.tree import logical_root
from prep.errors import PrepError
from prep.formats import Container, open_container
from prep.formats.digests import ChunkDigests, Digests, logical_digest
from prep.formats.reader import ChunkReader
from prep.gate import CertifiedDataset
from prep.importers import IngestOptions
from tests.conftest import working_in

ROWS = 96
# Ending, compression, and whether the chunks of a Zarr lie together in shards.
VARIANTS: dict[str, tuple[str, str, bool]] = {
    "hdf5": (".h5", "none", True),
    "hdf5-gzip": (".h5", "gzip", True),
    "hdf5-zstd": (".h5", "zstd", True),
    "hdf5-blosc": (".h5", "blosc", True),
    "zarr": (".zarr", "none", True),
    "zarr-zstd": (".zarr", "zstd", True),
    "zarr-files": (".zarr", "none", False),
    "zarr-files-gzip": (".zarr", "gzip", False),
}
MAPPING = {
    "fields": {
        "inputs": {"path": "inputs", "role": "input", "mask": "visible", "dims": ["sample", "feature"]},
        "visible": {"path": "visible", "role": "mask", "dims": ["sample", "feature"]},
        "targets": {"path": "targets", "role": "target"},
        "matrices": {"path": "matrices", "role": "aux"},
        "episode": {"path": "episode", "role": "id"},
    },
    "group": "episode",
}


@dataclass(frozen=True)
class Tiny:
    """A project with one certified dataset; ``path`` and ``raw`` are its datasets, ``values`` all certified arrays."""

    folder: Path
    path: Path
    values: Mapping[str, Array]

    @property
    def raw(self) -> Path:
        """What it was normalised from."""
        return self.folder / "data/raw" / self.path.name

    @property
    def lock(self) -> Path:
        """The lock of the project."""
        return self.folder / lock.NAME

    @property
    def certificate(self) -> Path:
        """The certificate beside the dataset."""
        return envelope.path_of(self.path)

    @property
    def manifest(self) -> Path:
        """The manifest beside the dataset."""
        return manifest.path_of(self.path)

    @property
    def contents(self) -> manifest.Manifest:
        """The manifest, parsed."""
        return manifest.parse(self.manifest.read_bytes(), path=str(self.manifest))

    @property
    def schema(self) -> Path:
        """The schema of the project."""
        return self.folder / "schemas" / f"{self.path.stem}.yaml"

    def file_of(self, field: str, chunk: int = 0) -> tuple[Path, int, int]:
        """The file that holds a chunk, and offset and size of the chunk in it."""
        layout = self.contents.layouts[field]
        file = self.path / layout.file_of(chunk) if layout.template else self.path
        return file, int(layout.offsets[chunk]), int(layout.sizes[chunk])

    def copied(self, folder: Path) -> Tiny:
        """The same project in another, new folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Tiny(folder, folder / self.path.relative_to(self.folder), self.values)


def arrays(seed: int = 0, rows: int = ROWS) -> dict[str, Array]:
    """Raw arrays that a linear model can learn from: masked inputs, targets, complex matrices, episodes of two rows."""
    rng = np.random.default_rng(seed)
    inputs = (rng.normal(size=(rows, 8)) * 3 + 5).astype("f4")
    matrices = rng.normal(size=(rows, 3, 3)) + 1j * rng.normal(size=(rows, 3, 3))
    return {
        "inputs": inputs,
        "targets": np.stack([inputs.sum(1), inputs[:, 0] - inputs[:, 1]], 1).astype("f4"),
        "matrices": matrices.astype("c8"),
        "visible": rng.random((rows, 8)) < 0.9,
        "episode": np.arange(rows) // 2,
    }


@contextmanager
def small_chunks(sharded: bool = True) -> Iterator[None]:
    """Chunks of about 512 bytes: with those of 4 MiB, a dataset with several of each field would be no small one."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch("prep.blocks.CHUNK_BYTES", 512))
        stack.enter_context(mock.patch("prep.blocks.SEGMENT_BYTES", 1 << 13))
        if not sharded:
            stack.enter_context(mock.patch("prep.formats.zarr.Zarr.__init__.__defaults__", (0,)))
        yield


def build(
    folder: Path,
    variant: str = "hdf5",
    *,
    name: str = "tiny",
    seed: int = 0,
    version: str = "1.0.0",
    raw: Mapping[str, Array] | None = None,
    certify: bool = True,
) -> Tiny:
    """A project in ``folder`` (which may hold others): ingest, stats, normalize and, where wanted, certify."""
    ending, compression, sharded = VARIANTS[variant]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").touch()
    with working_in(folder), small_chunks(sharded):
        np.savez(f"{name}.npz", **(raw or arrays(seed)))
        options = IngestOptions(mapping=MAPPING, group="episode")
        made = prep.ingest(
            f"{name}.npz", output=f"data/raw/{name}{ending}", options=options, version=version, force=True
        )
        stats = prep.stats(made.path, output=f"data/stats/{name}.json")
        path = prep.normalize(
            made.path,
            stats=stats,
            output=folder / f"data/normalized/{name}{ending}",
            compression=compression,
            force=True,
        )
        if certify:
            prep.certify(path)
    return Tiny(folder, path, plain_values(path))


def plain_values(path: Path) -> dict[str, Array]:
    """All values of a dataset, read chunk by chunk without any certificate."""
    container = open_container(path)
    with ChunkReader(path, container.layouts) as reader:
        return {name: reader.rows(name, 0, layout.rows).copy() for name, layout in container.layouts.items()}


def admitted(tiny: Tiny) -> CertifiedDataset:
    """The dataset as the project's own consumer opens it."""
    return prep.open(tiny.path, lock_path=tiny.lock)


def everything(data: CertifiedDataset) -> dict[str, Array]:
    """Every value that a certified dataset hands out."""
    return {field.name: data.rows(field.name, 0, data.spec.rows) for field in data.spec.fields}


def consume(tiny: Tiny) -> dict[str, Array]:
    """Admit the dataset and read all of it, as a training run does; raises what a user sees."""
    return everything(admitted(tiny))


def same(found: Mapping[str, Array], certified: Mapping[str, Array]) -> bool:
    """Whether the values are the certified ones, bit for bit and of the same types."""
    return all(
        found[name].dtype == certified[name].dtype
        and found[name].shape == certified[name].shape
        and found[name].tobytes() == certified[name].tobytes()
        for name in found
    )


# What a careless owner, or an attacker with the owner's tools, does about the sidecars.


def remeasured(container: Container) -> dict[str, ChunkDigests]:
    """The digests of a container as it is now, whoever wrote it."""
    found = {}
    with ChunkReader(container.path, container.layouts) as reader:
        for name, layout in container.layouts.items():
            pairs = []
            for index in range(layout.chunks):
                key = ChunkKey(name, index)
                stored = reader.fetch(key, hashed=True)
                rows = reader.decode(key, stored.data)
                pairs.append((stored.digest, logical_digest(stored.data, stored.digest, rows, plain=False)))
            found[name] = ChunkDigests(Digests.of(each[0] for each in pairs), Digests.of(each[1] for each in pairs))
    return found


def rewrite_manifest(tiny: Tiny, container: Container | None = None, digests: Any = None) -> str:
    """Replace the manifest by one of the dataset as it is now (or of ``container``); returns its logical root."""
    container = container or open_container(tiny.path)
    digests = digests or remeasured(container)
    tiny.manifest.write_bytes(manifest.encode(container, digests))
    return logical_root(container.spec, container.layouts, digests)


def forge_manifest(tiny: Tiny) -> bool:
    """Keep what the manifest says of the chunks, and make it fit all other bytes of the dataset as they are now."""
    if not tiny.manifest.exists():
        return False
    known = tiny.contents
    try:
        files = [tiny.path] if tiny.path.is_file() else [each for each in tiny.path.rglob("*") if each.is_file()]
        size = sum(each.lstat().st_size for each in files)
        metadata = tuple(metadata_ranges(replace(known, size=size), tiny.path))
        container = Container(tiny.path, known.container, known.spec, known.layouts, metadata, size)
        tiny.manifest.write_bytes(manifest.encode(container, known.digests))
    except PrepError:
        return False
    return True


def reseal(tiny: Tiny, root: str = "", change: Callable[[dict[str, Any]], None] = lambda statement: None) -> None:
    """Certificate and lock that speak of the manifest as it is now, ``change`` made to the statement."""
    sealed = envelope.open_envelope(tiny.certificate.read_bytes(), path="certificate")
    statement = json.loads(sealed.payload)
    data, claims = tiny.manifest.read_bytes(), statement["predicate"]
    try:
        statement = compose(
            manifest.parse(data, path=str(tiny.manifest)),
            schema=claims["schema"],
            report=claims["report"],
            registry_digest=claims["check_registry"],
            baselines=claims["baselines"],
            created=claims["created"],
            expires=claims["expires"],
        )
    except PrepError:  # no manifest of prep: as near to it as an attacker gets
        statement["subject"][0]["digest"]["sha256"] = sha256_hex(data)
        claims.update(root=root or claims["root"], manifest_bytes=len(data))
    change(statement)
    pin_payload(tiny, json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def pin_payload(tiny: Tiny, payload: bytes) -> None:
    """A certificate with exactly this payload, pinned."""
    body = {"payload": base64.b64encode(payload).decode(), "payloadType": envelope.PAYLOAD_TYPE, "signatures": []}
    tiny.certificate.write_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    pins = json.loads(tiny.lock.read_text())
    (entry,) = pins["datasets"].values()
    entry["certificate"] = envelope.Envelope(payload, envelope.PAYLOAD_TYPE, ()).digest
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        entry["root"] = json.loads(payload)["predicate"]["root"]
    tiny.lock.write_text(json.dumps(pins, indent=2) + "\n")


def doctored(tiny: Tiny, field: str, **changes: Any) -> Container:
    """The container with the layout of one field changed."""
    container = open_container(tiny.path)
    layout = replace(container.layouts[field], **changes)
    return replace(container, layouts={**container.layouts, field: layout})


# What an attacker does to the files.


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit over."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Replace bytes in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file in place; it keeps its size where there is room, as whoever wants to hide would see to."""
    size, node = path.stat().st_size, json.loads(path.read_text())
    change(node)
    path.write_bytes(json.dumps(node).encode().ljust(size))


def replace_dataset(path: Path, name: str, *, stored: list[bytes] | None = None, **options: Any) -> None:
    """Put another HDF5 dataset in place of a field, with the field's attributes and dimensions.

    ``stored`` are chunks written as they are, past all filters; otherwise ``data`` or nothing is written.
    """
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        old = file[name]
        attributes = {key: old.attrs[key] for key in old.attrs if key not in ("DIMENSION_LIST", "REFERENCE_LIST")}
        scales = [dimension[0].name for dimension in old.dims]
        chunk_rows, shape, dtype = old.chunks[0], old.shape, old.dtype
        del file[name]
        if "data" not in options:
            options.setdefault("shape", shape)
            options.setdefault("dtype", dtype)
        new = file.create_dataset(name, **options)
        for index, data in enumerate(stored or ()):
            new.id.write_direct_chunk((index * chunk_rows, *(0 for _ in shape[1:])), data)
        for key, value in attributes.items():
            new.attrs.create(key, value, dtype=value.dtype if hasattr(value, "dtype") else None)
        for place, scale in enumerate(scales):
            new.dims[place].attach_scale(file[scale])


def stored_chunks(path: Path, name: str) -> list[bytes]:
    """The stored chunks of an HDF5 dataset, past all filters."""
    with h5py.File(path) as file:
        dataset = file[name]
        step = dataset.chunks[0]
        tail = tuple(0 for _ in dataset.shape[1:])
        return [dataset.id.read_direct_chunk((row, *tail))[1] for row in range(0, dataset.shape[0], step)]

"""The datasets that are compared on, written by prep's own verbs into a temporary folder and removed when done with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

import numpy as np

import prep.blocks
from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.certificate import envelope, lock, statement
from prep.certificate.manifest import Manifest
from prep.checks import Finding
from prep.report import CheckResult, Report
from prep.verbs.normalize import normalize
from prep.verbs.rawdata import Rows, read_manifest, write_dataset
from prep.verbs.stats import stats

WINDOWS_SCHEMA = Path(__file__).parent / "windows.yaml"
TIME, CHANNELS, OUTPUTS, SIZE = 50, 16, 4, 144
_PART_BYTES = 16 << 20
_FEWEST = 512
_SESSION = 64
_GROUPS = 30
_CREATED = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class Made:
    """A dataset that is there: its folder, the file that is read, samples, and bytes of the values that count."""

    folder: Path
    path: Path
    rows: int
    bytes: int

    @property
    def raw(self) -> Path:
        """What `path` was normalised from."""
        return self.folder / "raw.h5"

    @property
    def statistics(self) -> Path:
        """What it was normalised with."""
        return self.folder / "statistics.json"

    def load(self, name: str) -> Array:
        """A whole field in memory."""
        import h5py

        with h5py.File(self.path) as file:
            return np.asarray(file[name][:])


class Recipe(Protocol):
    """Describes a dataset by its share of the table of 16 columns; hashable, so that it is made once."""

    @property
    def share(self) -> float:
        """Bytes of its values over those of the whole table."""

    def make(self, folder: Path, size: int) -> Made:
        """Write it into ``folder``, which is empty; ``size`` is that of the whole table in bytes."""


@dataclass(frozen=True, slots=True)
class Table:
    """float32 columns with a mean and a spread of their own.

    ``mask`` leaves values out: "padding" the columns beyond a group's own width, "random" each value by chance.
    ``grouped`` adds ids of 30 groups in any order. With a ``compression`` it is a Zarr.
    """

    width: int = 16
    share: float = 1.0
    mask: str = ""
    grouped: bool = False
    compression: str = "none"

    def make(self, folder: Path, size: int) -> Made:
        rows = max(int(size * self.share) // (4 * self.width), _FEWEST)
        whole = ("sample", "column"), (self.width,)
        fields = [FieldSpec("values", np.dtype("f4"), *whole, "input", mask=self._mask, features=("column",))]
        fields += [FieldSpec("mask", np.dtype("u1"), *whole, "mask")] if self.mask else []
        fields += [FieldSpec("group", np.dtype("i4"), ("sample",), (), "id")] if self.grouped else []
        name = "table.h5" if self.compression == "none" else "table.zarr"
        spec = DatasetSpec("table", tuple(fields), {})
        path = _write(folder / name, spec, _parts(rows, self._rows), self.compression)
        return Made(folder, path, rows, rows * 4 * self.width)

    @property
    def _mask(self) -> str:
        return "mask" if self.mask else ""

    def _rows(self, rng: np.random.Generator, start: int, count: int) -> dict[str, Array]:
        column = np.arange(self.width, dtype=np.float32)
        arrays: dict[str, Array] = {"values": _normal(rng, (count, self.width)) * (1 + column / 8) + (column + 1)}
        group = rng.integers(0, _GROUPS, count, dtype=np.int32)
        if self.mask == "padding":
            arrays["mask"] = (column < self.width - group[:, np.newaxis] % (self.width // 2)).astype(np.uint8)
        if self.mask == "random":
            arrays["mask"] = (rng.random((count, self.width), dtype=np.float32) < 0.75).astype(np.uint8)
        if self.grouped:
            arrays["group"] = group
        return arrays


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows (50, 16) of sessions with targets (50, 4), raw and, unless ``raw``, normalised by `WINDOWS_SCHEMA`.

    ``planted`` puts an outlier into the last sample, and the first training sample into the one before it.
    """

    share: float = 1.0
    raw: bool = False
    planted: bool = False

    def make(self, folder: Path, size: int) -> Made:
        row_bytes = 4 * TIME * (CHANNELS + OUTPUTS) + 5
        rows = max(int(size * self.share) // row_bytes, 10 * _SESSION)
        fields = (
            FieldSpec("inputs", np.dtype("f4"), ("sample", "time", "channel"), (TIME, CHANNELS), "input"),
            FieldSpec("targets", np.dtype("f4"), ("sample", "time", "output"), (TIME, OUTPUTS), "target"),
            FieldSpec("session", np.dtype("i4"), ("sample",), (), "id"),
        )
        parts = _parts(rows, self._rows, 4 * TIME * CHANNELS, splits=(0.8, 0.1))
        made = Made(folder, folder / "normalized.h5", rows, rows * row_bytes)
        _write(made.raw, DatasetSpec("windows", fields, {}), self._defects(parts, rows) if self.planted else parts)
        if self.raw:
            return replace(made, path=made.raw)
        stats(made.raw, output=made.statistics, schema=WINDOWS_SCHEMA)
        normalize(made.raw, stats=made.statistics, output=made.path, schema=WINDOWS_SCHEMA)
        return made

    def _rows(self, rng: np.random.Generator, start: int, count: int) -> dict[str, Array]:
        noise = _normal(rng, (count, TIME, CHANNELS))
        channel = np.arange(CHANNELS, dtype=np.float32)
        mixing = np.random.default_rng(1).standard_normal((CHANNELS, OUTPUTS), np.float32)
        targets = noise @ mixing + _normal(rng, (count, TIME, OUTPUTS))
        noise *= 10.0 ** (channel % 4)
        noise += 5 * channel
        session = np.arange(start, start + count, dtype=np.int32) // _SESSION
        return {"inputs": noise, "targets": targets, "session": session}

    def _defects(self, parts: Iterable[Rows], rows: int) -> Iterator[Rows]:
        first, seen = None, 0
        for part in parts:
            first, seen = first or part, seen + len(part.arrays["session"])
            if seen == rows:
                part.arrays["inputs"][-1, 0, 0] = 1e6
                for name in ("inputs", "targets"):
                    part.arrays[name][-2] = first.arrays[name][0]
            yield part


@dataclass(frozen=True, slots=True)
class Matrices:
    """Covariances (144, 144) complex64 of trace 144, Hermitian but for rounding; ``planted`` of them are indefinite."""

    share: float = 1 / 3
    planted: int = 0

    def make(self, folder: Path, size: int) -> Made:
        row_bytes = 8 * SIZE * SIZE
        rows = max(int(size * self.share) // row_bytes, 32)
        spec = FieldSpec("covariance", np.dtype("c8"), ("sample", "row", "column"), (SIZE, SIZE), "target")
        parts = _parts(rows, self._rows, 2 * row_bytes)
        return Made(
            folder, _write(folder / "table.h5", DatasetSpec("matrices", (spec,), {}), parts), rows, rows * row_bytes
        )

    def _rows(self, rng: np.random.Generator, start: int, count: int) -> dict[str, Array]:
        factor = _normal(rng, (count, SIZE, 2 * SIZE)) + 1j * _normal(rng, (count, SIZE, 2 * SIZE))
        found = factor @ np.conj(np.swapaxes(factor, 1, 2))
        diagonal = np.einsum("nii->ni", found)
        found = found * (SIZE / diagonal.real.sum(axis=1))[:, np.newaxis, np.newaxis]
        for place in range(max(self.planted - start, 0)):
            found[place, 0, 0] -= 8
            found[place, 1, 1] += 8
            found[place, 2, 1] += 1
        return {"covariance": found.astype(np.complex64)}


@dataclass(frozen=True, slots=True)
class ManyChunks:
    """A certified dataset of 262 144 chunks of 64 bytes at full size: what is admitted is the number of chunks."""

    share: float = 1 / 16

    def make(self, folder: Path, size: int) -> Made:
        chunks = int(size * self.share) // 256
        rows = chunks * 64 // 65  # `split` has a chunk for each 64 rows
        values = FieldSpec(
            *("values", np.dtype("f4"), ("sample", "column"), (16,), "input"), transform_state="normalized"
        )
        spec = DatasetSpec("chunks", (values,), {}, documents={"transforms": "{}"})
        with _chunks_of(64):
            path = _write(folder / "chunks.h5", spec, _parts(rows, Table()._rows))
        contents = _certify(path, rows * 16)
        return Made(folder, path, contents.chunks, rows * 64)


@dataclass(frozen=True, slots=True)
class Batched:
    """A certified dataset of windows (50, 16) of float32, all of them for training."""

    share: float = 0.25

    def make(self, folder: Path, size: int) -> Made:
        row_bytes = 4 * TIME * CHANNELS
        rows = max(int(size * self.share) // row_bytes, _FEWEST)
        shape = ("sample", "time", "channel"), (TIME, CHANNELS)
        field = FieldSpec("inputs", np.dtype("f4"), *shape, "input", transform_state="normalized")
        spec = DatasetSpec("batched", (field,), {}, documents={"transforms": "{}"})
        path = _write(folder / "batched.h5", spec, _parts(rows, self._rows, row_bytes))
        _certify(path, rows * TIME * CHANNELS)
        return Made(folder, path, rows, rows * row_bytes)

    def _rows(self, rng: np.random.Generator, start: int, count: int) -> dict[str, Array]:
        found = _normal(rng, (count, TIME, CHANNELS))
        found[:, 0, 0] = np.arange(start, start + count)
        return {"inputs": found}


def _certify(path: Path, values: int) -> Manifest:
    """A certificate and a lock beside a dataset, without a look at its values: what is compared is not that look."""
    contents = read_manifest(path)
    name, rows = contents.spec.name, contents.spec.rows
    finite = Finding(True, values, values, 0.0, "all finite", "every value is finite", "")
    report = Report(
        *(name, contents.spec.version, contents.root, "", "", rows, values),
        results=(CheckResult("finite", contents.spec.fields[0].name, finite),),
    )
    body = statement.compose(
        contents,
        schema={"digest": "", "text": ""},
        report=report.to_dict(),
        registry_digest="",
        baselines={},
        created=_CREATED,
    )
    sealed = envelope.seal(body)
    envelope.path_of(path).write_bytes(sealed)
    digest = envelope.open_envelope(sealed, path="").digest
    lock.pin(path.parent / lock.NAME, name, lock.Pin(contents.spec.version, contents.root, digest, _CREATED))
    return contents


@dataclass(slots=True)
class Datasets:
    """Every dataset that was made below ``folder``; ``size`` in bytes of the whole table scales them all."""

    folder: Path
    size: int
    made: dict[Recipe, Made] = field(default_factory=dict)

    def get(self, recipe: Recipe) -> Made:
        """The dataset of a recipe, made when it is first asked for."""
        if recipe not in self.made:
            self.made[recipe] = recipe.make(Path(mkdtemp(dir=self.folder)), self.size)
        return self.made[recipe]

    def keep(self, recipes: Iterable[Recipe]) -> None:
        """Remove the files of every other dataset."""
        wanted = set(recipes)
        for recipe in set(self.made) - wanted:
            shutil.rmtree(self.made.pop(recipe).folder, ignore_errors=True)


def _write(path: Path, spec: DatasetSpec, parts: Iterable[Rows], compression: str = "none") -> Path:
    write_dataset(path, spec, (), parts, {"stage": "benchmark"}, compression=compression)
    return path


def _parts(
    rows: int,
    make: Callable[[np.random.Generator, int, int], Mapping[str, Any]],
    row_bytes: int = 64,
    splits: tuple[float, float] = (1.0, 0.0),
) -> Iterator[Rows]:
    """Rows by and by, a generator seeded anew for each part; splits begin where a session does."""
    bounds = (
        [int(share * rows) // _SESSION * _SESSION for share in (splits[0], sum(splits))] if splits[1] else [rows, rows]
    )
    step = max(_PART_BYTES // row_bytes // _SESSION, 1) * _SESSION
    for split, start, stop in zip(("train", "val", "test"), (0, *bounds), (*bounds, rows), strict=True):
        for low in range(start, stop, step):
            count = min(step, stop - low)
            yield Rows(split, make(np.random.default_rng(low), low, count), {})


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape, np.float32)


@contextmanager
def _chunks_of(size: int) -> Iterator[None]:
    """Chunks of ``size`` bytes instead of 4 MiB: the number of chunks of a terabyte without its bytes."""
    usual = prep.blocks.CHUNK_BYTES
    prep.blocks.CHUNK_BYTES = size
    try:
        yield
    finally:
        prep.blocks.CHUNK_BYTES = usual

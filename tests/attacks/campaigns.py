"""Damage by chance, many times over: bits, blocks and files of certified datasets, and what a consumer then reads."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.certificate.tree import logical_root
from prep.checks import CHECKS
from prep.errors import PrepError, SchemaError
from prep.formats import create, open_container
from prep.gate import CertifiedDataset
from tests.attacks.tiny import VARIANTS, Tiny, admitted, build, everything, plain_values, same, small_chunks
from tests.torture.campaign import Order, Tally

_NAMES = ("inputs", "visible", "targets", "matrices", "episode", "split")


@dataclass(frozen=True)
class Target:
    """A certified project with all its files in memory, to damage and to put back."""

    tiny: Tiny
    says: dict[str, Any]
    files: dict[Path, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, tiny: Tiny) -> Target:
        """The dataset's files and its sidecars."""
        dataset = [tiny.path] if tiny.path.is_file() else [each for each in tiny.path.rglob("*") if each.is_file()]
        known = {each: each.read_bytes() for each in (*sorted(dataset), tiny.manifest, tiny.certificate)}
        return cls(tiny, said(admitted(tiny)), known)

    def restore(self, paths: list[Path]) -> None:
        """Put the files back as they were."""
        for path in paths:
            if path in self.files:
                if path.is_symlink() or path.is_dir():
                    remove(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.files[path])
            else:
                remove(path)

    def outcome(self) -> tuple[str, bool]:
        """What came of using the dataset as it is now: a finding where something is wrong, and whether it was refused.

        Anything but the certified values, everything that is said of them and an error of prep is wrong.
        """
        try:
            data = admitted(self.tiny)
            values = everything(data)
        except PrepError as error:
            if error.exit_code != (3 if self.tiny.path.exists() else 2):
                return f"exit code {error.exit_code}: {error.what}", True
            return "" if error.remedy else f"no remedy: {error.what}", True
        except Exception as error:
            return f"{type(error).__name__}: {error}", True
        if not same(values, self.tiny.values):
            return "other values were handed out", False
        return "" if said(data) == self.says else "something else was said of the values", False


def said(data: CertifiedDataset) -> dict[str, Any]:
    """All that a certified dataset says of its values."""
    return {
        "id": data.id,
        "version": data.version,
        "root": data.root,
        "fields": [each.to_dict() for each in data.spec.fields],
        "splits": dict(data.spec.splits),
        "documents": dict(data.documents),
        "attributes": dict(data.spec.attributes),
        "claims": json.loads(json.dumps(dict(data.statement.claims))),
    }


def remove(path: Path) -> None:
    """Whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def targets(folder: Path, **options: Any) -> list[Target]:
    """A certified project in every way prep stores data."""
    return [Target.of(build(folder / name, name, **options)) for name in VARIANTS]


def some_file(target: Target, chance: random.Random) -> Path:
    """A file of the dataset, more often a large one; a sidecar in one of four cases."""
    tiny = target.tiny
    if chance.random() < 0.25:
        return chance.choice([tiny.manifest, tiny.certificate])
    dataset = [each for each in target.files if each not in (tiny.manifest, tiny.certificate)]
    return chance.choices(dataset, [len(target.files[each]) + 256 for each in dataset])[0]


def bit_flips(order: Order) -> Tally:
    """One bit, anywhere in a dataset, its manifest or its certificate."""
    tally, chance = Tally(), order.random("flips")
    tried = targets(order.folder)
    while tally.runs < order.count and order.goes_on(tally):
        target = chance.choice(tried)
        path = some_file(target, chance)
        data = bytearray(target.files[path])
        place = chance.randrange(len(data))
        data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        finding, refused = target.outcome()
        tally.note(finding and f"{path.name}, a bit of byte {place}: {finding}", refused=refused)
        target.restore([path])
    return tally


def damage(order: Order) -> Tally:
    """Files cut short, grown, gone or exchanged; chunks swapped; blocks zeroed, moved or doubled."""
    tally, chance = Tally(), order.random("damage")
    tried = targets(order.folder / "own")
    others = {each.tiny.path.name: each for each in targets(order.folder / "others", seed=1, name="tiny")}
    older = {each.tiny.path.name: each for each in targets(order.folder / "older", seed=2, version="0.9.0")}
    while tally.runs < order.count and order.goes_on(tally):
        target = chance.choice(tried)
        kind = chance.choice(list(_DAMAGES))
        touched = _DAMAGES[kind](target, chance, chance.choice([others, older])[target.tiny.path.name])
        finding, refused = target.outcome()
        tally.note(finding and f"{kind} of {', '.join(path.name for path in touched)}: {finding}", refused=refused)
        target.restore(touched)
    return tally


def _rewritten(target: Target, path: Path, data: bytes) -> list[Path]:
    path.write_bytes(data)
    return [path]


def _cut(target: Target, chance: random.Random, _: Target) -> list[Path]:
    path = some_file(target, chance)
    data = target.files[path]
    return _rewritten(target, path, data[: chance.randrange(len(data))])


def _grown(target: Target, chance: random.Random, _: Target) -> list[Path]:
    path = some_file(target, chance)
    return _rewritten(target, path, target.files[path] + chance.randbytes(chance.choice([1, 16, 4096])))


def _zeroed(target: Target, chance: random.Random, _: Target) -> list[Path]:
    path = some_file(target, chance)
    data = bytearray(target.files[path])
    start, size = chance.randrange(len(data)), chance.choice([8, 64, 512, 4096])
    data[start : start + size] = bytes(len(data[start : start + size]))
    return _rewritten(target, path, bytes(data))


def _exchanged_blocks(target: Target, chance: random.Random, _: Target) -> list[Path]:
    path = some_file(target, chance)
    data = target.files[path]
    size = max(1, min(chance.choice([16, 64, 512]), len(data) // 2))
    one, other = sorted(chance.randrange(0, len(data) - size + 1) for _ in range(2))
    other = max(other, min(one + size, len(data) - size))
    changed = bytearray(data)
    changed[one : one + size], changed[other : other + size] = data[other : other + size], data[one : one + size]
    return _rewritten(target, path, bytes(changed[: len(data)]))


def _swapped_chunks(target: Target, chance: random.Random, _: Target) -> list[Path]:
    tiny = target.tiny
    name = chance.choice(_NAMES)
    count = tiny.contents.layouts[name].chunks
    places = [tiny.file_of(name, chance.randrange(count)) for _ in range(2)]
    blocks = [target.files[path][start : start + size] for path, start, size in places]
    changed = {path: bytearray(target.files[path]) for path, _, _ in places}
    for (path, start, _), block in zip(places, reversed(blocks), strict=True):
        changed[path][start : start + len(block)] = block
    for path, data in changed.items():
        path.write_bytes(data)
    return list(changed)


def _gone(target: Target, chance: random.Random, _: Target) -> list[Path]:
    path = some_file(target, chance)
    path.unlink()
    return [path]


def _emptied(target: Target, chance: random.Random, _: Target) -> list[Path]:
    return _rewritten(target, some_file(target, chance), b"")


def _noise(target: Target, chance: random.Random, _: Target) -> list[Path]:
    path = some_file(target, chance)
    return _rewritten(target, path, chance.randbytes(len(target.files[path])))


def _exchanged_files(target: Target, chance: random.Random, _: Target) -> list[Path]:
    one, other = chance.sample(list(target.files), 2)
    one.write_bytes(target.files[other])
    other.write_bytes(target.files[one])
    return [one, other]


def _foreign_files(target: Target, chance: random.Random, other: Target) -> list[Path]:
    """One file, some, or all of another dataset of the same name and shape."""
    pairs = [(path, other.tiny.folder / path.relative_to(target.tiny.folder)) for path in target.files]
    pairs = [each for each in pairs if each[1] in other.files]
    chosen = chance.sample(pairs, chance.choice([1, 1, 2, len(pairs)]))
    for path, source in chosen:
        path.write_bytes(other.files[source])
    return [path for path, _ in chosen]


def _stranger(target: Target, chance: random.Random, _: Target) -> list[Path]:
    """A file more in a folder; behind the data in a file."""
    if target.tiny.path.is_file():
        return _grown(target, chance, target)
    path = target.tiny.path / chance.choice(["x", "inputs/c/9", "inputs/x", "zarr.json.bak", "more/zarr.json"])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(chance.randbytes(chance.choice([0, 1, 600])))
    return [path] if path.parent.name != "more" else [path, path.parent]


def _linked(target: Target, chance: random.Random, _: Target) -> list[Path]:
    path = some_file(target, chance)
    aside = target.tiny.folder / "aside"
    os.replace(path, aside)
    path.symlink_to(aside)
    return [path, aside]


_DAMAGES: dict[str, Callable[[Target, random.Random, Target], list[Path]]] = {
    "truncation": _cut,
    "growth": _grown,
    "zeroed block": _zeroed,
    "exchange of blocks": _exchanged_blocks,
    "swap of chunks": _swapped_chunks,
    "loss": _gone,
    "emptying": _emptied,
    "noise": _noise,
    "exchange of files": _exchanged_files,
    "foreign files": _foreign_files,
    "a stranger": _stranger,
    "a link": _linked,
}

_TYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")


def one_root(order: Order) -> Tally:
    """Random datasets in HDF5 and in Zarr under every codec: one logical root, the same values."""
    tally, chance = Tally(), order.random("roots")
    order.folder.mkdir(parents=True, exist_ok=True)
    while tally.runs < order.count and order.goes_on(tally):
        rng = np.random.default_rng(chance.getrandbits(32))
        spec, arrays = random_dataset(rng)
        roots, values = set(), set()
        with small_chunks(sharded=bool(rng.integers(2))):
            for ending, compressions in ((".h5", ("none", "gzip")), (".zarr", ("none", "zstd", "gzip"))):
                compression = str(rng.choice(compressions))
                path = order.folder / f"x{ending}"
                with create(path, spec, compression) as writer:
                    for name, array in arrays.items():
                        writer.write(name, array)
                    container = writer.commit(spec)
                    digests = writer.digests
                roots.add(logical_root(container.spec, container.layouts, digests))
                roots.add(logical_root(open_container(path).spec, open_container(path).layouts, digests))
                values.add(same(plain_values(path), arrays))
                remove(path)
        wrong = f"{len(roots)} roots" if len(roots) != 1 else "other values" if values != {True} else ""
        tally.note(wrong and f"{spec}: {wrong}", refused=False)
    return tally


def random_dataset(rng: np.random.Generator) -> tuple[DatasetSpec, dict[str, Array]]:
    """Fields of random types and shapes, of up to 150 rows in up to three splits; any bits that a type may have."""
    rows = int(rng.integers(1, 150))
    cuts = sorted(int(each) for each in rng.integers(0, rows + 1, 2))
    splits = {"train": (0, cuts[0]), "val": (cuts[0], cuts[1]), "test": (cuts[1], rows)}
    fields, arrays = [], {}
    for index in range(int(rng.integers(1, 6))):
        shape = tuple(int(size) for size in rng.integers(1, 6, rng.integers(0, 3)))
        dtype = np.dtype(str(rng.choice(_TYPES)))
        name = f"f{index}"
        dims = ("sample", *(f"d{index}_{place}" for place in range(len(shape))))
        fields.append(FieldSpec(name, dtype, dims, shape, "aux", units=str(rng.choice(["", "m", "1"]))))
        size = rows * int(np.prod(shape, dtype=int))
        values = np.frombuffer(rng.bytes(size * dtype.itemsize), dtype)
        if dtype.kind == "b":
            values = rng.integers(0, 2, size).astype(bool)
        arrays[name] = values.reshape(rows, *shape).copy()
    return DatasetSpec(f"random{rows}", tuple(fields), splits), arrays


def against_pandera(order: Order) -> Tally:
    """Random data and bounds: the engine over the stored chunks says what vanilla pandera says of them in memory."""
    from tests.laws.test_checks import CASES, describe, in_memory, made
    from tests.laws.test_oracle import from_disk, random_data, stored

    tally, chance = Tally(), order.random("pandera")
    names = list(CHECKS.names())
    order.folder.mkdir(parents=True, exist_ok=True)
    while tally.runs < order.count and order.goes_on(tally):
        name, seed = names[tally.runs % len(names)], chance.randrange(2, 1 << 30)
        bounds = {key: moved(key, value, chance) for key, value in CASES[name].statistics.items()}
        arrays = random_data(name, seed)
        path = order.folder / f"x.{chance.choice(['h5', 'zarr'])}"
        for case in (replace(CASES[name], statistics=bounds), CASES[name]):
            try:
                with mock.patch("prep.blocks.SEGMENT_BYTES", 8 * describe(case, made(case)).row_bytes):
                    finding = from_disk(name, case, stored(path, describe(case, arrays), arrays))
            except SchemaError:  # such bounds make no sense; those of the case do
                continue
            passed, samples = in_memory(name, case, arrays)
            break
        told = (finding.passed, finding.failing, list(finding.samples))
        expected = (passed, *told[1:]) if samples is None else (passed, len(samples), samples[:10])
        wrong = "" if told == expected else f"{name}, seed {seed}: {told} here, {expected} there"
        tally.note(wrong, refused=not passed)
        remove(path)
    return tally


def moved(key: str, value: Any, chance: random.Random) -> Any:
    """A bound of a check a little elsewhere; everything else as it was."""
    if isinstance(value, float) and key.endswith(("limit", "_max", "tolerance", "high", "low")):
        return value * chance.choice([0.5, 0.9, 1.0, 1.1, 2.0])
    return value

"""What the episodes of a Minari file hold, and everything that must fit before one row of them is taken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from prep.blocks import named_dtype, row_ranges
from prep.errors import DataError, IntegrityError, UsageError, Where
from prep.importers.columns import storable
from prep.importers.hdf5tree import Hdf5Tree
from prep.importers.minari_leaves import PARTS, Leaf

_EPISODE = re.compile(r"episode_(0|[1-9][0-9]*)")
_SCAN_ROWS = 1 << 16
_NUMERIC = {"Box", "Discrete", "MultiDiscrete", "MultiBinary"}
_SMALLEST_IMAGE = 32  # minari encodes uint8 boxes of at least 32 by 32 as JPEG


@dataclass(frozen=True, slots=True)
class Survey:
    """All episodes 0 … E-1: their leaves (equal in all), steps of each (int64), what was noticed and not taken."""

    leaves: tuple[Leaf, ...]
    steps: NDArray[np.int64]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]


def survey(tree: Hdf5Tree, metadata: Mapping[str, Any]) -> Survey:
    """Read every episode once: structure, lengths, end flags and non-finite values.

    `DataError` where episodes are missing, differ or do not fit themselves, `IntegrityError` where they do not add up
    to the totals in ``metadata``, `UsageError` for values that fields cannot hold (JPEG images).
    """
    count, others = _numbered(tree)
    leaves, left_out = _leaves(tree, 0)
    _against_spaces(tree, leaves, metadata)
    findings = _Findings()
    steps = np.array([_episode(tree, number, leaves, findings) for number in range(count)], np.int64)
    for key, found in (("total_episodes", count), ("total_steps", int(steps.sum()))):
        if key not in metadata:
            findings.notes.append(f"the metadata has no {key}, so nothing tells whether episodes are missing")
        elif not np.array_equal(metadata[key], found):
            raise IntegrityError(
                "the file does not hold what its metadata promises",
                where=Where(path=str(tree.path), key=key),
                measured=f"{found} in the episodes",
                allowed=f"{metadata[key]} in the metadata",
                remedy="the dataset was cut short or edited by hand; download or collect it again",
            )
    notes = [f"{path!r} holds text and was left out" for path in left_out]
    notes += [f"{name!r} is not an episode and was left out" for name in others]
    return Survey(tuple(leaves), steps, (*notes, *findings.summary()), (*left_out, *others, *_infos(tree)))


class _Findings:
    """Counts of what is kept but should be known."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._counts: dict[str, tuple[int, str]] = {}

    def count(self, what: str, number: int, place: str) -> None:
        """Add ``number`` cases, the first of them at ``place``."""
        if number:
            before, first = self._counts.get(what, (0, place))
            self._counts[what] = (before + number, first)

    def summary(self) -> list[str]:
        """One line for each kind of finding."""
        return self.notes + [
            f"{what}: {number}, the first in {first}" for what, (number, first) in self._counts.items()
        ]


def _numbered(tree: Hdf5Tree) -> tuple[int, list[str]]:
    numbers, others = [], []
    for name in tree.names(tree.root):
        match = _EPISODE.fullmatch(name)
        numbers.append(int(match[1])) if match else others.append(name)
    if not numbers:
        raise UsageError(
            "this is not a Minari dataset: it has no episodes",
            where=Where(path=str(tree.path)),
            measured=", ".join(others[:10]) or "an empty file",
            allowed="groups episode_0, episode_1, …",
            remedy="name the right source, or describe an ordinary HDF5 file with a mapping file",
        )
    absent = sorted(set(range(max(numbers) + 1)) - set(numbers)) if max(numbers) < 2 * len(numbers) + 1000 else []
    if absent or max(numbers) + 1 != len(numbers):
        raise DataError(
            "the episodes are not numbered without gaps",
            where=Where(path=str(tree.path)),
            measured=f"no episode {', '.join(map(str, absent[:10]))}" if absent else f"up to episode {max(numbers)}",
            allowed=f"episodes 0 to {len(numbers) - 1}",
            remedy="episodes were lost or deleted by hand; download or collect the dataset again",
        )
    return len(numbers), others


def _group(tree: Hdf5Tree, number: int) -> h5py.Group:
    member = tree.member(tree.root, f"episode_{number}")
    missing = [part for part in PARTS if not isinstance(member, h5py.Group) or not tree.has(member, part)]
    if missing:
        raise DataError(
            f"episode {number} is incomplete",
            where=Where(path=str(tree.path), key=f"episode_{number}"),
            measured=f"no {', '.join(missing)}",
            allowed=", ".join(PARTS),
            remedy="collect the episode again, or remove it with minari (dataset.filter_episodes) and save the rest",
        )
    return member


def _leaves(tree: Hdf5Tree, number: int) -> tuple[list[Leaf], list[str]]:
    """Numeric leaves of an episode in the order of `PARTS`, tuples by number, and the paths of text."""
    leaves, text = [], []
    group = _group(tree, number)
    for part in PARTS:
        member = tree.member(group, part)
        found = [(part, member)] if isinstance(member, h5py.Dataset) else list(_below(tree, member, part))
        for path, dataset in found:
            if h5py.check_string_dtype(dataset.dtype):
                text.append(path)
                continue
            where = Where(path=str(tree.path), key=f"episode_{number}/{path}")
            if h5py.check_vlen_dtype(dataset.dtype):
                raise _images(where)
            storable(dataset.dtype, where)
            leaves.append(Leaf(path, dataset.dtype, tuple(dataset.shape[1:])))
    names = [leaf.name for leaf in leaves]
    if len(set(names)) < len(names) or not {leaf.part for leaf in leaves} == set(PARTS):
        raise UsageError(
            "the spaces of this dataset do not give one field for each array",
            where=Where(path=str(tree.path), key=f"episode_{number}"),
            measured=", ".join(leaf.path for leaf in leaves),
            allowed="numbers in each of " + ", ".join(PARTS) + ", under different names",
            remedy="save the dataset with other keys, or with numbers instead of text",
        )
    return leaves, text


def _below(tree: Hdf5Tree, group: h5py.Group, part: str) -> Iterator[tuple[str, h5py.Dataset]]:
    found = [(f"{part}/{path}", dataset) for path, dataset in tree.datasets(group)]

    def by_number(entry: tuple[str, h5py.Dataset]) -> list[tuple[int, str]]:
        return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"([0-9]+)", entry[0])]

    yield from sorted(found, key=by_number)


def _episode(tree: Hdf5Tree, number: int, leaves: list[Leaf], findings: _Findings) -> int:
    """Steps of one episode, after everything about it has been compared."""
    group = _group(tree, number)
    attributes = tree.attributes(group, ("id", "total_steps", "total_timesteps"))
    where = Where(path=str(tree.path), key=f"episode_{number}")
    steps = -1
    for leaf in sorted(leaves, key=lambda leaf: leaf.part != "rewards"):
        dataset = tree.dataset(f"episode_{number}/{leaf.path}")
        if dataset is None or (dataset.dtype, tuple(dataset.shape[1:])) != (leaf.dtype, leaf.shape):
            raise DataError(
                f"episode {number} has another structure than episode 0",
                where=Where(path=str(tree.path), key=f"episode_{number}/{leaf.path}"),
                measured="nothing there" if dataset is None else f"dtype {dataset.dtype}, rows of {dataset.shape[1:]}",
                allowed=f"dtype {leaf.dtype}, rows of {leaf.shape}",
                remedy="collect all episodes with the same spaces",
            )
        length = int(dataset.shape[0])
        steps = length if steps < 0 else steps
        if length != steps + leaf.extra or steps == 0:
            raise DataError(
                f"the lengths in episode {number} do not fit",
                where=Where(path=str(tree.path), key=f"episode_{number}/{leaf.path}"),
                measured=f"{length} {leaf.part} for {steps} rewards",
                allowed=f"{steps + leaf.extra}, and at least one step",
                remedy="T steps have T + 1 observations and T of everything else; write the dataset with minari",
            )
        _scan(tree, dataset, leaf, number, findings)
    for key, found in (("id", number), ("total_steps", steps), ("total_timesteps", steps)):
        if key in attributes and not np.array_equal(attributes[key], found):
            raise DataError(
                f"episode {number} contradicts its own attributes",
                where=Where(path=where.path, key=f"{where.key}@{key}"),
                measured=str(attributes[key]),
                allowed=f"{found}, as its name and arrays say",
                remedy="the file was edited by hand; download or collect the dataset again",
            )
    return steps


def _scan(tree: Hdf5Tree, dataset: h5py.Dataset, leaf: Leaf, number: int, findings: _Findings) -> None:
    if leaf.dtype.kind in "fc":
        for start, stop in row_ranges(int(dataset.shape[0]), _SCAN_ROWS):
            values = tree.read(dataset, start, stop)
            finite = np.isfinite(values).reshape(len(values), -1)
            if not finite.all():
                step = start + int(np.flatnonzero(~finite.all(axis=1))[0])
                missing = int(np.isnan(values).sum())
                place = f"episode {number}, step {step}"
                findings.count(f"NaN in {leaf.name}", missing, place)
                findings.count(f"infinities in {leaf.name}", finite.size - int(finite.sum()) - missing, place)
    elif leaf.path in ("terminations", "truncations"):
        early = np.flatnonzero(tree.read(dataset, 0, int(dataset.shape[0]) - 1).reshape(-1))
        if len(early):
            findings.count(f"{leaf.path} before the last step", len(early), f"episode {number}, step {int(early[0])}")


def _against_spaces(tree: Hdf5Tree, leaves: list[Leaf], metadata: Mapping[str, Any]) -> None:
    """Compare episode 0 with the spaces that the metadata declares: kind of number, and shape of a row."""
    for part in ("observations", "actions"):
        text = metadata.get(f"{part.removesuffix('s')}_space")
        if not isinstance(text, str):
            continue
        try:
            declared = dict(_space_leaves(json.loads(text), part))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise IntegrityError(
                f"the {part.removesuffix('s')} space in the metadata cannot be read: {error}",
                where=Where(path=str(tree.path), key=f"{part.removesuffix('s')}_space"),
                remedy="the metadata is damaged; download or collect the dataset again",
            ) from error
        for leaf in leaves:
            if leaf.part != part or leaf.path not in declared:
                continue
            dtype, shape = declared[leaf.path]
            where = Where(path=str(tree.path), key=f"episode_0/{leaf.path}")
            large = [size for size in shape[:2] if size >= _SMALLEST_IMAGE]
            if dtype == np.uint8 and len(shape) in (2, 3) and len(large) == 2 and leaf.shape != shape:
                raise _images(where)
            if leaf.shape != shape or leaf.dtype.kind != dtype.kind:
                raise DataError(
                    "stored values are not of the declared space",
                    where=where,
                    measured=f"dtype {leaf.dtype}, shape {leaf.shape}",
                    allowed=f"dtype {dtype}, shape {shape}",
                    remedy="collect the dataset again, or declare the space that the environment really has",
                )


def _space_leaves(space: Any, path: str) -> Iterator[tuple[str, tuple[np.dtype[Any], tuple[int, ...]]]]:
    kind = space["type"]
    if kind == "Dict":
        for key, inner in space["subspaces"].items():
            yield from _space_leaves(inner, f"{path}/{key}")
    elif kind == "Tuple":
        for index, inner in enumerate(space["subspaces"]):
            yield from _space_leaves(inner, f"{path}/_index_{index}")
    elif kind in _NUMERIC:
        sizes = {
            "Box": space.get("shape"),
            "Discrete": (),
            "MultiDiscrete": np.shape(space.get("nvec")),
            "MultiBinary": np.atleast_1d(space.get("n", 0)),
        }[kind]
        yield path, (named_dtype(space.get("dtype", "int8")), tuple(int(size) for size in sizes))


def _images(where: Where) -> UsageError:
    return UsageError(
        "the dataset holds JPEG-encoded images, which are not numbers yet",
        where=where,
        measured="encoded bytes",
        allowed="arrays of numbers",
        remedy="collect with minari.DataCollector(env, jpeg_encoding=False), or save features of the images",
    )


def _infos(tree: Hdf5Tree) -> list[str]:
    group = tree.member(tree.root, "episode_0")
    if not isinstance(group, h5py.Group) or not tree.has(group, "infos"):
        return []
    infos = tree.member(group, "infos")
    return ["infos"] if isinstance(infos, h5py.Dataset) or tree.names(infos) else []

"""Minari datasets in HDF5: one row a transition, whole episodes on one side of a split.

Field names are the path in an episode with ``_`` for ``/``: a `Dict` space gives ``observations_<key>``, a `Tuple`
space ``observations_index_<k>``. Row t of T of an episode holds ``observations`` t, ``actions`` t, ``rewards`` t, the
observation that followed as ``next_observations`` (so the T + 1-th is not lost), ``terminations``, ``truncations``, and
the ids ``episode`` and ``step``. Read are files of minari 0.5 (metadata beside them) and older (in root attributes).
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prep.blocks import SPLITS, Array, FieldSpec, Role
from prep.errors import IntegrityError, UsageError, Where
from prep.importers import Blocks, IngestOptions, Opened
from prep.importers.ahead import read_ahead
from prep.importers.columns import Source, storable
from prep.importers.foreign import ForeignHdf5, has_member, looks_like_hdf5
from prep.importers.mapped import MappedHdf5
from prep.importers.mapping import checked_roles
from prep.importers.minari_leaves import METADATA, PARTS, Leaf
from prep.importers.sources import existing, identify, storage_errors
from prep.importers.splitting import checked_fractions, divide_groups

DATA_FILE, METADATA_FILE = "main_data.hdf5", "metadata.json"
READ_BYTES = 8 << 20
MAX_METADATA_BYTES = 64 << 20
_PREFIX = "minari:"
_ROLES = {"observations": "input", "actions": "target"}
# What is compared with the episodes.
_COMPARED = ("total_episodes", "total_steps", "observation_space", "action_space")
Piece = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Found:
    """All episodes: their leaves, steps of each (int64), what was noticed and not taken, what the metadata say."""

    leaves: tuple[Leaf, ...]
    steps: NDArray[np.int64]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
    metadata: Mapping[str, str]


class Minari:
    """A Minari dataset by id (``minari:pendulum/expert-v0``) or by path to its directory or its HDF5 file."""

    name = "minari"

    def recognises(self, source: str) -> bool:
        """By prefix, or by what minari calls its files, or by a group ``episode_0``."""
        path = Path(source)
        if source.startswith(_PREFIX) or path.name == DATA_FILE:
            return True
        if path.is_dir():
            return any((path / place / METADATA_FILE).is_file() for place in (".", "data"))
        return looks_like_hdf5(path) and has_member(path, "episode_0")

    def survey(self, source: str) -> Source:
        """The arrays of all episodes, as those of any HDF5 file."""
        return MappedHdf5().survey(str(locate(source)))

    def open(self, source: str, options: IngestOptions) -> Opened:
        """Every episode is checked (see `minari_episodes.survey`) before a row is taken. Inputs are observations,
        targets actions.
        """
        fractions = checked_fractions(options.fractions, options.seed)
        if options.mapping or options.group not in ("", "episode"):
            raise UsageError(
                "a Minari dataset has its own fields and groups",
                measured="a mapping file" if options.mapping else f"group {options.group!r}",
                allowed="no mapping, group 'episode'",
                remedy="set roles to choose inputs and targets, for example rewards=target",
            )
        data = locate(source)
        sidecar = data.parent / METADATA_FILE
        inputs = identify(data.parent, [data, sidecar] if sidecar.is_file() else [data])
        foreign = ForeignHdf5(data)
        found = _surveyed(foreign, _sidecar(sidecar) if sidecar.is_file() else None)
        where = Where(path=str(data))
        assigned = divide_groups(len(found.steps), fractions, options.seed, "episodes", where)
        fields = _fields(found.leaves, options.roles, where)
        step = max(READ_BYTES // sum(spec.row_bytes for spec in fields), 1)
        episodes = {name: np.flatnonzero(assigned == code) for code, name in enumerate(SPLITS)}

        def read() -> Blocks:
            inputs.unchanged()
            for name, numbers in episodes.items():
                for pieces in _pieces(numbers, found.steps, step):
                    yield name, _rows(foreign, pieces, found.leaves)
            inputs.unchanged()

        def blocks() -> Blocks:
            return read_ahead(read(), foreign.abandon)

        notes = {
            "importer": self.name,
            "inputs": inputs.notes(),
            "columns": {leaf.name: leaf.path for leaf in found.leaves},
            "split": {
                "by": "group",
                "column": "episode",
                "groups": {name: len(numbers) for name, numbers in episodes.items()},
                "fractions": list(fractions),
                "seed": options.seed,
            },
            "left_out": list(found.left_out),
            "metadata": dict(found.metadata),
        }
        rows = {name: int(found.steps[numbers].sum()) for name, numbers in episodes.items()}
        return Opened(fields, rows, "episode", notes, found.warnings, blocks)


def locate(source: str) -> Path:
    """The HDF5 file of a dataset id, a dataset directory, its data directory, or the file itself."""
    name = source.removeprefix(_PREFIX)
    path = Path(name).expanduser()
    if source.startswith(_PREFIX) and not path.exists():
        root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
        path = root / name
        if not path.is_dir():
            stores = root.glob(f"**/data/{METADATA_FILE}")
            known = [store.parent.parent.relative_to(root).as_posix() for store in stores]
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"there is no Minari dataset {name!r} on this machine",
                where=Where(path=str(root)),
                measured=name,
                allowed=", ".join(sorted(known)[:20]) or "nothing is there yet",
                remedy=f"did you mean {close[0]!r}?" if close else f"fetch it first: minari download {name}",
            )
    existing(path)
    if path.is_file():
        return path
    for folder in (path, path / "data"):
        if (folder / DATA_FILE).is_file():
            return folder / DATA_FILE
    places = (path / METADATA_FILE, path / "data" / METADATA_FILE)
    stored = next((_sidecar(place) for place in places if place.is_file()), {})
    raise UsageError(
        "there is no Minari data in HDF5 here",
        where=Where(path=str(path)),
        measured=f"data format {stored['data_format']}" if "data_format" in stored else f"no {DATA_FILE}",
        allowed=f"{DATA_FILE} in the directory or in its directory data",
        remedy="collect or convert the dataset with data_format='hdf5'",
    )


def _sidecar(path: Path) -> dict[str, Any]:
    with storage_errors(path), path.open("rb") as file:
        text = file.read(MAX_METADATA_BYTES + 1)
    try:
        # Not the strict parser: minari writes the bounds of unbounded spaces as Infinity.
        value = json.loads(text) if len(text) <= MAX_METADATA_BYTES else None
    except (ValueError, RecursionError):
        value = None
    counts = [value.get(key, 0) for key in ("total_episodes", "total_steps")] if isinstance(value, dict) else []
    if not isinstance(value, dict) or not all(_is_count(count) for count in counts):
        raise IntegrityError(
            "the metadata of this Minari dataset cannot be read",
            where=Where(path=str(path)),
            measured="broken JSON" if value is None else "total_episodes or total_steps is not a count",
            allowed="a JSON object as minari writes it",
            remedy="the file is damaged or was edited; download or collect the dataset again",
        )
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _fields(leaves: tuple[Leaf, ...], roles: Mapping[str, str], where: Where) -> tuple[FieldSpec, ...]:
    by_part: dict[str, list[FieldSpec]] = {}
    for leaf in leaves:
        dims = ("sample", *(f"{leaf.name}_{axis}" for axis in range(len(leaf.shape))))
        dtype = storable(leaf.dtype, where)
        role = cast(Role, _ROLES.get(leaf.part, "aux"))
        spec = FieldSpec(leaf.name, dtype, dims, leaf.shape, role, features=dims[1:][-1:])
        by_part.setdefault(leaf.part, []).append(spec)
        if leaf.extra:
            following = FieldSpec(f"next_{leaf.name}", dtype, dims, leaf.shape, "aux", features=dims[1:][-1:])
            by_part.setdefault("next", []).append(following)
    order = ("observations", "actions", "rewards", "next", "terminations", "truncations")
    ids = [FieldSpec(name, np.dtype(np.int64), ("sample",), (), "id") for name in ("episode", "step")]
    fields = [spec for part in order for spec in by_part[part]] + ids
    given = checked_roles(roles, [spec.name for spec in fields])
    if given.get("episode", "id") != "id":
        raise UsageError(
            "the episode cannot have another role, because the split goes by it",
            where=Where(path=where.path, field="episode"),
            measured=given["episode"],
            allowed="id",
            remedy="leave its role out",
        )
    return tuple(replace(spec, role=cast(Role, given.get(spec.name, spec.role))) for spec in fields)


def _pieces(numbers: NDArray[np.int64], steps: NDArray[np.int64], limit: int) -> Iterator[list[Piece]]:
    """Lists of (episode, first step, end) in order, each of at most ``limit`` steps together; long episodes are cut."""
    pieces: list[Piece] = []
    room = limit
    for number in numbers.tolist():
        start, end = 0, int(steps[number])
        while start < end:
            stop = min(end, start + room)
            pieces.append((number, start, stop))
            room -= stop - start
            start = stop
            if room == 0:
                yield pieces
                pieces, room = [], limit
    if pieces:
        yield pieces


def _surveyed(foreign: ForeignHdf5, metadata: dict[str, Any] | None) -> _Found:
    """All episodes, compared with the ``metadata`` beside the file, or with that in it."""
    compared = None if metadata is None else {key: metadata[key] for key in _COMPARED if _is_plain(metadata.get(key))}
    with foreign.understood():
        answer = foreign.ask("episodes", compared, most=foreign.size)
        leaves = tuple(
            Leaf(each["path"].text(), each["dtype"].dtype(), each["shape"].counts()) for each in answer["leaves"].list()
        )
        if {leaf.part for leaf in leaves} != set(PARTS) or len({leaf.name for leaf in leaves}) < len(leaves):
            raise ValueError("arrays that no episode has")
        steps = answer.array(0, np.dtype(np.int64), (answer["episodes"].count(),))
        if len(steps) == 0 or int(steps.min()) < 1:
            raise ValueError("episodes without steps")
        stated = {key: text.text() for key, text in answer["metadata"].items()} if metadata is None else metadata
        known = {key: str(stated[key]) for key in METADATA if key in stated}
        return _Found(leaves, steps, answer["warnings"].texts(), answer["left_out"].texts(), known)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int)


def _rows(foreign: ForeignHdf5, pieces: list[Piece], leaves: tuple[Leaf, ...]) -> dict[str, Array]:
    """The rows of some pieces."""
    lengths = [stop - start for _, start, stop in pieces]
    wanted: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = []
    for leaf in leaves:
        names = (leaf.name, f"next_{leaf.name}") if leaf.extra else (leaf.name,)
        dtype = storable(leaf.dtype, Where(field=leaf.name))
        wanted += [(name, dtype, (sum(lengths), *leaf.shape)) for name in names]
    most = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in wanted)
    with foreign.understood():
        answer = foreign.ask("transitions", {"pieces": pieces, "leaves": [leaf.path for leaf in leaves]}, most=most)
        rows = {name: answer.array(index, dtype, shape) for index, (name, dtype, shape) in enumerate(wanted)}
    rows["episode"] = np.repeat(np.array([number for number, _, _ in pieces], np.int64), lengths)
    rows["step"] = np.concatenate([np.arange(start, stop, dtype=np.int64) for _, start, stop in pieces])
    return rows

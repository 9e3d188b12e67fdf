"""A folder of files that are the parts of one source: an episode a file, or a table cut into files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from prep.blocks import Array
from prep.importers.columns import Source
from prep.importers.joined import one_after_the_other
from prep.importers.sources import identify

_EPISODE = re.compile(r"(episode|demo|traj|trajectory|rollout)[_-]?(\d+)", re.IGNORECASE)
_PART = re.compile(r"(part|file|chunk|shard|episode|train|data)[_-]?\d+([_-].*)?", re.IGNORECASE)
_OPEN = 2
Survey = Callable[[str], Source]


def parts_of(folder: Path) -> tuple[str, list[Path]]:
    """(``episodes`` or ``table``, files in order) where a folder is one source; ``("", [])`` for any other.

    Episodes are HDF5 files ``episode_<n>`` side by side (ACT, ALOHA); a table is Parquet files that are numbered,
    in numbered folders or not (LeRobot, Spark).
    """
    hdf5 = [each for each in folder.iterdir() if each.suffix.lower() in (".h5", ".hdf5") and each.is_file()]
    numbers = {each: match[2] for each in hdf5 if (match := _EPISODE.fullmatch(each.stem))}
    if len(hdf5) > 1 and len(numbers) == len(hdf5):
        return "episodes", sorted(hdf5, key=lambda each: int(numbers[each]))
    place = folder / "data" if (folder / "meta" / "info.json").is_file() else folder
    tables = sorted(place.rglob("*.parquet")) if place.is_dir() else []
    if tables and (place != folder or (len(tables) > 1 and all(_PART.fullmatch(each.stem) for each in tables))):
        return "table", [each for each in tables if not each.is_symlink()]
    return "", []


def survey_parts(kind: str, folder: Path, files: Sequence[Path], survey: Survey) -> Source:
    """Files of a `parts_of` kind as one source: episodes as groups of the files' names, tables one after the other."""
    kept = _Kept(survey)
    found = {file: survey(str(file)) for file in files}
    columns = []
    for file, each in found.items():
        for column in each.columns:
            place = f"{file.stem}/{column.path}" if kind == "episodes" else column.path
            columns.append((file, replace(column, path=place, reader=partial(_reopened, kept, file, column.path))))
    first = next(iter(found.values()))
    warnings = tuple(dict.fromkeys(text for each in found.values() for text in each.warnings))
    inputs = identify(folder, files)
    if kind == "episodes":
        return Source(first.importer, str(folder), tuple(column for _, column in columns), inputs, warnings)
    joined, left_out = [], []
    for column in first.columns:
        parts = [each for _, each in columns if each.path == column.path]
        if len(parts) == len(files) and len({(part.dtype, part.shape[1:]) for part in parts}) == 1:
            joined.append(one_after_the_other(column.path, [(part, part.shape[0]) for part in parts if part.shape[0]]))
        else:
            left_out.append(column.path)
    warnings += tuple(f"column {name!r} was left out: files differ in it" for name in left_out)
    return Source(first.importer, str(folder), tuple(joined), inputs, warnings, tuple(left_out))


class _Kept:
    """The files that were read last, open; others are closed."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._open: dict[Path, Source] = {}

    def source(self, file: Path) -> Source:
        """What is in a file."""
        if file not in self._open:
            while len(self._open) >= _OPEN:
                del self._open[next(iter(self._open))]
            self._open[file] = self._survey(str(file))
        return self._open[file]


@contextmanager
def _reopened(kept: _Kept, file: Path, path: str) -> Iterator[Callable[[int, int], Array]]:
    found = kept.source(file)
    found.vet([path])
    with found.find(path, "").reader() as read:
        yield read

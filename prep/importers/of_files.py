"""A folder of files that are the parts of one source: an episode a file, or a table cut into files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from prep.blocks import Array
from prep.errors import UsageError, Where
from prep.importers import IMPORTERS, IngestOptions, Opened
from prep.importers.aligned import open_columns
from prep.importers.arranged import as_one
from prep.importers.columns import Source
from prep.importers.joined import one_after_the_other
from prep.importers.sources import existing, identify

_EPISODE = re.compile(r"(episode|demo|traj|trajectory|rollout)[_-]?(\d+)", re.IGNORECASE)
_PART = re.compile(r"(part|file|chunk|shard|episode|train|data)[_-]?\d+([_-].*)?", re.IGNORECASE)
_OPEN = 2
Survey = Callable[[str], Source]


class Folder:
    """A folder that is one source: HDF5 files ``episode_<n>`` side by side, or a table cut into Parquet files."""

    name = "folder"

    def recognises(self, source: str) -> bool:
        """By the names of the files; not where a file that prep reads is no part of it."""
        try:
            return bool(source) and Path(source).is_dir() and bool(parts_of(Path(source))[0])
        except OSError:
            return False

    def open(self, source: str, options: IngestOptions) -> Opened:
        """See `survey`."""
        found = self.survey(source)
        return open_columns(*(as_one(found, options) or (found, options)))

    def survey(self, source: str) -> Source:
        """Episodes as groups of the files' names, the files of a table one after the other."""
        folder = existing(Path(source))
        kind, files = parts_of(folder) if folder.is_dir() else ("", [])
        if not kind:
            raise UsageError(
                "this folder is not one source",
                where=Where(path=str(folder)),
                allowed="HDF5 files episode_<n>, or numbered Parquet files, and nothing else that prep reads",
                remedy="name one of its files",
            )
        return _survey_parts(kind, folder, files, IMPORTERS.load(kind)().survey)


def parts_of(folder: Path) -> tuple[str, list[Path]]:
    """(importer of the parts, files in order) where a folder is one source; ``("", [])`` for any other.

    Episodes are HDF5 files ``episode_<n>`` side by side (ACT, ALOHA); a table is Parquet files that are numbered,
    in numbered folders or not (LeRobot, Spark). A file that prep reads and that is no part makes it none.
    """
    hdf5 = [each for each in folder.iterdir() if each.suffix.lower() in (".h5", ".hdf5") and each.is_file()]
    numbers = {each: match[2] for each in hdf5 if (match := _EPISODE.fullmatch(each.stem))}
    if len(hdf5) > 1 and len(numbers) == len(hdf5):
        files = sorted(hdf5, key=lambda each: int(numbers[each]))
        return ("hdf5", files) if _nothing_else(folder, files, ()) else ("", [])
    lerobot = (folder / "meta" / "info.json").is_file()
    place = folder / "data" if lerobot else folder
    tables = [each for each in sorted(place.rglob("*.parquet")) if not each.is_symlink()] if place.is_dir() else []
    if not tables or not (lerobot or (len(tables) > 1 and all(_is_part(folder, each) for each in tables))):
        return "", []
    beside = [folder / "meta", folder / "videos"] if lerobot else []
    return ("parquet", tables) if _nothing_else(folder, tables, beside) else ("", [])


def _is_part(folder: Path, file: Path) -> bool:
    above = file.relative_to(folder).parts[:-1]
    return bool(_PART.fullmatch(file.stem)) and all(_PART.fullmatch(each) or "=" in each for each in above)


def _nothing_else(folder: Path, parts: Sequence[Path], beside: Sequence[Path]) -> bool:
    """Whether prep reads nothing below ``folder`` but ``parts``, and what lies in the folders ``beside`` them."""
    known = {*parts, *beside}
    importers = [IMPORTERS.load(name)() for name in IMPORTERS if name != Folder.name]
    waiting = [folder]
    while waiting:
        for each in waiting.pop().iterdir():
            if each in known or each.is_symlink() or each.name.startswith("."):
                continue
            if any(importer.recognises(str(each)) for importer in importers):
                return False
            if each.is_dir():
                waiting.append(each)
    return True


def _survey_parts(kind: str, folder: Path, files: Sequence[Path], survey: Survey) -> Source:
    kept = _Kept(survey)
    found = {file: survey(str(file)) for file in files}
    columns = []
    for file, each in found.items():
        for column in each.columns:
            place = f"{file.stem}/{column.path}" if kind == "hdf5" else column.path
            columns.append((file, replace(column, path=place, reader=partial(_reopened, kept, file, column.path))))
    first = next(iter(found.values()))
    warnings = tuple(dict.fromkeys(text for each in found.values() for text in each.warnings))
    inputs = identify(folder, files)
    if kind == "hdf5":
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

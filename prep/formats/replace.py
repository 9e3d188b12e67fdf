"""What a new dataset may replace: nothing, or what prep wrote itself; never an input, never somebody else's files. And
what a text may not replace.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prep.errors import IntegrityError, UsageError, Where
from prep.formats import ENDINGS, SIDECARS
from prep.formats.commit import storage_errors
from prep.formats.hdf5_container import bears_mark
from prep.formats.layout import HDF5_SIGNATURE
from prep.formats.rules import MARK
from prep.formats.tree import DOCUMENTS

_SETTINGS = (".yaml", ".yml", ".toml", ".lock")
_ZARR_TREE = re.compile(r"[^/]+(/zarr\.json|(/c(/\d+)*)?)")


def demand_no_input(output: Path, inputs: Iterable[Path]) -> None:
    """`UsageError` where ``output`` is one of ``inputs``, holds one or lies in one, symbolic links resolved."""
    written = output.resolve()
    for each in inputs:
        read = each.resolve()
        if written == read or written in read.parents or read in written.parents or _same_file(output, each):
            raise UsageError(
                "the output would destroy an input",
                where=Where(path=str(output)),
                measured=f"{output} is written, {each} is read",
                allowed="an output apart from every input",
                remedy="name another output",
            )


def demand_text(output: Path, inputs: Iterable[Path] = ()) -> None:
    """`UsageError` where a text (JSON, a page, a table) at ``output`` would replace one of the files ``inputs``, a
    schema or lock, or would be, replace or lie in a dataset or a sidecar of one; symbolic links are resolved.
    """
    written = output.resolve()
    kind = ""
    endings = tuple(name.lower() for name in (output.name, written.name))
    if any(written == each.resolve() or _same_file(output, each) for each in inputs):
        kind = "a file that this command reads or writes besides"
    elif any(name.endswith(SIDECARS) for name in endings):
        kind = "a sidecar, which prep writes beside a dataset"
    elif any((folder / "zarr.json").is_file() for folder in (written, *written.parents)):
        kind = "a Zarr dataset, or a part of one"
    elif any(name.endswith(tuple(ENDINGS)) for name in endings) or _is_hdf5(output):
        kind = "a dataset"
    elif output.is_file() and any(name.endswith(_SETTINGS) for name in endings):
        kind = "a schema, a configuration or a lock"
    if kind:
        raise UsageError(
            "the output would take the place of other data",
            where=Where(path=str(output)),
            measured=kind,
            allowed="a file for a text, apart from datasets, their sidecars and every input",
            remedy="name another file for this output",
        )


def _is_hdf5(path: Path) -> bool:
    with suppress(OSError):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    return False


def demand_replaceable(path: Path, *, folder: bool, manifest: Path) -> None:
    """`UsageError` unless nothing is at ``path``, or a dataset that prep wrote, or (for a Zarr) an empty folder.

    ``folder`` says whether a Zarr is to be written there. A dataset is recognised by its root attribute; a damaged one
    by its ``manifest`` beside it; a Zarr without root metadata (a workflow removes that file before it runs a stage)
    also by holding nothing but prep's tree. Raises `StorageError` where it cannot be read.
    """
    with storage_errors(path):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(mode) == folder and (
            _is_own_zarr(path, manifest) if folder else stat.S_ISREG(mode) and _is_own_hdf5(path, manifest)
        ):
            return
    raise UsageError(
        "what is at the output is not a dataset that prep wrote" + (" as a folder" if folder else " as a file"),
        where=Where(path=str(path)),
        measured="a folder" if stat.S_ISDIR(mode) else "a file",
        allowed="nothing, or a dataset of prep" + (", or an empty folder" if folder else ""),
        remedy="move it away or name another output; prep replaces nothing that it did not write",
    )


def _is_own_hdf5(path: Path, manifest: Path) -> bool:
    with path.open("rb", buffering=0) as file:
        start = file.read(len(HDF5_SIGNATURE))
        # A file that the library cannot bear bears no mark.
        with suppress(IntegrityError):
            if start == HDF5_SIGNATURE:
                return bears_mark(path, file)
    return bool(start) and manifest.is_file()


def _is_own_zarr(path: Path, manifest: Path) -> bool:
    root = path / "zarr.json"
    if root.is_file():
        with suppress(ValueError, RecursionError):
            node = json.loads(root.read_bytes())
            attributes = node.get("attributes") if isinstance(node, dict) else None
            return isinstance(attributes, dict) and MARK in attributes
        return manifest.is_file()
    names = [each.relative_to(path).as_posix() for each in path.rglob("*")]
    if not names or manifest.is_file():
        return True
    return (path / DOCUMENTS / "zarr.json").is_file() and all(_ZARR_TREE.fullmatch(name) for name in names)


def _same_file(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False

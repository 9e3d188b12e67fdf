"""Whether a stored container is the one that a manifest describes, by files, sizes and metadata; no chunk is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prep.certificate.manifest import Manifest, path_of
from prep.certificate.metadata import metadata_digest
from prep.errors import IntegrityError, Where
from prep.formats.files import Files, LocalFiles, open_files, read_regular
from prep.formats.layout import ByteRange

_SMALL = 16 << 20


def match_container(place: Path | Files, contents: Manifest) -> None:
    """`IntegrityError` unless the container's kind, files, sizes and own metadata are those of the manifest; reads no
    chunk.
    """
    files = open_files(place)
    folder = files.is_folder()
    if folder != (contents.container == "zarr"):
        raise _another(files, "a folder" if folder else "a file", contents.container)
    if folder:
        _demand_files(files, contents)
    elif (size := files.size("")) != contents.size:
        raise IntegrityError(
            "the file does not have the certified size",
            where=Where(path=files.address),
            measured=f"{size} bytes",
            allowed=f"{contents.size} bytes",
            remedy="the file is truncated or was changed: restore it, or rebuild and certify it again",
        )
    found = metadata_digest(files, metadata_ranges(contents, files))
    if found != contents.metadata_digest:
        raise IntegrityError(
            "the container's metadata is not what was certified",
            where=Where(path=files.address),
            measured=found,
            allowed=contents.metadata_digest,
            remedy="the file was changed after it was certified: restore it, or rebuild and certify it again",
        )


def _demand_files(files: Files, contents: Manifest) -> None:
    """`IntegrityError` unless a folder holds the files that the manifest names, of the sizes it implies, and no
    others.
    """
    chunks = {
        layout.file_of(first): (layout.file_bytes(first), layout.spec.name, first)
        for layout in contents.layouts.values()
        for first in range(0, layout.chunks, layout.chunks_per_file)
    }
    named = {*contents.metadata_files, *chunks}
    bare = {f"{layout.spec.name}/c/" for layout in contents.layouts.values() if not layout.chunks}
    listed = files.listing(len(named) + len(bare))
    if listed is None:  # the store does not tell: what is asked for by name is verified all the same
        return
    emptied = {each for each in listed if each.endswith("/") and any(name.startswith(each) for name in named)}
    if odd := sorted(set(listed) - named - bare - emptied):
        raise IntegrityError(
            "there are files in the folder that the manifest does not name",
            where=Where(path=files.address),
            measured=f"{len(odd)}: {', '.join(odd[:5])}",
            allowed=f"{len(named)} files",
            remedy="remove them if you know where they come from; otherwise restore the dataset",
        )
    for name in sorted(named):
        size, field, first = chunks.get(name, (listed.get(name), "", None))
        if name not in listed or listed[name] != size:
            raise IntegrityError(
                "a file of the dataset is gone"
                if name not in listed
                else "a file of chunks does not have the certified size",
                where=Where(path=files.address, field=field, chunk=first, key=name),
                measured=f"{listed[name]} bytes" if name in listed else "no such file",
                allowed="a file" if size is None else f"{size} bytes",
                remedy="restore the dataset or build it again",
            )
    _demand_total(files, contents, sum(listed.values()))


def _demand_total(files: Files, contents: Manifest, total: int) -> None:
    if total != contents.size:
        raise IntegrityError(
            "the container's metadata is not what was certified",
            where=Where(path=files.address),
            measured=f"{total} bytes with the chunks",
            allowed=f"{contents.size} bytes",
            remedy="a file was changed: restore the dataset, or rebuild and certify it again",
        )


def _another(files: Files, measured: str, allowed: str) -> IntegrityError:
    return IntegrityError(
        "the dataset is not the kind of container that was certified",
        where=Where(path=files.address),
        measured=measured,
        allowed=allowed,
        remedy="restore the dataset with its sidecars",
    )


def manifest_bytes(path: Path) -> bytes:
    """The manifest beside a local dataset; `OSError` where there is none, `IntegrityError` for one out of all
    proportion to the dataset: nobody answers for it yet.
    """
    files = LocalFiles(path)
    listed = files.listing() if files.is_folder() else {"": files.size("")}
    files.close()
    limit = _SMALL + 2 * sum(listed.values())
    data = read_regular(path_of(path), limit)
    if len(data) > limit:
        raise IntegrityError(
            "the manifest is larger than one of such a dataset can be",
            where=Where(path=str(path_of(path))),
            measured=f"more than {limit} bytes",
            allowed=f"{limit} bytes",
            remedy="restore it, or run the stage that writes the dataset again",
        )
    return data


def metadata_ranges(contents: Manifest, place: Path | Files) -> Iterator[ByteRange]:
    """Every byte of the container that is no chunk, as the manifest implies it: whole files and the indices of shards,
    or the gaps between chunks.
    """
    files = open_files(place)
    if contents.container == "hdf5":
        yield from contents.gaps(files.address)
        return
    for name in contents.metadata_files:
        yield ByteRange(name, 0, _size_of(files, name))
    for layout in contents.layouts.values():
        yield from layout.indices()


def _size_of(files: Files, name: str) -> int:
    try:
        return files.size(name)
    except OSError as error:
        raise IntegrityError(
            "part of the dataset is gone",
            where=Where(path=files.address, key=name),
            measured=error.strerror,
            allowed=f"a file {name}",
            remedy="restore the dataset or build it again",
        ) from error

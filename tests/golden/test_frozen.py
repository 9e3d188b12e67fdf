"""Datasets that were certified once and are never made again: this version still verifies and reads them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import prep
from prep.errors import CertificateError, PrepError
from tests.attacks.tiny import arrays
from tests.golden import independent

HERE = Path(__file__).parent
FROZEN = sorted(each.parent for each in HERE.glob("*-by-*/*/trust.toml"))
ROOT = "blake3:88c66ccc29c3fff094891973e7832742a0d92a8fbc246bfa52e83aef80102f86"

pytestmark = pytest.mark.parametrize("frozen", FROZEN, ids=lambda each: f"{each.parent.name}/{each.name}")


def dataset(frozen: Path) -> Path:
    (path,) = frozen.glob("tiny.*[5r]")
    return path


def opened(frozen: Path, level: str = "sealed", path: Path | None = None) -> prep.CertifiedDataset:
    return prep.open(
        path or dataset(frozen),
        prep.Policy(level),
        lock_path=frozen / "prep.lock",
        trust_path=frozen / "trust.toml",
    )


def test_it_is_admitted_sealed_and_signed_and_every_chunk_holds(frozen: Path):
    for level in ("sealed", "signed"):
        data = opened(frozen, level)
        assert data.verify(deep=True) == data.manifest.chunks > 20
        assert (data.id, data.version, data.root) == ("tiny", "1.0.0", ROOT)


def test_a_verifier_that_knows_only_the_format_accepts_it(frozen: Path):
    assert independent.verify(dataset(frozen))["predicate"]["root"] == ROOT


def test_its_values_are_those_that_went_in(frozen: Path):
    data, raw = opened(frozen), arrays()
    episodes = data.rows("episode", 0, data.spec.rows)
    order = np.argsort(episodes, kind="stable")

    np.testing.assert_array_equal(episodes[order], raw["episode"])
    np.testing.assert_array_equal(data.rows("visible", 0, data.spec.rows)[order], raw["visible"])
    targets = data.transforms["targets"].invert(data.rows("targets", 0, data.spec.rows))
    np.testing.assert_allclose(targets[order], raw["targets"], rtol=1e-5, atol=1e-5)


def test_its_signature_is_enough_where_nobody_pinned_it(frozen: Path, tmp_path: Path):
    for each in frozen.iterdir():
        target = tmp_path / each.name.replace("tiny", "renamed")
        shutil.copytree(each, target) if each.is_dir() else shutil.copy(each, target)
    (tmp_path / "prep.lock").unlink()
    (path,) = tmp_path.glob("renamed.*[5r]")

    assert opened(tmp_path, "signed", path).standing.signers
    (tmp_path / "trust.toml").unlink()
    with pytest.raises(PrepError):
        opened(tmp_path, "signed", path)


def test_one_changed_byte_of_it_is_found(frozen: Path, tmp_path: Path):
    shutil.copytree(frozen, tmp_path / "copy")
    path = dataset(tmp_path / "copy")
    layout = opened(frozen).manifest.layouts["inputs"]
    place = path / layout.file_of(1) if layout.template else path
    data = bytearray(place.read_bytes())
    data[int(layout.offsets[1]) + 7] ^= 4
    place.write_bytes(data)

    with pytest.raises(PrepError, match="stored bytes changed") as caught:
        opened(tmp_path / "copy").verify()
    assert (caught.value.where.field, caught.value.where.chunk) == ("inputs", 1)


def test_the_certificate_of_another_is_refused(frozen: Path, tmp_path: Path):
    shutil.copytree(frozen, tmp_path / "copy")
    other = next(each for each in FROZEN if each != frozen)
    path = dataset(tmp_path / "copy")
    shutil.copy(f"{dataset(other)}.cert.json", f"{path}.cert.json")

    with pytest.raises(CertificateError):
        opened(tmp_path / "copy")

"""The page about the format is true: a verifier written from it alone agrees, and its test vectors come out."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from blake3 import blake3

import prep
from tests.conftest import ROOT, SYSTEMS, build, dataset_of
from tests.golden import independent

PAGE = (ROOT / "docs/certificate-format.md").read_text()


def vector(label: str) -> str:
    """The value that the page gives for ``label``."""
    found = re.search(rf"^    {re.escape(label)} *= (.*)$", PAGE, re.MULTILINE)
    assert found is not None, label
    return found[1].strip()


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_verifier_written_from_the_page_alone_accepts_what_prep_certifies(name: str, certified_project: Path):
    path = dataset_of(certified_project, name)
    predicate = independent.verify(path)["predicate"]

    assert predicate["dataset"] == name
    assert predicate["root"] in (certified_project / "prep.lock").read_text()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "blosc"])
@pytest.mark.parametrize("ending", [".h5", ".zarr"])
def test_it_accepts_every_compression(compression: str, ending: str, project: Path):
    raw = prep.generate("regression", output=f"data/raw/regression{ending}")
    statistics = prep.stats(raw, output="data/stats/regression.json")
    path = prep.normalize(raw, stats=statistics, output=f"data/normalized/regression{ending}", compression=compression)
    prep.certify(path)

    manifest = prep.open(path).manifest
    assert all(layout.codecs for layout in manifest.layouts.values())
    assert independent.verify(Path(path))["predicate"]["root"] == manifest.root


def test_it_refuses_one_changed_byte(certified_copy: Path):
    path = dataset_of(certified_copy, "regression")
    for place in (10, path.stat().st_size // 2, path.stat().st_size - 10):
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(AssertionError):
            independent.verify(path)
        data[place] ^= 1
        path.write_bytes(data)
    independent.verify(path)


def test_a_second_build_in_the_other_container_has_the_root_that_the_verifier_computes(certified_copy: Path):
    first = independent.verify(dataset_of(certified_copy, "regression"))["predicate"]["root"]
    second = build("regression", ".zarr")

    assert independent.verify(second)["predicate"]["root"] == first


def test_the_test_vectors_of_the_page_come_out():
    framed = independent.framed
    assert vector('framed("leaf")') == framed("leaf").hex()
    assert vector('framed("leaf", "")') == framed("leaf", b"").hex()
    assert vector('framed("node", "a", "bc")') == framed("node", b"a", b"bc").hex()
    assert vector('framed("node", "ab", "c")') == framed("node", b"ab", b"c").hex()
    assert vector('PAE("application/x", "hi")') == independent.pae("application/x", b"hi").decode()
    values = [struct.pack("<ff", 1, 2), struct.pack("<f", 3)]
    assert vector("logical digest of chunk 0 (8 bytes)") == blake3(values[0]).hexdigest()
    assert vector("logical digest of chunk 1 (4 bytes)") == blake3(values[1]).hexdigest()
    assert vector("stored digest of chunk 1 (8 bytes)") == blake3(struct.pack("<ff", 3, 0)).hexdigest()
    array = {
        **{"name": "x", "dtype": "<f4", "dims": ["sample"], "shape": [], "role": "input", "units": "1"},
        **{"long_name": "", "mask": "", "features": [], "transform": "identity", "transform_state": "raw"},
        **{"rows": 3, "chunk_rows": 2},
    }
    meaning = framed("array", independent.canonical(array))
    leaves = [
        framed("leaf", meaning, struct.pack("<Q", index), blake3(value).digest()) for index, value in enumerate(values)
    ]
    about = independent.canonical({"dataset": "d", "splits": [["train", 0, 3]]})
    root = framed("root", about, struct.pack("<Q", 2), framed("node", *leaves))
    assert vector("root of d") == "blake3:" + root.hex()

"""Guards behind guards: what would pass if a check before them had a hole is refused on their own account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from prep import gate
from prep.certificate.matching import match_container
from prep.certificate.metadata import metadata_digest
from prep.errors import DataError, IntegrityError, PrepError
from prep.formats.digests import ChunkDigests, Digests
from prep.formats.layout import ByteRange
from tests.attacks.tiny import Tiny, admitted, build


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return build(tmp_path / "owner", "zarr-files")


def test_a_raw_field_is_refused_though_everything_else_is_certified(tiny: Tiny):
    contents = tiny.contents
    fields = [replace(each, transform_state="raw") if each.name == "inputs" else each for each in contents.spec.fields]

    with pytest.raises(DataError, match="not normalised") as caught:
        gate._demand_normalised(tiny.path, replace(contents, spec=replace(contents.spec, fields=tuple(fields))))
    assert caught.value.where.field == "inputs"


def test_data_without_transforms_are_refused_though_every_field_says_it_is_normalised(tiny: Tiny):
    contents = tiny.contents
    documents = {name: text for name, text in contents.spec.documents.items() if name != "transforms"}

    with pytest.raises(DataError, match="not normalised"):
        gate._demand_normalised(tiny.path, replace(contents, spec=replace(contents.spec, documents=documents)))


def _one_digit_off(digests: Digests) -> Digests:
    return Digests(digests.packed[:-1] + bytes([digests.packed[-1] ^ 1]))


@pytest.mark.parametrize("which", ["logical", "stored"])
def test_a_deep_verification_believes_what_it_hashed_and_not_that_nothing_was_reported(
    tiny: Tiny, which: str, monkeypatch: pytest.MonkeyPatch
):
    """The sweep over the chunks reports no change, and one digest of what it found is another one."""
    data, really = admitted(tiny), gate.swept
    assert data.verify(deep=True) == tiny.contents.chunks

    def other(*arguments: object, **options: object) -> tuple[list[PrepError], Mapping[str, ChunkDigests]]:
        changed, found = really(*arguments, **options)  # type: ignore[arg-type]
        digests = found["targets"]
        return changed, {**found, "targets": replace(digests, **{which: _one_digit_off(getattr(digests, which))})}

    monkeypatch.setattr(gate, "swept", other)
    with pytest.raises(IntegrityError, match="root is not the certified one"):
        data.verify(deep=True)


def test_a_manifest_that_counts_other_bytes_than_there_are_is_refused(tiny: Tiny):
    contents = tiny.contents

    with pytest.raises(IntegrityError, match="metadata is not what was certified") as caught:
        match_container(tiny.path, replace(contents, size=contents.size + 1))
    assert caught.value.measured == f"{contents.size} bytes with the chunks"


def test_metadata_that_ends_early_are_not_filled_up_with_zeros(tiny: Tiny):
    size = (tiny.path / "zarr.json").stat().st_size

    with pytest.raises(IntegrityError, match="cannot be read") as caught:
        metadata_digest(tiny.path, [ByteRange("zarr.json", 0, size + 3)])
    assert caught.value.measured == f"{size} of {size + 3} bytes"

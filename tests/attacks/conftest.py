"""The small certified project of the attack suite: made once a session, copied for every attack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.tiny import VARIANTS, Tiny, build

Make = Callable[..., Tiny]


@pytest.fixture(scope="session")
def originals() -> dict[str, Tiny]:
    """The projects by variant, filled as they are asked for. Read them; copy them to change them."""
    return {}


@pytest.fixture
def make(originals: dict[str, Tiny], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """A copy of the certified project of a variant, to attack; it becomes the working folder."""
    before, count = Path.cwd(), iter(range(1000))

    def copy(variant: str = "hdf5") -> Tiny:
        if variant not in originals:
            originals[variant] = build(tmp_path_factory.mktemp("tiny") / variant, variant)
        copied = originals[variant].copied(tmp_path / f"{variant}-{next(count)}")
        os.chdir(copied.folder)
        return copied

    yield copy
    os.chdir(before)


@pytest.fixture(params=VARIANTS)
def tiny(request: pytest.FixtureRequest, make: Make) -> Tiny:
    """A copy of the certified project, once for each variant."""
    return make(request.param)


@pytest.fixture(params=["hdf5", "hdf5-gzip"])
def hdf5(request: pytest.FixtureRequest, make: Make) -> Tiny:
    """A copy in HDF5, uncompressed and compressed."""
    return make(request.param)


@pytest.fixture(params=["zarr", "zarr-files"])
def zarr(request: pytest.FixtureRequest, make: Make) -> Tiny:
    """A copy in Zarr, in shards and with a file for each chunk."""
    return make(request.param)

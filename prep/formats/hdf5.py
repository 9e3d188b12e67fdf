"""The tree as an HDF5 file: whoever only reads one needs no libhdf5 in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prep.blocks import DatasetSpec
from prep.formats.commit import storage_errors
from prep.formats.hdf5_container import read_container
from prep.formats.layout import Container

if TYPE_CHECKING:
    from prep.formats.writer import Writer


class Hdf5:
    """HDF5 as prep writes it: one chunked dataset per variable, dimension scales, filters by compression name."""

    def create(self, path: Path, spec: DatasetSpec, compression: str, identity: str = "") -> Writer:
        """See `prep.formats.create`."""
        from prep.formats.hdf5_writer import create_hdf5

        return create_hdf5(path, spec, compression, identity, self.open)

    def open(self, path: Path) -> Container:
        """See `prep.formats.open_container`."""
        with storage_errors(path):
            raw = path.open("rb", buffering=0)
        with raw:
            return read_container(path, raw)

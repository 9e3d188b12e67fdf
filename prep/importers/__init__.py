"""Readers of foreign layouts: each turns a source into raw rows in our data model, split by group.

An importer is one file here and one line in `IMPORTERS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prep.blocks import Array, FieldSpec
from prep.registry import Table

IMPORTERS = Table(
    "importers",
    {
        "csv": "prep.importers.tables:Csv",
        "parquet": "prep.importers.tables:Parquet",
        "minari": "prep.importers.minari:Minari",
        "npz": "prep.importers.arrays:Npz",
        "npy": "prep.importers.arrays:Npy",
        "hdf5": "prep.importers.mapped:MappedHdf5",
        "zarr": "prep.importers.mapped:MappedZarr",
        "folder": "prep.importers.of_files:Folder",
    },
)


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What a user may say about a source; all optional.

    ``mapping`` is the parsed mapping file (YAML, see `prep.importers.mapping`):
    ``fields: {name: path-in-source | {path, role, units, dims, mask, long_name}}``, ``group: name`` (id field whose
    values stay on one side of a split), ``split: path-in-source`` (an existing split column). ``fractions`` are train,
    val, test. ``seed`` decides which groups go where. With ``whole`` nothing is divided: all rows, in their order, are
    those of one split (test), for whoever predicts from them.
    """

    mapping: Mapping[str, Any] = field(default_factory=dict)
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    roles: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A source understood but not yet read: fields (without ``split``), rows per split, provenance notes, warnings.

    ``blocks()`` yields dicts of arrays in stored order (all of train, then val, then test), each a bounded number of
    rows of one split, as (split, arrays).
    """

    fields: tuple[FieldSpec, ...]
    rows: Mapping[str, int]
    group: str
    notes: Mapping[str, Any]
    warnings: tuple[str, ...]
    blocks: Any  # Callable[[], Iterator[tuple[str, Mapping[str, Array]]]]


class Importer(Protocol):
    """Reads one foreign layout."""

    name: str

    def recognises(self, source: str) -> bool:
        """Whether this looks like ours, by name and a glance at the structure; never raises."""

    def survey(self, source: str) -> Any:
        """Every array there is, as a `prep.importers.columns.Source`, before anything is chosen. Raises as `open`."""

    def open(self, source: str, options: IngestOptions) -> Opened:
        """Understand the source. `UsageError`, `IntegrityError` or `DataError` with place and remedy otherwise."""


Blocks = Iterator[tuple[str, Mapping[str, Array]]]
SourcePath = Path

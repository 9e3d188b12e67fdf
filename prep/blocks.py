"""The neck of the hourglass: what a field, a dataset and a block of rows are, whatever they came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prep.errors import SchemaError, UsageError, Where

Array = NDArray[Any]
Role = Literal["input", "target", "mask", "id", "aux", "split", "constant"]
TransformState = Literal["raw", "normalized"]
SPLITS = ("train", "val", "test")
ROLES: tuple[str, ...] = get_args(Role)
CHUNK_BYTES = 4 << 20
SEGMENT_BYTES = 32 << 20
_DTYPE = re.compile(
    r"\|?b1|\|?[iu]1|<?([iu][248]|f[248]|c8|c16)|bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)"
)


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One variable with a leading ``sample`` dimension.

    ``dims`` starts with ``"sample"``; ``shape`` holds the sizes of the other dimensions. (Role ``constant`` is an
    array stored once for the whole dataset, such as a fixed scene: its first dim is its own.) ``mask`` names the mask
    field that says which entries count (see `expand_mask`). ``features`` are the dims kept when statistics are taken;
    every other dim is averaged over. ``units`` is a CF unit string, ``"1"`` where there is none.
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    role: Role
    units: str = "1"
    long_name: str = ""
    mask: str = ""
    features: tuple[str, ...] = ()
    transform: str = "identity"
    transform_state: TransformState = "raw"

    def __post_init__(self) -> None:
        dtype = np.dtype(self.dtype)
        object.__setattr__(self, "dtype", dtype.newbyteorder("<") if dtype.byteorder == ">" else dtype)
        leads = bool(self.dims) and (self.role == "constant") != (self.dims[0] == "sample")
        if not leads or len(self.dims) != len(self.shape) + 1:
            raise SchemaError(
                "a field needs a leading 'sample' dimension and one size for each further dimension",
                where=Where(field=self.name),
                measured=f"dims {self.dims}, sizes {self.shape}",
                allowed="('sample', …) with one size each",
                remedy="name every dimension, 'sample' first",
            )
        if dtype.kind not in "biufc":
            raise SchemaError(
                "fields hold numbers of fixed size only",
                where=Where(field=self.name),
                measured=f"dtype {dtype}",
                allowed="bool, integer, float or complex",
                remedy="encode text or objects as integer codes before ingesting",
            )
        if self.role not in ROLES:
            raise SchemaError(
                f"unknown role {self.role!r}",
                where=Where(field=self.name),
                measured=self.role,
                allowed=", ".join(ROLES),
                remedy="pick one of the roles",
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready description; `from_dict` takes it back."""
        return {
            "name": self.name,
            "dtype": self.dtype.str,
            "dims": list(self.dims),
            "shape": list(self.shape),
            "role": self.role,
            "units": self.units,
            "long_name": self.long_name,
            "mask": self.mask,
            "features": list(self.features),
            "transform": self.transform,
            "transform_state": self.transform_state,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> FieldSpec:
        """The field that `to_dict` described; further keys are ignored. `SchemaError` for no number type."""
        try:
            dtype = named_dtype(entry["dtype"])
        except ValueError as error:
            raise SchemaError(
                f"a field is described wrongly: {error}",
                where=Where(field=str(entry["name"])),
                measured=repr(entry["dtype"])[:80],
                allowed="a number type of NumPy, such as '<f4'",
                remedy="restore the file that describes it, or write it again with the command that made it",
            ) from error
        return cls(
            name=entry["name"],
            dtype=dtype,
            dims=tuple(entry["dims"]),
            shape=tuple(entry["shape"]),
            role=entry["role"],
            units=entry["units"],
            long_name=entry["long_name"],
            mask=entry["mask"],
            features=tuple(entry["features"]),
            transform=entry["transform"],
            transform_state=entry["transform_state"],
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample."""
        return int(self.dtype.itemsize * np.prod(self.shape, dtype=np.int64))

    @property
    def row_values(self) -> int:
        """Values (array elements) of one sample."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What a dataset is, apart from its values: fields in stored order, split ranges, attributes, embedded documents.

    ``constants`` are arrays without a sample dimension (role ``constant``). ``splits`` maps a split to its half-open
    row range; splits are stored one after the other. ``documents`` are the texts of group ``prep/`` (JSON or YAML):
    recipe, provenance, statistics, transforms, schema.
    """

    name: str
    fields: tuple[FieldSpec, ...]
    splits: Mapping[str, tuple[int, int]]
    version: str = "0.1.0"
    constants: tuple[FieldSpec, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of samples."""
        return max((stop for _, stop in self.splits.values()), default=0)

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample over all fields."""
        return sum(spec.row_bytes for spec in self.fields)

    def __getitem__(self, name: str) -> FieldSpec:
        for spec in self.fields:
            if spec.name == name:
                return spec
        raise SchemaError(
            f"the dataset has no field {name!r}",
            where=Where(dataset=self.name, field=name),
            measured=name,
            allowed=", ".join(spec.name for spec in self.fields),
            remedy="name an existing field, or generate the dataset again with this field",
        )

    def __contains__(self, name: object) -> bool:
        return any(spec.name == name for spec in self.fields)

    @property
    def names(self) -> frozenset[str]:
        """Names of all fields and constants."""
        return frozenset(spec.name for spec in (*self.fields, *self.constants))

    def stored(self, name: str) -> FieldSpec:
        """A field or a constant."""
        return next((spec for spec in self.constants if spec.name == name), None) or self[name]

    def with_fields(self, fields: tuple[FieldSpec, ...]) -> DatasetSpec:
        """The same dataset with other fields."""
        return replace(self, fields=fields)

    def split_of(self, row: int) -> str:
        """Name of the split that holds a row."""
        return next((name for name, (start, stop) in self.splits.items() if start <= row < stop), "")


@dataclass(frozen=True, slots=True)
class ChunkKey:
    """Identity of one stored chunk: the field and its place along ``sample``."""

    field: str
    index: int


@dataclass(frozen=True, slots=True)
class Block:
    """Rows ``start:stop`` of some fields, read-only and of one leading length; ``constants`` are whole.

    What a measurement of one field tells several folds is in ``shared``, under the name of the field.
    """

    start: int
    stop: int
    arrays: Mapping[str, Array]
    constants: Mapping[str, Array] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            if array.shape[0] != self.stop - self.start:
                raise UsageError(
                    "a block's arrays must have one row for each sample of its range",
                    where=Where(field=name),
                    measured=f"{array.shape[0]} rows",
                    allowed=f"{self.stop - self.start} rows",
                    remedy="yield arrays of equal leading length",
                )
            array.flags.writeable = False

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name] if name in self.arrays else self.constants[name]

    def clip(self, start: int, stop: int) -> Block | None:
        """The part of the block inside ``start:stop``, without a copy; None where they do not meet."""
        low, high = max(self.start, start), min(self.stop, stop)
        if low >= high:
            return None
        if (low, high) == (self.start, self.stop):
            return self
        rows = slice(low - self.start, high - self.start)
        return Block(low, high, {name: array[rows] for name, array in self.arrays.items()}, self.constants)


def named_dtype(name: object) -> np.dtype[Any]:
    """The number type that a document names, ``<f4`` or ``float32``; `ValueError` for anything else.

    NumPy itself takes many other texts, and reads some of them with Python's parser.
    """
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise ValueError(f"{str(name)[:80]!r} is no number type")
    return np.dtype(name)


def segment_rows(spec: DatasetSpec) -> int:
    """Rows of one unit of work: a power of two, about 32 MiB over all fields. Every chunk lies inside one segment."""
    return _power_of_two(SEGMENT_BYTES // max(spec.row_bytes, 1))


def chunk_rows(spec: DatasetSpec, name: str) -> int:
    """Rows of one chunk of a field: a power of two, about 4 MiB, at most one segment."""
    return min(_power_of_two(CHUNK_BYTES // max(spec[name].row_bytes, 1)), segment_rows(spec))


def _power_of_two(limit: int) -> int:
    return 1 << max(int(limit).bit_length() - 1, 0)


def row_ranges(rows: int, step: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges of ``step`` rows that cover ``rows``."""
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def expand_mask(mask: Array, mask_spec: FieldSpec, target: FieldSpec) -> Array:
    """Broadcast a mask to the shape of the field it masks, by dimension name.

    ``mask`` is (rows, …) with dims ``mask_spec.dims``, a subset of ``target.dims`` in the same order (``state_mask``
    (sample, state) masks ``states`` (sample, time, state)). Returns a bool view of shape (rows, *target.shape).
    """
    missing = [dim for dim in mask_spec.dims if dim not in target.dims]
    if missing:
        raise SchemaError(
            "a mask can only have dimensions of the field it masks",
            where=Where(field=mask_spec.name),
            measured=f"dims {mask_spec.dims}",
            allowed=f"a subset of {target.dims}",
            remedy=f"rename the dimensions {missing} of the mask or mask another field",
        )
    shape = [mask.shape[0]] + [
        size if dim in mask_spec.dims else 1 for dim, size in zip(target.dims[1:], target.shape, strict=True)
    ]
    return np.broadcast_to(mask.reshape(shape) != 0, (mask.shape[0], *target.shape))

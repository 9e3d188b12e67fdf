"""How the values of a field lie by feature: the one place that knows which axes are kept and which are averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block, FieldSpec, expand_mask
from prep.errors import SchemaError, Where
from prep.kernels.matrices import real_view


@dataclass(frozen=True)
class Layout:
    """Features of ``field``: the dims of ``field.features`` in stored order, then re/im of a complex field."""

    field: FieldSpec

    @property
    def feature_sizes(self) -> tuple[int, ...]:
        """Sizes of the feature axes; `SchemaError` where a feature is no dimension of the field."""
        sizes = dict(zip(self.field.dims[1:], self.field.shape, strict=True))
        missing = [name for name in self.field.features if name not in sizes]
        if missing:
            raise SchemaError(
                "features must be dimensions of the field other than 'sample'",
                where=Where(field=self.field.name),
                measured=f"features {self.field.features}",
                allowed=f"some of {self.field.dims[1:]}",
                remedy=f"remove or rename {missing}",
            )
        kept = tuple(size for name, size in sizes.items() if name in self.field.features)
        return (*kept, 2) if self.field.dtype.kind == "c" else kept

    @property
    def width(self) -> int:
        """Number of features."""
        return int(np.prod(self.feature_sizes, dtype=np.int64))

    @property
    def row_values(self) -> int:
        """Real values of one sample."""
        return max(self.field.row_values * (2 if self.field.dtype.kind == "c" else 1), 1)

    @property
    def trailing(self) -> bool:
        """Whether the features are the last dims, so that `lines` needs no copy."""
        names, kept = self.field.dims[1:], self.field.features
        return set(names[len(names) - len(kept) :]) == set(kept)

    def lines(self, real: Array) -> Array:
        """(rows x averaged, features) of an array in the shape of `real_view`."""
        names = self.field.dims[1:]
        columns = [axis + 1 for axis, name in enumerate(names) if name in self.field.features]
        columns += range(len(names) + 1, real.ndim)
        others = [axis for axis in range(real.ndim) if axis not in columns]
        return real.transpose(others + columns).reshape(-1, self.width)

    def values(self, stored: Array) -> Array:
        """`lines` of stored values."""
        return self.lines(real_view(stored))

    def counted(self, mask: Array, mask_spec: FieldSpec) -> Array:
        """Which of the stored values of the mask's rows count, as a bool view in the shape of `real_view`."""
        counted = expand_mask(mask, mask_spec, self.field)
        if self.field.dtype.kind != "c":
            return counted
        return np.broadcast_to(counted[..., np.newaxis], (*counted.shape, 2))


def group_ids(part: Block, group: str) -> Array:
    """Group id of each row as int64, zeros without a group; `SchemaError` unless one integer for each row."""
    if not group:
        return np.zeros(part.stop - part.start, np.int64)
    ids = part[group]
    if ids.dtype.kind not in "biu" or ids.ndim != 1:
        raise SchemaError(
            "a group field needs one integer for each sample",
            where=Where(field=group),
            measured=f"dtype {ids.dtype}, shape {ids.shape}",
            allowed="integer, dims (sample,)",
            remedy="store the group as an integer id field without further dimensions",
        )
    if ids.dtype == np.uint64 and len(ids) and ids.max() > np.iinfo(np.int64).max:
        raise SchemaError(
            "a group id is beyond the range of int64",
            where=Where(field=group, samples=(part.start + int(np.argmax(ids)),)),
            measured=int(ids.max()),
            allowed=f"at most {np.iinfo(np.int64).max}",
            remedy="number the groups instead of storing hashes",
        )
    return ids.astype(np.int64)

"""What the in-memory forms of the checks share: plain arrays out of an `xarray.Dataset`, verdicts back into one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prep.blocks import SPLITS, Array


def values(ds: Any, var: str) -> Array:
    """The variable as a NumPy array."""
    return np.asarray(ds[var].values)


def flat(ds: Any, var: str) -> Array:
    """The variable as (samples, values)."""
    array = values(ds, var)
    return array.reshape(len(array), -1)


def in_split(ds: Any, split: str) -> Array:
    """Which samples belong to ``split`` (all of them where it is empty), bool (samples,)."""
    if not split:
        return np.ones(ds.sizes["sample"], dtype=bool)
    return np.asarray(ds["split"].values == SPLITS.index(split))


def counted(ds: Any, var: str, mask: str) -> Array:
    """Which values of ``var`` count, bool in its shape: where ``mask``, spread over further dimensions, is not 0."""
    if not mask:
        return np.ones(ds[var].shape, dtype=bool)
    return np.asarray((ds[mask] != 0).broadcast_like(ds[var]).transpose(*ds[var].dims).values)


def are_flags(ds: Any, mask: str, split: str) -> bool:
    """Whether ``mask``, if there is one, holds 0 and 1 only in ``split``; anything else counts nothing."""
    return not mask or bool(np.isin(values(ds, mask)[in_split(ds, split)], [0, 1]).all())


def group_codes(ds: Any, group: str) -> Array:
    """Group of each sample, (samples,); one group for all where ``group`` is empty."""
    return values(ds, group) if group else np.zeros(ds.sizes["sample"], dtype=np.int64)


def by_sample(ok: ArrayLike) -> Any:
    """A verdict for each sample as a bool `xarray.DataArray`; plain False where there is no sample at all."""
    import xarray as xr

    array = np.asarray(ok, dtype=bool)
    return xr.DataArray(array, dims="sample") if len(array) else False


def counted_columns(ds: Any, var: str, *, mask: str, group: str, split: str, features: list[str]) -> Iterator[Array]:
    """The counted values of every feature of every group in a split, float64, one after the other; empty ones left out.

    Features are the dims ``features`` of ``var``; real and imaginary parts of a complex variable are features of their
    own.
    """
    if not are_flags(ds, mask, split):
        return
    others = [dim for dim in ds[var].dims if dim != "sample" and dim not in features]
    keep = [dim for dim in ds[var].dims if dim in features]
    array = ds[var].transpose("sample", *others, *keep)
    flags = (
        np.asarray((ds[mask] != 0).broadcast_like(ds[var]).transpose(*array.dims))
        if mask
        else np.ones(array.shape, bool)
    )
    rows, width = array.sizes["sample"], int(np.prod([array.sizes[dim] for dim in keep], dtype=int))
    table, flags = array.values.reshape(rows, -1, width), flags.reshape(rows, -1, width)
    codes, chosen = group_codes(ds, group), in_split(ds, split)
    for code in np.unique(codes[chosen]):
        own = chosen & (codes == code)
        for feature in range(width):
            column = table[own, :, feature][flags[own, :, feature]]
            for part in (column.real, column.imag) if column.dtype.kind == "c" else (column,):
                if part.size:
                    yield part.astype(np.float64)

"""Arrays of measurements as JSON and back, exactly, although JSON has neither NaN nor infinity."""

from __future__ import annotations

from typing import Any

import numpy as np

from prep.blocks import Array


def encode(array: Array) -> Any:
    """Nested lists of an array; NaN becomes None, infinities ``"inf"`` and ``"-inf"``; finite floats keep every bit."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    table = array.astype(object)
    table[np.isnan(array)] = None
    table[np.isposinf(array)] = "inf"
    table[np.isneginf(array)] = "-inf"
    return table.tolist()


def decode(value: Any, shape: tuple[int, ...], dtype: type = np.float64) -> Array:
    """The array of ``shape`` that `encode` wrote."""
    flat = np.asarray(value, dtype=object).ravel().tolist()
    if np.dtype(dtype).kind == "f":
        flat = [np.nan if item is None else float(item) for item in flat]
    return np.asarray(flat, dtype=dtype).reshape(shape)

"""Rigid motions of point sets: the translation and rotation that bring one closest to another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def centred(positions: Array) -> Array:
    """(…, points, 3) minus the mean over the points, float64."""
    wide = positions.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=-2, keepdims=True))


def align(positions: Array, reference: Array) -> Array:
    """(rows, points, 3), centred and rotated to the least sum of squared distances from the centred reference
    (points, 3); float64, in the units of ``positions``, which have to be finite.

    The rotation is the eigenvector of the largest eigenvalue of a 4 × 4 matrix (Horn, J. Opt. Soc. Am. A 4, 629, 1987),
    so it never is a reflection.
    """
    points = centred(positions)
    s = np.einsum("npa,pb->nab", points, centred(reference))
    ((xx, xy, xz), (yx, yy, yz), (zx, zy, zz)) = np.moveaxis(s, 0, -1)
    matrix = np.array(
        [
            [xx + yy + zz, yz - zy, zx - xz, xy - yx],
            [yz - zy, xx - yy - zz, xy + yx, zx + xz],
            [zx - xz, xy + yx, yy - xx - zz, yz + zy],
            [xy - yx, zx + xz, yz + zy, zz - xx - yy],
        ]
    )
    _, vectors = np.linalg.eigh(np.moveaxis(matrix, -1, 0))
    w, x, y, z = vectors[:, :, -1].T
    rotation = np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )
    return np.asarray(np.einsum("abn,npb->npa", rotation, points))

"""What the certified statistics say of a stored field: the range and the root mean square of its train values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, expand_mask
from prep.gate import CertifiedDataset


def value_range(data: CertifiedDataset, field: str) -> tuple[float, float] | None:
    """The lowest and the highest certified value as it is stored; None for a field without statistics."""
    moments = _moments(data, field)
    if moments is None:
        return None
    # Null where nothing is counted, as in padding.
    low, high = (np.asarray(moments[name], dtype=np.float64) for name in ("min", "max"))
    return (float(np.nanmin(low)), float(np.nanmax(high))) if np.isfinite(low).any() else None


def root_mean_square(data: CertifiedDataset, field: str) -> float | None:
    """Of |x| over all values that count, as they are stored; None for a field without statistics."""
    moments = _moments(data, field)
    if moments is None:
        return None
    mean, std, count = (np.asarray(moments[name], dtype=np.float64) for name in ("mean", "std", "finite"))
    seen = count > 0
    square = np.where(seen, (mean**2 + std**2) * count, 0.0).sum() / max(float(count.sum()), 1.0)
    # The two parts of a complex number are described one by one.
    return math.sqrt(square * (2.0 if data.spec[field].dtype.kind == "c" else 1.0))


def squares_of(data: CertifiedDataset, batch: Mapping[str, Any], field: str) -> Array | None:
    """|x|² of every value of a batch that counts, float64; None where the batch lacks the field or its mask."""
    spec, mask = data.spec, data.spec[field].mask
    if field not in batch or (mask and mask not in batch):
        return None
    square: Array = batch[field].detach().abs().double().square().cpu().numpy()
    return square[expand_mask(batch[mask].cpu().numpy(), spec[mask], spec[field])] if mask else square


def _moments(data: CertifiedDataset, field: str) -> dict[str, Any] | None:
    described = json.loads(data.documents.get("statistics", "{}")).get("normalized", {})
    moments: dict[str, Any] | None = described.get(field, {}).get("moments")
    return moments

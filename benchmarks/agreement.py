"""What it means that both sides of a comparison found the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prep.engine import DatasetSource

EXACT = 1e-9


@dataclass(frozen=True, slots=True)
class Close:
    """Numbers of both sides under the same names differ by less than ``rtol``, ``why`` says why it is more than 1e-9.

    ``quantiles``, where both have them, differ by less than the ``quantile_error`` that ours states, or by less than
    ``quantiles`` where the other side does not give order statistics either. Text and truth values are the same.
    """

    rtol: float = EXACT
    why: str = ""
    quantiles: float = 0.0

    def __call__(self, ours: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        """`AssertionError` where they differ or have nothing in common."""
        common = sorted(set(ours) & set(other))
        assert common, f"nothing to compare: {sorted(ours)} and {sorted(other)}"
        for name in common:
            if name == "quantiles":
                stated = float(ours["quantile_error"])
                np.testing.assert_allclose(ours[name], other[name], stated, self.quantiles, err_msg=name)
            elif np.asarray(other[name]).dtype.kind == "f":
                np.testing.assert_allclose(ours[name], other[name], self.rtol, err_msg=name)
            else:
                assert _plain(ours[name]) == _plain(other[name]), f"{name} differs"


def same_values(written: Path, expected: Mapping[str, Any]) -> None:
    """The stored float32 values are the expected ones, rounded, of values of size 1."""
    with DatasetSource.open(written) as source:
        for name, values in expected.items():
            stored = source.reader.rows(name, 0, source.spec.rows)
            np.testing.assert_allclose(stored, values, rtol=1e-6, atol=1e-6, err_msg=name)


def below(limit: float) -> Any:
    """A measured size below its limit; there is nothing to compare it with."""

    def check(ours: float, other: Any) -> None:
        assert ours < limit

    return check


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value

"""The identity keeps every bit."""

from __future__ import annotations

import numpy as np
import pytest

from prep.transforms.identity import Identity
from tests.measuring import dataset, field, fitted


@pytest.mark.parametrize("values", [np.array([0.0, -0.0, np.nan, np.inf]), np.array([2**63 - 1, -1]), np.array([True])])
def test_values_pass_bit_for_bit(values: np.ndarray) -> None:
    spec = field("x", values.dtype.str)
    params = fitted(Identity(), dataset(spec, rows=len(values)), spec, {}, {"x": values})
    assert Identity().apply(spec, params, {"x": values})["x"].tobytes() == values.tobytes()


def test_the_field_is_marked_as_normalised_by_the_identity() -> None:
    spec = field("encoding", "u1", ("bit", 7), units="bit")
    (after,) = Identity().outputs(spec, {})
    assert (after.transform, after.transform_state, after.units, after.dtype) == ("identity", "normalized", "bit", "u1")

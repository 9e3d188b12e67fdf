"""The bits that tell a model the size of a system say what its masks say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import refuse
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise

CONTROL_BITS = 3
STATE_BITS = 4


class Encoding:
    """``var`` (sample, 7), 3 bits of n_u then 4 bits of n_x, most significant first, says what the two masks count.

    ``worst`` is |Δn_u| + |Δn_x|, infinite where a bit is neither 0 nor 1.
    """

    name = "encoding"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "state_mask": FIELD, "control_mask": FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return statistics["var"], statistics["state_mask"], statistics["control_mask"]

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = spec[statistics["var"]]
        if field.shape != (CONTROL_BITS + STATE_BITS,):
            raise refuse(
                spec, field.name, self.name, measured=f"sizes {field.shape}", allowed="dims (sample, 7): 3 + 4 bits"
            )
        for name in self.fields(statistics):
            _ = spec[name]
        return (Rowwise(self.name, self.fields(statistics), encoding_gap, 0.0, Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit="0 off the sizes (n_u, n_x) of the masks",
            good="encode the sizes that the masks count",
            bad="encode other sizes than the masks count",
            remedy="derive bits and masks from one (n_u, n_x), and give the bits the transform identity",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, state_mask: str, control_mask: str) -> Any:
        ok = []
        for bits, states, controls in zip(
            *(memory.values(ds, n) for n in (var, state_mask, control_mask)), strict=True
        ):
            wanted = f"{np.count_nonzero(controls):03b}{np.count_nonzero(states):04b}"
            ok.append([float(bit) for bit in bits] == [float(sign) for sign in wanted])
        return memory.by_sample(np.array(ok))


def encoding_gap(arrays: Mapping[str, Array]) -> Array:
    """|n_u of the bits − n_u of the mask| + the same of n_x, (rows,)."""
    bits, states, controls = arrays.values()
    sizes = bits.astype(np.float64)
    weights = np.zeros((CONTROL_BITS + STATE_BITS, 2))
    weights[:CONTROL_BITS, 0] = 2.0 ** np.arange(CONTROL_BITS)[::-1]
    weights[CONTROL_BITS:, 1] = 2.0 ** np.arange(STATE_BITS)[::-1]
    counts = [np.count_nonzero(mask.reshape(len(mask), -1), axis=1) for mask in (controls, states)]
    valid = ((bits == 0) | (bits == 1)).all(axis=1)
    with np.errstate(invalid="ignore"):
        gap = np.abs(sizes @ weights - np.stack(counts, axis=1)).sum(axis=1)
    return np.where(valid, gap, np.inf)

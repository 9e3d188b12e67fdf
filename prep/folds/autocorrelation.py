"""How long the samples of a series remember: lagged products of every group's values in stored order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prep.blocks import Array, Block
from prep.errors import SchemaError, Where
from prep.folds import Scope
from prep.folds.layout import group_ids

MOST_GROUPS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class AutocorrelationResult:
    """``groups`` ascending, ``counts`` of their samples, ``effective`` numbers of independent ones, float64 (G,).

    ``effective`` is 0 for a series without spread or with values that are not finite; ``nonfinite`` counts the latter.
    """

    groups: tuple[int, ...]
    counts: Array
    effective: Array
    rows: int
    nonfinite: int


@dataclass(slots=True)
class Series:
    """Sums over one series, and its first and last values, which the next part of it is multiplied with."""

    count: int
    sum: float
    low: float
    high: float
    products: Array
    head: Array
    tail: Array


@dataclass(slots=True)
class AutocorrelationState:
    """Series by group."""

    series: dict[int, Series] = field(default_factory=dict)
    rows: int = 0
    nonfinite: int = 0


@dataclass(frozen=True)
class Autocorrelation:
    """Autocovariance up to ``max_lag`` of ``values``, one a sample, over the samples of each group in stored order."""

    values: str
    group: str
    max_lag: int
    scope: Scope

    @property
    def key(self) -> str:
        return f"autocorrelation/{self.values}/{self.group}/{self.max_lag}/{self.scope}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.values, self.group})

    def empty(self) -> AutocorrelationState:
        return AutocorrelationState()

    def absorb(self, state: AutocorrelationState, block: Block) -> AutocorrelationState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        values, groups = part[self.values].astype(np.float64), group_ids(part, self.group)
        seen = AutocorrelationState(rows=len(values), nonfinite=int((~np.isfinite(values)).sum()))
        for group in np.unique(groups).tolist():
            seen.series[group] = self._series(values[groups == group])
        return self.merge(state, seen)

    def merge(self, left: AutocorrelationState, right: AutocorrelationState) -> AutocorrelationState:
        series = dict(left.series)
        for group, seen in right.series.items():
            series[group] = self._joined(series[group], seen) if group in series else seen
        if len(series) > MOST_GROUPS:
            raise SchemaError(
                "there are too many series to measure their autocorrelation",
                where=Where(field=self.values),
                measured=f"more than {MOST_GROUPS} values of {self.group}",
                allowed=f"{MOST_GROUPS}",
                remedy="name the id of a whole trajectory as group",
            )
        return AutocorrelationState(series, left.rows + right.rows, left.nonfinite + right.nonfinite)

    def finish(self, state: AutocorrelationState) -> AutocorrelationResult:
        groups = tuple(sorted(state.series))
        return AutocorrelationResult(
            groups=groups,
            counts=np.array([state.series[group].count for group in groups], np.int64),
            effective=np.array([_effective(state.series[group]) for group in groups]),
            rows=state.rows,
            nonfinite=state.nonfinite,
        )

    def _series(self, values: Array) -> Series:
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(values.sum())
        return Series(
            count=len(values),
            sum=total,
            low=float(values.min()),
            high=float(values.max()),
            products=self._products(values),
            head=values[: self.max_lag].copy(),
            tail=values[-self.max_lag :].copy(),
        )

    def _joined(self, left: Series, right: Series) -> Series:
        border = np.concatenate([left.tail, right.head])
        with np.errstate(over="ignore", invalid="ignore"):
            across = self._products(border) - self._products(left.tail) - self._products(right.head)
            products = left.products + right.products + across
        return Series(
            count=left.count + right.count,
            sum=left.sum + right.sum,
            low=min(left.low, right.low),
            high=max(left.high, right.high),
            products=products,
            head=np.concatenate([left.head, right.head])[: self.max_lag],
            tail=np.concatenate([left.tail, right.tail])[-self.max_lag :],
        )

    def _products(self, values: Array) -> Array:
        """Σ x_t x_{t+lag} for lags 0 to ``max_lag``."""
        products = np.zeros(self.max_lag + 1)
        with np.errstate(over="ignore", invalid="ignore"):
            for lag in range(min(self.max_lag + 1, len(values))):
                products[lag] = values[: len(values) - lag] @ values[lag:]
        return products


def _effective(series: Series) -> float:
    if not np.isfinite(series.low + series.high) or series.low == series.high:
        return 0.0
    n, mean = series.count, series.sum / series.count
    lags = np.arange(min(len(series.products), n))
    first = np.concatenate([[0.0], np.cumsum(series.head)])[lags]
    last = np.concatenate([[0.0], np.cumsum(series.tail[::-1])])[lags]
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = (series.products[lags] - mean * (2 * series.sum - first - last)) / n + (n - lags) / n * mean**2
        return effective_size(covariance, n)


def effective_size(covariance: Array, count: int) -> float:
    """count / (1 + 2 Σ ρ_lag), the sum ending before the first pair ρ_2k + ρ_2k+1 that is not positive.

    ``covariance`` is of lags 0, 1, …; the rule is the initial positive sequence of Geyer, Statist. Sci. 7, 473 (1992).
    At most ``count``: what alternates is not taken for more than independent. 0 where there is no variance.
    """
    if not 0 < covariance[0] < np.inf:
        return 0.0
    correlation = covariance[: len(covariance) // 2 * 2] / covariance[0]
    pairs = correlation[0::2] + correlation[1::2]
    ends = np.flatnonzero(~(pairs > 0))
    time = 2.0 * pairs[: ends[0] if len(ends) else len(pairs)].sum() - 1.0
    return float(min(count / time, count)) if time > 0 else float(count)

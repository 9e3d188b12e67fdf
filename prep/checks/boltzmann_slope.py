"""Energies at several temperatures are Boltzmann distributed: the ratio of two of their densities has a known slope."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_one_integer, refuse
from prep.checks.statistics import FIELD, FRACTION, NOT_NEGATIVE, POSITIVE, Statistics, named
from prep.checks.verdict import rows_in, verdict
from prep.folds import Scope
from prep.folds.histograms import LARGEST, Cell, Histograms, HistogramsResult

GAS_CONSTANT = 0.00831446261815324  # kJ/(mol K)
BIN_WIDTH = 0.01  # kJ/mol: a thousandth of what a molecule's energy varies by
_ITERATIONS = 50
_TEMPERATURES: Mapping[str, Any] = {"type": "array", "items": POSITIVE, "minItems": 2, "uniqueItems": True}


class BoltzmannSlope:
    """ln p_cold(U)/p_hot(U) falls with U by β_cold − β_hot, and every group's mean energy is nearest to its own
    temperature's.

    ``var`` is U in kJ/mol, ``temperature`` the label in K, one of ``temperatures``; neighbours among these are
    compared. The slope is that of logistic regression of the label on U, which is its maximum likelihood estimate
    (Shirts, J. Chem. Theory Comput. 9, 909, 2013). It may be off by the share ``tolerance`` or, where samples are too
    few to tell, by ``sigmas`` standard errors (of independent samples); it is above 0 by as many. ``group`` is the id
    of a simulation.
    """

    name = "boltzmann_slope"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "temperature": FIELD,
        "group": FIELD,
        "temperatures": _TEMPERATURES,
        "tolerance": FRACTION,
        "sigmas": NOT_NEGATIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(*(statistics[key] for key in ("var", "temperature", "group")))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Histograms]:
        demand_one_integer(spec, statistics["group"], self.name)
        for key in ("var", "temperature"):
            if demand_kind(spec, statistics[key], self.name, "f", "float").shape:
                dims = spec[statistics[key]].dims
                raise refuse(spec, statistics[key], self.name, measured=f"dims {dims}", allowed="dims (sample,)")
        labels = tuple(sorted(float(each) for each in statistics["temperatures"]))
        label, group = statistics["temperature"], statistics["group"]
        return (Histograms(statistics["var"], label, labels, group, BIN_WIDTH, Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        result: HistogramsResult = measured[fold.key]
        misplaced = _misplaced(result, len(fold.labels))
        slopes = list(_slopes(fold.labels, result, statistics))
        wrong = [each for each in slopes if not each.passed]
        shown = max(wrong or slopes, key=lambda each: abs(each.slope / each.expected - 1), default=None)
        problems = []
        if result.unusable or result.unlabelled:
            problems.append(
                f"{result.unusable} samples have no usable {statistics['var']}, {result.unlabelled} a "
                f"{statistics['temperature']} that is none of {list(fold.labels)}"
            )
        problems += [
            f"{fold.group} {group} is labelled {fold.labels[place]:g} K, but its mean energy of {mean:.4g} is that of "
            f"{fold.labels[nearest]:g} K"
            for (place, group), (mean, nearest) in misplaced.items()
        ][:3]
        problems += [f"{each} where it should be {each.expected:.4g}" for each in wrong]
        rows = rows_in(fold.scope)
        failing = sum(int(result.cells[cell][1].sum()) for cell in misplaced)
        return verdict(
            spec,
            not problems and len(slopes) == len(fold.labels) - 1,
            examined=result.rows,
            present=rows,
            limit=f"slope within {statistics['tolerance']:g} of β_cold − β_hot, or {statistics['sigmas']:g} standard "
            "errors where that is more",
            message="; ".join(problems) or (str(shown) if shown else "a temperature has no samples"),
            remedy="see that every simulation carries its own thermostat's temperature, that energies are those of "
            "these positions, in kJ/mol, and that the simulations are equilibrated",
            worst=shown.slope if shown else None,
            failing=failing + result.unusable + result.unlabelled,
            samples=sorted([*result.samples, *(result.first[cell] for cell in misplaced)]),
        )

    @staticmethod
    def pandera_function(
        ds: Any,
        *,
        var: str,
        temperature: str,
        group: str,
        temperatures: list[float],
        tolerance: float,
        sigmas: float,
    ) -> bool:
        energy, label = memory.values(ds, var).astype(np.float64), memory.values(ds, temperature)
        groups, ladder = memory.values(ds, group), sorted(temperatures)
        if not (len(label) and np.isin(label, ladder).all() and set(ladder) <= set(label.tolist())):
            return False
        if not (np.isfinite(energy).all() and (np.abs(energy) <= LARGEST).all()):
            return False
        means = [energy[label == each].mean() for each in ladder]
        for place, each in enumerate(ladder):
            for one in np.unique(groups[label == each]):
                distance = np.abs(energy[(label == each) & (groups == one)].mean() - means)
                if distance.argmin() != place:
                    return False
        for cold, hot in itertools.pairwise(ladder):
            two = (label == cold) | (label == hot)
            slope, error = _in_memory(energy[two], (label[two] == hot).astype(float))
            expected = (1 / cold - 1 / hot) / GAS_CONSTANT
            if not (abs(slope - expected) <= max(tolerance * expected, sigmas * error) and slope > sigmas * error):
                return False
        return True


class _Slope:
    """One pair of neighbouring temperatures: measured slope, its standard error, what it should be."""

    def __init__(self, pair: Sequence[float], slope: float, error: float, tolerance: float, sigmas: float) -> None:
        self.pair, self.slope, self.error = pair, slope, error
        self.expected = (1 / pair[0] - 1 / pair[1]) / GAS_CONSTANT
        allowed = max(tolerance * self.expected, sigmas * error)
        self.passed = bool(abs(slope - self.expected) <= allowed and slope > sigmas * error)

    def __str__(self) -> str:
        cold, hot = self.pair
        return f"ln p({cold:g} K)/p({hot:g} K) falls by {self.slope:.4g} ± {self.error:.2g} mol/kJ"


def _slopes(labels: Sequence[float], result: HistogramsResult, statistics: Statistics) -> Iterator[_Slope]:
    for place, pair in enumerate(itertools.pairwise(labels)):
        cold, hot = _of_label(result, place), _of_label(result, place + 1)
        if len(cold[0]) and len(hot[0]):
            yield _Slope(pair, *_logistic(cold, hot), float(statistics["tolerance"]), float(statistics["sigmas"]))


def _of_label(result: HistogramsResult, place: int) -> tuple[Array, Array]:
    own = [cell for cell in result.cells if cell[0] == place]
    if not own:
        return np.zeros(0), np.zeros(0)
    return tuple(np.concatenate([result.cells[cell][part] for cell in own]) for part in (0, 1))  # type: ignore[return-value]


def _misplaced(result: HistogramsResult, labels: int) -> dict[Cell, tuple[float, int]]:
    """Cells whose mean is nearest to that of another label, with both."""
    means = np.full(labels, np.inf)
    for place in range(labels):
        values, counts = _of_label(result, place)
        if len(values):
            means[place] = np.average(values, weights=counts)
    found = {}
    for cell, (values, counts) in result.cells.items():
        mean = float(np.average(values, weights=counts))
        nearest = int(np.argmin(np.abs(mean - means)))
        if nearest != cell[0]:
            found[cell] = mean, nearest
    return found


def _logistic(cold: tuple[Array, Array], hot: tuple[Array, Array]) -> tuple[float, float]:
    """Slope of ln p(hot | U)/p(cold | U) and its standard error, from values and counts; infinite errors where the
    two do not overlap.
    """
    values = np.concatenate([cold[0], hot[0]])
    counts = np.concatenate([cold[1], hot[1]]).astype(np.float64)
    positive = np.concatenate([np.zeros(len(cold[1])), hot[1]])
    mean = np.average(values, weights=counts)
    spread = np.sqrt(np.average((values - mean) ** 2, weights=counts))
    if not spread > 0:
        return 0.0, np.inf
    design = np.stack([np.ones_like(values), (values - mean) / spread])
    weights = np.zeros(2)
    for _ in range(_ITERATIONS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(weights @ design, -30.0, 30.0)))
        information = (design * (counts * chance * (1.0 - chance))) @ design.T
        if not np.linalg.cond(information) < 1e12:
            return float(weights[1] / spread), np.inf
        step = np.linalg.solve(information, design @ (positive - counts * chance))
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    error = np.sqrt(np.linalg.inv(information)[1, 1])
    return float(weights[1] / spread), float(error / spread)


def _in_memory(energy: Array, hot: Array) -> tuple[float, float]:
    """The same two numbers from the samples themselves, by iteratively reweighted least squares."""
    scale, centre = energy.std(), energy.mean()
    if scale == 0:
        return 0.0, np.inf
    columns = np.column_stack([(energy - centre) / scale, np.ones(len(energy))])
    beta = np.zeros(2)
    for _ in range(_ITERATIONS):
        logit = np.clip(columns @ beta, -30.0, 30.0)
        p = np.exp(logit) / (1 + np.exp(logit))
        w = p * (1 - p)
        if not np.linalg.cond((columns.T * w) @ columns) < 1e12:
            return float(beta[0] / scale), np.inf
        root = np.sqrt(w)[:, np.newaxis]
        new, *_ = np.linalg.lstsq(root * columns, root[:, 0] * (columns @ beta + (hot - p) / w), rcond=None)
        done, beta = np.abs(new - beta).max() < 1e-10, new
        if done:
            break
    return float(beta[0] / scale), float(np.sqrt(np.linalg.inv((columns.T * w) @ columns)[0, 0]) / scale)

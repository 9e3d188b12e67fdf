"""Energies at several temperatures are Boltzmann distributed: the ratio of two of their densities has a known slope."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_one_integer, refuse
from prep.checks.slopes import GAS_CONSTANT, ITERATIONS, Counted, Slope
from prep.checks.statistics import COUNT, FIELD, FRACTION, NOT_NEGATIVE, POSITIVE, Statistics, named
from prep.checks.verdict import rows_in, verdict
from prep.folds import Scope
from prep.folds.autocorrelation import Autocorrelation, AutocorrelationResult, effective_size
from prep.folds.histograms import LARGEST, Cell, Histograms, HistogramsResult

BIN_WIDTH = 0.01  # kJ/mol: a thousandth of what a molecule's energy varies by
_SHOWN = 3
_TEMPERATURES: Mapping[str, Any] = {"type": "array", "items": POSITIVE, "minItems": 2, "uniqueItems": True}


class BoltzmannSlope:
    """ln p_cold(U)/p_hot(U) falls with U by β_cold − β_hot, and every group's mean energy is nearest to its own
    temperature's.

    ``var`` is U in kJ/mol, ``temperature`` the label in K, one of ``temperatures``; neighbours among these are
    compared. The slope is that of logistic regression of the label on U, which is its maximum likelihood estimate
    (Shirts, J. Chem. Theory Comput. 9, 909, 2013). It may be off by the share ``tolerance`` or, where samples are too
    few to tell, by ``sigmas`` standard errors; it is above 0 by as many. ``group`` is the id of a simulation: the
    slope of each one, against all samples of a neighbouring temperature, is within ``tolerance`` or ``group_sigmas``
    standard errors too, and above 0 by one, so that one wrong thermostat is not lost among many right ones. (Of many
    simulations one is farther off by chance than all of them together: a good one of 64 ps was off by 3.5.)

    A simulation remembers its past, so errors are those of as many independent samples as all groups are worth
    (`prep.folds.autocorrelation`, up to ``max_lag`` samples in stored order). Errors of n independent samples are too
    small: over good simulations of a small peptide the deviations, in such errors, reached 3.9.

    The finding's ``measured`` has the slope (of two temperatures, else that which is off most) and, of two
    temperatures, ``identity``: β_cold ⟨U⟩_hot + β_hot ⟨U⟩_cold, what carrying samples over unchanged scores in
    Boltzmann transport.
    """

    name = "boltzmann_slope"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "temperature": FIELD,
        "group": FIELD,
        "temperatures": _TEMPERATURES,
        "tolerance": FRACTION,
        "sigmas": NOT_NEGATIVE,
        "group_sigmas": NOT_NEGATIVE,
        "max_lag": COUNT,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(*(statistics[key] for key in ("var", "temperature", "group")))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Histograms, Autocorrelation]:
        demand_one_integer(spec, statistics["group"], self.name)
        for key in ("var", "temperature"):
            if demand_kind(spec, statistics[key], self.name, "f", "float").shape:
                dims = spec[statistics[key]].dims
                raise refuse(spec, statistics[key], self.name, measured=f"dims {dims}", allowed="dims (sample,)")
        labels = tuple(sorted(float(each) for each in statistics["temperatures"]))
        energy, label, group = (statistics[key] for key in ("var", "temperature", "group"))
        return (
            Histograms(energy, label, labels, group, BIN_WIDTH, Scope.of(spec)),
            Autocorrelation(energy, group, int(statistics["max_lag"]), Scope.of(spec)),
        )

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        fold, memory_fold = self.folds(spec, statistics)
        result: HistogramsResult = measured[fold.key]
        inefficiency = _inefficiency(measured[memory_fold.key])
        misplaced = _misplaced(result, len(fold.labels))
        tolerance, sigmas, own_sigmas = (float(statistics[key]) for key in ("tolerance", "sigmas", "group_sigmas"))
        slopes = list(_slopes(fold.labels, result, inefficiency))
        wrong = [each for each in slopes if not (each.right(tolerance, sigmas) and each.value > sigmas * each.error)]
        shown = max(wrong or slopes, key=lambda each: each.off, default=None)
        alone = {
            key: each
            for key, each in _of_groups(fold.labels, result, inefficiency).items()
            if not (each.right(tolerance, own_sigmas) and each.value > each.error)
        }
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
        ][:_SHOWN]
        problems += [f"{each} where it should be {each.expected:.4g}" for each in wrong]
        problems += [
            f"{fold.group} {group} is labelled {fold.labels[place]:g} K, but alone {each} where it should be "
            f"{each.expected:.4g}: {each.meaning(of_cold=fold.labels[place] == each.cold)}"
            for ((place, group), _), each in sorted(alone.items(), key=lambda item: -item[1].off)
        ][:_SHOWN]
        bounds = ""
        if shown:
            off = max(tolerance * shown.expected, sigmas * shown.error)
            bounds = f"{shown.expected - off:.4g} ≤ slope ≤ {shown.expected + off:.4g}: "
        rows = rows_in(fold.scope)
        bad = set(misplaced) | {cell for cell, _ in alone}
        failing = sum(int(result.cells[cell][1].sum()) for cell in bad)
        return verdict(
            spec,
            not problems and len(slopes) == len(fold.labels) - 1,
            examined=result.rows,
            present=rows,
            limit=f"{bounds}of all and of each {fold.group} within {tolerance:g} of β_cold − β_hot, or {sigmas:g} "
            f"standard errors ({own_sigmas:g} of a {fold.group}) where that is more",
            message="; ".join(problems) or (str(shown) if shown else "a temperature has no samples"),
            remedy="see that every simulation carries its own thermostat's temperature, that energies are those of "
            "these positions, in kJ/mol, and that the simulations are equilibrated",
            worst=shown.value if shown else None,
            failing=failing + result.unusable + result.unlabelled,
            samples=sorted({*result.samples, *(result.first[cell] for cell in bad)}),
            measured=_figures(fold.labels, result, shown),
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
        group_sigmas: float,
        max_lag: int,
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
        worth = 0.0
        for one in np.unique(groups):
            series = energy[groups == one] - energy[groups == one].mean()
            lags, n = range(min(max_lag + 1, len(series))), len(series)
            worth += effective_size(np.array([series[: n - lag] @ series[lag:] / n for lag in lags]), n)
        widened = np.sqrt(len(energy) / worth) if worth > 0 else np.inf
        for cold, hot in itertools.pairwise(ladder):
            two = (label == cold) | (label == hot)
            slope, error = _in_memory(energy[two], (label[two] == hot).astype(float), widened)
            expected = (1 / cold - 1 / hot) / GAS_CONSTANT
            if not (abs(slope - expected) <= max(tolerance * expected, sigmas * error) and slope > sigmas * error):
                return False
            for own, other in ((cold, hot), (hot, cold)):
                for one in np.unique(groups[label == own]):
                    chosen = ((label == own) & (groups == one)) | (label == other)
                    slope, error = _in_memory(energy[chosen], (label[chosen] == hot).astype(float), widened)
                    if not (abs(slope - expected) <= max(tolerance * expected, group_sigmas * error) and slope > error):
                        return False
        return True


def _inefficiency(series: AutocorrelationResult) -> float:
    """How many samples are worth one that is independent, at least 1."""
    worth = float(series.effective.sum())
    return float(series.counts.sum()) / worth if worth > 0 else np.inf


def _slopes(labels: tuple[float, ...], result: HistogramsResult, inefficiency: float) -> Iterator[Slope]:
    """Those of neighbouring temperatures that both have samples."""
    for place, pair in enumerate(itertools.pairwise(labels)):
        cold, hot = _of_label(result, place), _of_label(result, place + 1)
        if len(cold[0]) and len(hot[0]):
            yield Slope.between(*pair, cold, hot, inefficiency)


def _of_groups(
    labels: tuple[float, ...], result: HistogramsResult, inefficiency: float
) -> dict[tuple[Cell, int], Slope]:
    """(Cell, place of a neighbouring temperature) → slope of that cell alone against all of that temperature."""
    pools = [_of_label(result, place) for place in range(len(labels))]
    found = {}
    for cell, own in result.cells.items():
        place = cell[0]
        for other in (place - 1, place + 1):
            if 0 <= other < len(labels) and len(pools[other][0]):
                cold, hot = sorted((place, other))
                pair = (own, pools[other]) if cold == place else (pools[other], own)
                found[cell, other] = Slope.between(labels[cold], labels[hot], *pair, inefficiency)
    return found


def _figures(labels: tuple[float, ...], result: HistogramsResult, shown: Slope | None) -> dict[str, float]:
    """The slope that is shown and, of two temperatures, what the identity scores."""
    if shown is None:
        return {}
    figures = {"slope": shown.value, "slope_error": shown.error, "slope_expected": shown.expected}
    if len(labels) == 2:
        cold, hot = (_mean(_of_label(result, place)) for place in (0, 1))
        figures["identity"] = (hot / labels[0] + cold / labels[1]) / GAS_CONSTANT
    return figures


def _of_label(result: HistogramsResult, place: int) -> Counted:
    own = [counted for cell, counted in result.cells.items() if cell[0] == place]
    if not own:
        return np.zeros(0), np.zeros(0)
    values, counts = zip(*own, strict=True)
    return np.concatenate(values), np.concatenate(counts)


def _misplaced(result: HistogramsResult, labels: int) -> dict[Cell, tuple[float, int]]:
    """Cells whose mean is nearest to that of another label, with both."""
    means = np.full(labels, np.inf)
    for place in range(labels):
        values, counts = _of_label(result, place)
        if len(values):
            means[place] = _mean((values, counts))
    found = {}
    for cell, counted in result.cells.items():
        mean = _mean(counted)
        nearest = int(np.argmin(np.abs(mean - means)))
        if nearest != cell[0]:
            found[cell] = mean, nearest
    return found


def _mean(counted: Counted) -> float:
    return float(np.average(counted[0], weights=counted[1]))


def _in_memory(energy: Array, hot: Array, widened: float) -> tuple[float, float]:
    """Slope and error (times ``widened``) from the samples themselves, by iteratively reweighted least squares."""
    scale, centre = energy.std(), energy.mean()
    if scale == 0:
        return 0.0, np.inf
    columns = np.column_stack([(energy - centre) / scale, np.ones(len(energy))])
    beta = np.zeros(2)
    for _ in range(ITERATIONS):
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
    return float(beta[0] / scale), float(np.sqrt(np.linalg.inv((columns.T * w) @ columns)[0, 0]) / scale * widened)

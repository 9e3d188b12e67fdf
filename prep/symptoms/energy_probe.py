"""Energies that nothing in the positions beside them explains: are they those of these molecules?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.errors import PrepError
from prep.folds import Fold
from prep.folds.sampled import Sampled
from prep.importers.names import words
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import fields_of
from prep.symptoms.linear_probe import LARGEST_P, SEEN
from prep.symptoms.words import look, number, rebuild
from prep.transforms.original import SUFFIX, Originals

_SAMPLES = 2048
# Distances of all sampled molecules: 32 MiB.
_MOST_DISTANCES = 1 << 22
_FEWEST_ATOMS = 4
# Bonds move by about 3 % of their length, the ends of angles by 4 %, and what was held by the rounding of float32.
_STIFF, _HELD = 0.1, 1e-5
_PAIRS_PER_ATOM = 3
_MOST_STRATA = 32
_ENERGIES = frozenset({"energy", "energies", "potential", "e", "u"})


class EnergyProbe:
    """The squared correlation of a molecule's energy with how far its stiff pairs of atoms are from their mean
    distance, s = Σ((d − d̄)/σ)², which is the energy of springs.

    Up to 2048 evenly spaced samples, in original units; the 3A pairs of A atoms with the least relative spread, of
    those that move by 10 % of their distance or less. Means of the strata, the joint values of all other numbers of
    which few are different (a temperature, a replica), are taken out of both. Unseen where p > 0.01 by the F-test and
    5 % would have been seen: doubtful, since an energy may be that of more than these atoms.
    """

    name = "energy_probe"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(
            _sampled(guess, positions, field)
            for positions, energy in _pairs(guess)
            for field in (positions, energy, *_others(guess, energy))
        )

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for positions, energy in _pairs(guess):
            read = {
                field.name: measured[_sampled(guess, positions, field).key]
                for field in (positions, energy, *_others(guess, energy))
            }
            shaped = _original(guess, positions, read[positions.name].reshape(-1, *positions.shape))
            values = read[energy.name].reshape(-1)
            if shaped is None:
                continue
            good = np.isfinite(shaped).all(axis=(1, 2)) & np.isfinite(values)
            springs = _springs(shaped[good])
            if springs is None:
                continue
            others = [read[field.name][good].reshape(-1) for field in _others(guess, energy)]
            yield from _unseen(guess, positions, energy, springs, values[good], _strata(others, int(good.sum())))


def _pairs(guess: Guess) -> Iterator[tuple[FieldSpec, FieldSpec]]:
    """Every field of positions (sample, atom, 3) with every energy of a sample."""
    for positions in fields_of(guess, "input aux", "f"):
        molecule = len(positions.shape) == 2 and positions.shape[1] == 3 and positions.shape[0] >= _FEWEST_ATOMS
        if molecule and _rows(guess, positions) > 1:
            yield from ((positions, each) for each in fields_of(guess, "target aux", "f") if _is_energy(each))


def _is_energy(field: FieldSpec) -> bool:
    said = words(field.name)
    return field.row_values == 1 and bool(_ENERGIES & set(said)) and "kinetic" not in said


def _others(guess: Guess, energy: FieldSpec) -> list[FieldSpec]:
    return [each for each in fields_of(guess, "input target aux id", "fiu") if each.row_values == 1 and each != energy]


def _rows(guess: Guess, positions: FieldSpec) -> int:
    atoms = positions.shape[0]
    return min(_SAMPLES, guess.spec.rows, _MOST_DISTANCES // (atoms * (atoms - 1) // 2))


def _sampled(guess: Guess, positions: FieldSpec, field: FieldSpec) -> Sampled:
    return Sampled(field, range(field.row_values), -(-guess.spec.rows // _rows(guess, positions)))


def _original(guess: Guess, positions: FieldSpec, values: Array) -> Array | None:
    """``values`` before they were normalised; None where that needs more than themselves, or cannot be undone."""
    name = positions.name + SUFFIX
    try:
        originals = Originals.bind(guess.spec, [name])
        bound = originals.inverses[positions.name]
        if bound is not None and bound.reads - {positions.name}:
            return None
        return originals({positions.name: values})[name]
    except (PrepError, KeyError, ValueError, TypeError):
        return None


def _springs(positions: Array) -> Array | None:
    """s of each molecule (samples, atoms, 3); None where fewer pairs are stiff than there are atoms."""
    atoms = positions.shape[1]
    if len(positions) < 2:
        return None
    one, other = np.triu_indices(atoms, 1)
    distances = np.empty((len(positions), len(one)))
    for row, molecule in enumerate(positions):
        distances[row] = np.linalg.norm(molecule[one] - molecule[other], axis=1)
    mean, std = distances.mean(axis=0), distances.std(axis=0)
    with np.errstate(all="ignore"):
        spread = std / mean
    spread[~(spread > _HELD)] = np.inf
    chosen = np.argsort(spread, kind="stable")[: _PAIRS_PER_ATOM * atoms]
    chosen = chosen[spread[chosen] <= _STIFF]
    if len(chosen) < atoms:
        return None
    return np.asarray((((distances[:, chosen] - mean[chosen]) / std[chosen]) ** 2).sum(axis=1))


def _strata(others: list[Array], rows: int) -> Array:
    """The number (rows,) of the joint value of those columns that keep the number of strata small."""
    index = np.zeros(rows, np.int64)
    for column in others:
        values, own = np.unique(column, return_inverse=True)
        joint = np.unique(index * len(values) + own.reshape(-1), return_inverse=True)[1].reshape(-1)
        if int(joint.max(initial=0)) < min(_MOST_STRATA, math.isqrt(rows)):
            index = joint
    return index


def _unseen(
    guess: Guess, positions: FieldSpec, energy: FieldSpec, springs: Array, values: Array, strata: Array
) -> Iterator[Diagnostic]:
    from scipy.special import fdtrc, fdtri

    s, e = _within(springs, strata), _within(values, strata)
    rest = len(s) - int(strata.max(initial=0)) - 2
    spread = float(s @ s) * float(e @ e)
    if rest < 1 or not 0 < spread < np.inf:
        return
    r2 = min(float(s @ e) ** 2 / spread, 1.0)
    limit = float(fdtri(1, rest, 1 - LARGEST_P))
    detectable = limit / (limit + rest)
    if detectable > SEEN or r2 == 1 or fdtrc(1, rest, r2 / ((1 - r2) / rest)) <= LARGEST_P:
        return
    yield Diagnostic(
        code="energy-not-seen",
        severity="doubtful",
        field=energy.name,
        evidence=f"how far bonds and angles in {positions.name} are stretched explains {number(r2)} of the spread of "
        f"{energy.name} on {len(s)} samples, which is what chance gives",
        consequence=f"if {energy.name} is that of these {positions.shape[0]} atoms, its values are those of other "
        "samples, and a model learns a surface that no molecule has; an energy of more than these atoms (a solvent, "
        "the kinetic part) may hide the relation, and then this means nothing",
        remedy=f"compute the energy of one sample again from its positions; see that row i of {energy.name} belongs to "
        f"row i of {positions.name}",
        command=rebuild(guess) or look(guess, energy.name),
        measured={"r2": r2, "detectable": detectable, "strata": int(strata.max(initial=0)) + 1},
    )


def _within(values: Array, strata: Array) -> Array:
    """``values`` less the mean of their stratum, in units of their largest."""
    apart = values / max(float(np.abs(values).max(initial=0.0)), 1e-300)
    return np.asarray(apart - (np.bincount(strata, weights=apart) / np.bincount(strata))[strata])

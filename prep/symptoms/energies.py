"""Energies that, by what the dataset says of itself, are not those of the molecule that moves freely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prep.folds import Fold
from prep.folds.moments import Moments
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import columns_fold
from prep.symptoms.words import rebuild

_ATTRIBUTE = "energy_constraints"


class Energies:
    """The attribute ``energy_constraints`` of a dataset of positions names constraints: energies of a molecule with
    fixed bonds, of which the directions that are held have no density.
    """

    name = "energies"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return self._folds(guess)

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        stated = guess.spec.attributes.get(_ATTRIBUTE, "none")
        for fold in self._folds(guess):
            if stated != "none":
                yield Diagnostic(
                    code="energies-of-another-molecule",
                    severity="harmful",
                    field=fold.field.name,
                    evidence=f"{_ATTRIBUTE} says {stated}: energies were taken with these bonds held",
                    consequence="the energy does not change along the bonds that are held, so that nothing bounds a "
                    "loss that compares densities: it falls without end in these directions",
                    remedy="compute the energies again without constraints, on the same positions",
                    command=rebuild(guess),
                    measured={"constraints": stated},
                )

    def _folds(self, guess: Guess) -> tuple[Moments, ...]:
        if _ATTRIBUTE not in guess.spec.attributes or "energy" not in guess.spec:
            return ()
        return (columns_fold(guess, guess.spec["energy"]),)

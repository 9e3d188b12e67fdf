"""The museum of failures: what went wrong in real projects, each planted on a good dataset so that it can be refused.

A mutation is one function in the file of its system and one line in `MUTATIONS`, named ``system/failure``. It changes a
`Specimen` as the project's code did; the first line of its docstring says what that was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.registry import Table
from prep.transforms.pipeline import BoundTransform

MUTATIONS = Table(
    "mutations",
    {
        **{
            f"control/{name}": f"prep.mutations.control:{name}"
            for name in (
                "unapplied_statistics",
                "dummy_statistics",
                "padding_counted",
                "global_scale",
                "normalised_twice",
                "scaled_encoding",
                "filled_padding",
                "shared_trajectories",
                "scattered_windows",
                "stiff_family",
                "lost_family",
            )
        },
        **{
            f"covariance/{name}": f"prep.mutations.covariance:{name}"
            for name in (
                "raw_target",
                "one_sided_loading",
                "swallowed_exception",
                "reseeded_splits",
                "reseeded_splits_rounded",
                "mean_centred",
                "not_hermitian",
                "indefinite",
                "constant_symbols",
                "foreign_sources",
                "foreign_snapshots",
                "forgotten_powers",
                "mislabelled_snr",
            )
        },
        **{
            f"regression/{name}": f"prep.mutations.regression:{name}"
            for name in (
                "raw",
                "raw_inputs",
                "raw_targets",
                "not_a_number",
                "infinite",
                "constant_column",
                "test_statistics",
                "own_statistics",
                "dead_in_test",
                "shuffled_targets",
                "copied_rows",
                "nearly_copied_rows",
            )
        },
        **{
            f"peptide/{name}": f"prep.mutations.peptide:{name}"
            for name in (
                "unaligned",
                "constrained_energies",
                "angstrom",
                "wrong_thermostat",
                "one_wrong_thermostat",
                "mirrored",
                "frames_split_at_random",
                "shuffled_energies",
                "broken_molecule",
            )
        },
        **{
            f"tones/{name}": f"prep.mutations.tones:{name}"
            for name in (
                "random_phase",
                "shuffled_time",
                "interleaved",
                "carried_state",
                "same_targets",
                "one_phase_each",
                "wrong_selector",
            )
        },
    },
)


# Failures that leave nothing behind that a check of data could see: the trainer refuses them before its first step.
SEEN_IN_TRAINING = frozenset({"peptide/constrained_energies", "peptide/shuffled_energies"})


@dataclass(frozen=True, slots=True)
class TrainingFault:
    """A failure of training code: what happened, and which systems' code can have it."""

    story: str
    systems: tuple[str, ...] = ("control", "covariance", "peptide", "regression", "tones")


# A covariance is divided by its own trace on both sides of the loss, and a flow has no stored target.
_WITH_TARGET = ("control", "regression", "tones")

# Failures of training code rather than of data; `prep train --system SYSTEM+FAILURE` plants them.
TRAINING_FAULTS = {
    "summed_loss": TrainingFault("The loss was summed over batch and features instead of averaged."),
    "no_updates": TrainingFault("The optimiser never had the parameters: nothing moved, and the loss only wavered."),
    "wrong_index": TrainingFault("The metric compared each prediction with the target of its neighbour."),
    "one_sided_scale": TrainingFault(
        "The loss scaled one of its sides back: the target was 72 times larger than the prediction.", _WITH_TARGET
    ),
    "moving_weights": TrainingFault(
        "Metrics were taken while weights moved: chasing the last target looked like learning."
    ),
    "turned_sign": TrainingFault(
        "The target's sign was turned on its way into the batch: training fitted it, and nothing else agreed.",
        _WITH_TARGET,
    ),
}


@dataclass(slots=True)
class Specimen:
    """A whole normalised dataset in memory, to be changed in place.

    ``arrays`` are the stored values (rows, *shape) by field, writeable; ``constants`` the arrays stored once. A field
    may get another dtype: `finished` describes it as it is then.
    """

    spec: DatasetSpec
    arrays: dict[str, Array]
    constants: Mapping[str, Array]
    transforms: Mapping[str, BoundTransform]

    def original(self, name: str) -> Array:
        """The field in original units, (rows, *shape) float64 or complex128."""
        return self.transforms[name].invert(self.arrays[name], **self._others(name))

    def store(self, name: str, values: Array) -> None:
        """Put values in place of a field's, in its dtype."""
        self.arrays[name] = np.ascontiguousarray(values, self.spec[name].dtype)

    def standardise(self, name: str, values: Array) -> None:
        """Put ``values`` in original units in place of a field's, standardised by their own train statistics, which the
        embedded transforms then tell: as a pipeline does that was given wrong values.
        """
        train = values[self.rows("train")]
        mean, std = train.mean(axis=0), train.std(axis=0)
        self.store(name, (values - mean) / std)
        document = json.loads(self.spec.documents["transforms"])
        document[name]["params"] |= {"mean": mean[np.newaxis].tolist(), "std": std[np.newaxis].tolist()}
        self.spec = replace(self.spec, documents={**self.spec.documents, "transforms": json.dumps(document)})

    def rows(self, split: str) -> slice:
        """Where a split lies."""
        return slice(*self.spec.splits[split])

    def finished(self) -> DatasetSpec:
        """The description of what the arrays have become."""
        fields = tuple(replace(field, dtype=self.arrays[field.name].dtype) for field in self.spec.fields)
        return self.spec.with_fields(fields)

    def _others(self, name: str) -> dict[str, Any]:
        return {other: array for other, array in self.arrays.items() if other != name}


Mutation = Callable[[Specimen], None]


def story(mutation: Mutation) -> str:
    """What happened, in one line."""
    return (mutation.__doc__ or "").strip().splitlines()[0]

"""What a failed check of a dataset's own schema means for a training, in plain words, and the command that mends it."""

from __future__ import annotations

import shlex

from prep.symptoms import Guess
from prep.symptoms.words import look, normalise

# Which command: the line from raw data again, a new build from the recipe or source, or a look at the values.
_NORMALISE, _BUILD, _LOOK = "normalise", "build", "look"

_MEANING: dict[str, tuple[str, str]] = {
    "aligned": (
        "the model spends itself on where and how a structure lies: samples mixed across rotations are no structure at "
        "all, with energies of 1e15 kJ/mol",
        _BUILD,
    ),
    "binary": (
        "flags that are no 0 or 1 weigh what they mask by another factor, and say a system that there is not",
        _NORMALISE,
    ),
    "boltzmann_slope": (
        "temperatures or energies are not those of these samples: what is carried from one temperature to another is "
        "weighted by exp of a wrong number",
        _BUILD,
    ),
    "bond_lengths": (
        "positions are no molecule of these units: bonds ten times too long, or torn across a border, have energies "
        "that outweigh every other sample",
        _BUILD,
    ),
    "chirality": ("the model learns the mirror image of the molecule, with the same loss", _BUILD),
    "constant_feature": (
        "a column that never varies carries nothing, and its standard deviation of 0 makes NaN of whatever is divided",
        _LOOK,
    ),
    "count_matches": (
        "the count and the mask say different numbers of entries: one half of the code reads padding",
        _BUILD,
    ),
    "effective_sample_size": (
        "samples are repetitions of a few: the score wavers as much as that of so few would, whatever the row count "
        "says",
        _BUILD,
    ),
    "embedded_statistics": (
        "the statistics that the file carries are not those of its values: whoever uses them scales wrongly",
        _NORMALISE,
    ),
    "embedded_transforms": (
        "the transform that the file carries is not the one its values had: predictions are inverted into wrong units",
        _NORMALISE,
    ),
    "encoding": (
        "the bits name another system than the sample's: the model is told wrongly which one it controls",
        _NORMALISE,
    ),
    "factorised": ("a loss computed with the factor is that of another matrix than the stored one", _BUILD),
    "finite": ("one NaN or infinity makes the loss NaN, and the next step every weight", _LOOK),
    "fir_probe": (
        "a filter finds no trace of the target in the input: the loss stays at that of the mean, 0.5 for a sine",
        _BUILD,
    ),
    "fresh_symbols": (
        "all snapshots of a sample show one vector: of the covariance, a matrix of rank one is all that can be learned",
        _BUILD,
    ),
    "group_count": (
        "groups are missing, or there are others: the score leaves out what the missing ones would have cost",
        _BUILD,
    ),
    "groups_disjoint": (
        "the same session is in train and test: the test is passed by remembering, and says nothing of new ones",
        _BUILD,
    ),
    "growth": (
        "an unstable simulation is in the data: its largest values make the loss, and there is nothing to learn in "
        "them",
        _BUILD,
    ),
    "held_out": (
        "a split differs from train in scale, offset or dead columns, or has statistics of its own: its score is not "
        "that of the data as they come",
        _NORMALISE,
    ),
    "hermitian": ("no covariance: a model with Hermitian output can never reach it, and its loss has a floor", _BUILD),
    "in_bounds": ("values beyond what is possible: a few of them make the loss, which grows with their square", _LOOK),
    "learnability": (
        "a linear probe predicts the target no better than zero does: inputs and targets may not belong together, "
        "and then nothing can be learned",
        _BUILD,
    ),
    "linear_fit": (
        "a target that is linear in the input by construction is not: rows, steps or gains are mixed up, and the loss "
        "cannot reach 0",
        _BUILD,
    ),
    "loss_share": (
        "one group makes most of the loss: all others can be as wrong as they like without its being seen",
        _NORMALISE,
    ),
    "mask_prefix": ("padding lies between entries that count: code that only counts them reads the wrong ones", _BUILD),
    "mean_probe": ("the target follows from its place alone: a model that ignores its input scores well", _BUILD),
    "near_unique_rows": (
        "samples held out were trained on, a rounding away: their score is that of remembering",
        _BUILD,
    ),
    "norm_bounds": ("matrices of impossible norm for their trace: not semidefinite, or scaled on one side", _NORMALISE),
    "one_hot": (
        "the selector names no class, several, or another one than the target's: the model answers another question",
        _BUILD,
    ),
    "psd": (
        "no covariance: Cholesky factors and log-determinants are NaN, and a model that outputs A Aᴴ cannot reach it",
        _BUILD,
    ),
    "rank": ("matrices have other numbers of sources than the labels say: loaded, averaged or mixed up", _BUILD),
    "separated": (
        "neighbours in time are in two splits: they are nearly the same sample, and the score is that of remembering",
        _BUILD,
    ),
    "split_flags": ("rows say another split than where they lie: some are trained on and tested with", _BUILD),
    "standardised": (
        "columns do not have mean 0 and standard deviation 1 in train: the loss no longer says how much better than "
        "the mean a model is, and the learning rate fits other data",
        _NORMALISE,
    ),
    "steering_span": ("labels are those of another sample: what a model can learn of them is their average", _BUILD),
    "stored_bytes": (
        "the bytes are not known to be those that were written: nothing that was said of them is known to hold",
        _NORMALISE,
    ),
    "structure": (
        "fields, units or transforms are not what the schema says: the loss may compare different things",
        _NORMALISE,
    ),
    "time_steps": (
        "steps are missing, repeated or out of order, or nothing marks where a sequence begins: a model that remembers "
        "follows jumps that never took place",
        _BUILD,
    ),
    "trace_n": (
        "one side of the loss is scaled, loaded or empty: a target 72 times the prediction has a loss of 0.97 of its "
        "square that no training takes away",
        _NORMALISE,
    ),
    "transform_plan": (
        "the data were normalised by another plan than the schema's: an old version, or another one",
        _NORMALISE,
    ),
    "unique_rows": ("samples held out were trained on: their score is that of remembering", _BUILD),
    "unit_rms": ("samples differ in strength: the loudest make the loss, and the others are hardly seen", _NORMALISE),
    "whitened_power": (
        "inputs do not have the power that their targets cause: they are those of another sample, and nothing can be "
        "learned of them",
        _BUILD,
    ),
    "windows_disjoint": (
        "windows of one series overlap across splits: the test is passed by remembering, whatever the ids say",
        _BUILD,
    ),
    "zero_baseline": (
        "predicting zero does not score what it does on normalised targets (1 for mean squared error): raw targets "
        "have started at 1e15, with gradients 1e7 times too large; padding that was counted shrinks them",
        _NORMALISE,
    ),
    "zero_padding": (
        "padding holds something: layers that read the whole array see it as data, and an unmasked loss counts it",
        _NORMALISE,
    ),
}
KNOWN = frozenset(_MEANING)


def consequence(check: str, guess: Guess, field: str = "") -> tuple[str, str]:
    """What it means that ``check`` fails on ``field``, and the command that mends it or shows more.

    Checks of others, which are not known here, are said to have failed, with the command that tells all.
    """
    told = _MEANING.get(check)
    if told is None:
        return "what the schema demands of the data does not hold", f"prep validate {shlex.quote(guess.source)} -v"
    means, kind = told
    if kind == _NORMALISE:
        return means, normalise(guess)
    if kind == _LOOK and field in guess.spec:
        return means, look(guess, field)
    return means, _build(guess)


def _build(guess: Guess) -> str:
    """Raw data again: from the recipe that made them, else from their source."""
    name = guess.spec.name
    if guess.spec.attributes.get("source", "") == f"prep recipe {name}":
        raw = f"data/raw/{shlex.quote(name)}.h5"
        return f"prep generate {shlex.quote(name)} -o {raw} && {normalise(guess)}"
    return normalise(guess)

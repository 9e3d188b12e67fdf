"""Options of loaders as users write them: whole numbers, names that exist, and who chooses an epoch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prep.blocks import FieldSpec
from prep.errors import UsageError, Where
from prep.gate import CertifiedDataset


@dataclass(frozen=True, slots=True)
class EpochSampler:
    """Where trainers choose the order of an epoch, at the place where a torch DataLoader has it:
    ``batch_sampler.sampler.set_epoch``.
    """

    set_epoch: Callable[[int], None]
    batch_size: int

    @property
    def sampler(self) -> EpochSampler:
        """The one with ``set_epoch``."""
        return self


def whole_number(name: str, value: object, least: int = 0) -> int:
    """``value`` as an int; `UsageError` for what is no whole number, or below ``least``."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise UsageError(
            f"{name} is a whole number",
            measured=repr(value),
            allowed=f"{least} or more",
            remedy=f"give {name} as an int",
        )
    return number


def demand_options(given: Iterable[str], known: Iterable[str]) -> None:
    """`UsageError` unless every option that is ``given`` is ``known``."""
    allowed = tuple(known)
    wrong = sorted(set(given) - set(allowed))
    if wrong:
        raise UsageError(
            f"loaders have no option {wrong[0]}",
            measured=", ".join(wrong),
            allowed=", ".join(allowed),
            remedy="leave it out (docs/loaders.md has the options); there are no worker processes to tune",
        )


def demand_types(
    dataset: CertifiedDataset,
    fields: Iterable[str],
    dtype: object,
    fits: Callable[[FieldSpec, Any], bool],
    floating: Callable[[Any], bool],
    *,
    known: str,
) -> None:
    """`UsageError` unless ``dtype`` is one for floating fields (`floating`), or by the name of one of ``fields`` one
    that holds what is stored (``fits``): nothing is cut off, but digits of the same kind of number.
    """
    if dtype is None:
        return
    if not isinstance(dtype, Mapping):
        if not floating(dtype):
            raise _type_refused(Where(dataset=dataset.id), repr(dtype), known)
        return
    names = tuple(fields)
    for name, wanted in dtype.items():
        if name not in names:
            raise UsageError(
                "a type is asked for a field that is not among those of the batches",
                where=Where(dataset=dataset.id, field=str(name)),
                measured=repr(name),
                allowed=", ".join(names),
                remedy="name it in fields too, or leave it out of dtype",
            )
        if not fits(dataset.spec[name], wanted):
            stored = dataset.spec[name].dtype
            raise _type_refused(Where(dataset=dataset.id, field=name), f"{wanted!r} for {stored} values", known)


def _type_refused(where: Where, measured: str, known: str) -> UsageError:
    return UsageError(
        "values cannot be had in this type without losing what they say",
        where=where,
        measured=measured,
        allowed=f"{known}; complex values as complex, or in pairs (complex_pairs=True) as floating ones",
        remedy="choose such a type, or leave the values as they are stored",
    )

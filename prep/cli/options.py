"""Turn option texts into values; what does not parse is a usage error that shows the form."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from prep.errors import UsageError, Where
from prep.importers.mapping import ROLES

if TYPE_CHECKING:
    from prep.certificate.policy import Level
    from prep.engine import Workers
    from prep.importers import IngestOptions


def ingest_options(mapping: Path | None, roles: Sequence[str], group: str, fractions: str, seed: int) -> IngestOptions:
    """Options of `ingest` from the command line."""
    from prep.importers import IngestOptions

    body = {}
    if mapping is not None:
        from prep.importers.mapping import load_mapping

        body = load_mapping(mapping)
    return IngestOptions(
        mapping=body, fractions=_fractions(fractions), seed=seed, roles=dict(map(_role, roles)), group=group
    )


def doctor_roles(texts: Sequence[str]) -> dict[str, str]:
    """Roles that a user states to `prep doctor`, which knows times too."""
    return dict(_role(text, (*ROLES, "time")) for text in texts)


def executor(workers: int | None, scheduler: str | None) -> Workers:
    """Who does the work: threads, or the workers of a scheduler, which answers and has one before anything is done."""
    if scheduler is None:
        return workers
    if workers is not None:
        raise UsageError(
            "the work is done by threads here or by the workers of a scheduler, not by both",
            where=Where(key="--workers, --scheduler"),
            measured=f"--workers {workers} --scheduler {scheduler}",
            allowed="one of the two",
            remedy="leave --workers out; `dask worker --nworkers N --nthreads M` says how many do the work",
        )
    from prep.engine import demand_scheduler

    demand_scheduler(scheduler)
    return scheduler


def level(text: str) -> Level:
    """A level of trust."""
    if text == "sealed":
        return "sealed"
    if text == "signed":
        return "signed"
    raise UsageError(
        "there is no such level",
        where=Where(key="--require"),
        measured=text,
        allowed="sealed, signed",
        remedy="demand one of the two",
    )


def passphrase_for(keys: Sequence[Path], file: Path | None) -> str:
    """The passphrase of private keys, from a file or asked for on a terminal; none where no key has one."""
    from prep.certificate import keyfiles

    locked = [each for each in keys if keyfiles.holds_private(each) and keyfiles.needs_passphrase(each)]
    if not locked:
        return ""
    if file is not None:
        return keyfiles.read_passphrase(file)
    if not sys.stdin.isatty():
        return ""
    return str(typer.prompt(f"passphrase of {locked[0]}", hide_input=True, err=True))


def new_passphrase(file: Path | None) -> str:
    """The passphrase for a new key, from a file or asked for twice on a terminal; elsewhere none."""
    if file is not None:
        from prep.certificate import keyfiles

        return keyfiles.read_passphrase(file)
    if not sys.stdin.isatty():
        return ""
    asked = "passphrase (empty: the key is not encrypted)"
    return str(typer.prompt(asked, default="", show_default=False, hide_input=True, confirmation_prompt=True, err=True))


def demand_mutation(system: str | None, failure: str | None, output: Path | None) -> tuple[str, str, Path]:
    """The three arguments of `mutate`, all of them there."""
    if system is None or failure is None or output is None:
        raise UsageError(
            "a mutation needs a system, a failure and an output",
            measured=" ".join(str(each) for each in (system, failure, output) if each is not None),
            allowed="prep mutate SYSTEM FAILURE OUT, or prep mutate --list",
            remedy="choose one of `prep mutate --list`",
        )
    return system, failure, output


def _role(text: str, known: Sequence[str] = ROLES) -> tuple[str, str]:
    name, separator, role = text.partition("=")
    if not separator or role not in known:
        raise UsageError(
            "a role is given as FIELD=ROLE",
            where=Where(key="--role"),
            measured=text,
            allowed=f"FIELD=ROLE with ROLE one of {', '.join(known)}",
            remedy="for example --role actions=target",
        )
    return name, role


def _fractions(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            "the shares of train, val and test are three numbers with commas between",
            where=Where(key="--fractions"),
            measured=text,
            allowed="for example 0.8,0.1,0.1",
            remedy="give three shares that add up to 1",
        ) from error
    return train, val, test

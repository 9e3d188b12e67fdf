"""What the end of a child, or its silence, or its nonsense means: the errors that a user sees."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from prep.errors import IntegrityError, PrepError, UnfinishedError, Where
from prep.isolation.limits import Limits


def nonsense(path: Path, error: Exception) -> IntegrityError:
    """The refusal of a file whose reader answers what no reader of prep answers."""
    return IntegrityError(
        "the process that reads this file answers nonsense, as if the file had taken it over",
        where=Where(path=str(path)),
        measured=str(error)[:200],
        allowed="an answer that fits the question",
        remedy="do not open this file with other programs; restore it from a copy or ask for the original",
    )


def kills(path: Path, measured: str, limits: Limits) -> IntegrityError:
    """The refusal of a file that the child could not bear."""
    return IntegrityError(
        "this file crashes or exhausts the HDF5 library",
        where=Where(path=str(path)),
        measured=measured,
        allowed=f"{limits} in a process of its own",
        remedy="do not open this file with other programs; restore it from a copy or ask for the original",
    )


def defect(path: Path, measured: str) -> UnfinishedError:
    """The error of an answer that is a defect of ours."""
    return UnfinishedError(
        "the process that reads HDF5 met an error that it does not know",
        where=Where(path=str(path)),
        measured=measured,
        remedy="this is a defect of prep, and nothing was decided about the data: please report these lines",
    )


def not_started(measured: str) -> UnfinishedError:
    """The error where there is no child to ask."""
    return UnfinishedError(
        "the process that reads HDF5 could not be started",
        measured=measured[:500],
        allowed="a Python that imports prep and h5py within two minutes",
        remedy="see that this Python can start programs (memory, number of processes, sandbox), then run it again",
    )


def died(path: Path, status: int | None, limits: Limits) -> PrepError:
    """What it says about the file that its reader ended with ``status`` (negative for a signal)."""
    if status == -signal.SIGXCPU:
        return kills(path, f"more than {limits.processor:.0f} s of processor time", limits)
    if status == -signal.SIGKILL:
        return UnfinishedError(
            "the process that reads HDF5 was killed from outside, so nothing is known about this file",
            where=Where(path=str(path)),
            measured="signal SIGKILL",
            remedy="if nobody did that, the system ran out of memory: free some, then run the command again",
        )
    return kills(path, _ending(status), limits)


def _ending(status: int | None) -> str:
    if status is None:
        return "it stopped answering"
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-status).name}"
    return f"signal {-status}"

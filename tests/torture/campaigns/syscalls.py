"""Every call that changes a file fails once, in every stage: as on a full, a broken or a read-only disk."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from tests.torture import shim
from tests.torture.campaign import Order, Tally
from tests.torture.cases import ENDINGS, STAGES, Case, cases
from tests.torture.runner import Ended, Faults, Runner

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
MODES = (shim.ONCE, shim.FROM_THEN_ON)
# That it cannot remove something is not told where the work is done: the next run removes it. A folder that was there
# already need not be made.
_NOT_TOLD = ("unlink ", "unlinkat ", "rmdir ", "mkdir ")
# What a resumed run would be spared is a help and no duty.
_HELP = (".done", ".new", "/cache", ".sqlite", "-journal")
_BEYOND = 400


def every_call(
    order: Order, *, stages: Sequence[str] = STAGES, endings: Sequence[str] = ENDINGS, small: bool = False
) -> Tally:
    """Let call 1, 2, … fail until a run is clean: every error in both modes, on old states and on none; with a
    ``count`` one of them for each call, in turn, on old states. ``small`` has what an interrupted run keeps fail too.
    """
    tally = Tally()
    with Runner(small=small) as runner:
        for case in cases(order.folder, runner, fresh=order.count == 0, endings=endings, stages=stages):
            _try(case, order, runner, tally)
    return tally


def all_calls(order: Order) -> Tally:
    """`every_call` on chunks of usual size and then on small ones."""
    tally = every_call(order)
    more = every_call(replace(order, folder=order.folder / "small"), small=True)
    tally.refused, tally.harmless = tally.refused + more.refused, tally.harmless + more.harmless
    tally.wrong, tally.findings = tally.wrong + more.wrong, [*tally.findings, *more.findings]
    tally.cut |= more.cut
    return tally


def _try(case: Case, order: Order, runner: Runner, tally: Tally) -> None:
    wanted = [(error, mode) for error, mode in product(ERRORS, MODES)]
    wanted += [(errno.ENOSPC, shim.SHORT), (errno.ENOSPC, shim.SHORT_THEN_FULL)]
    for number in range(1, _BEYOND):
        struck = 0
        for error, mode in wanted if not order.count else [wanted[(3 * number) % len(wanted)]]:
            if not order.goes_on(tally):
                return
            project = case.fresh(order.folder / "try")
            # How the interpreter ends matters with libhdf5 in it.
            brief = order.count > 0 and "zarr" in case.name
            faults = Faults(number, error, mode)
            ended = runner.start(*case.arguments, cwd=project, faults=faults, brief=brief).wait()
            finding = _judged(ended, mode) or case.settled(project, runner)
            struck += ended.counted.calls >= number
            label = f"{case.name}, call {number}, {errno.errorcode[error]}, mode {mode}, {ended.counted.first}"
            tally.note(finding and f"{label}: {finding}", refused=ended.code != 0)
        if not struck:
            return
    tally.note(f"{case.name}: no clean run after {_BEYOND} calls", refused=False)


def _judged(ended: Ended, mode: int) -> str:
    first = ended.counted.first
    if not ended.counted.failed or mode == shim.SHORT:
        return ended.complaint(0)
    if first.startswith(_NOT_TOLD) or any(each in first for each in _HELP):
        return ended.complaint(0, 4)
    return ended.complaint(4)

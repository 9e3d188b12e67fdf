"""A clock that jumps back a year between stages, and forward: no verdict and no result depends on it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.torture.campaign import Order, Tally
from tests.torture.cases import ENDINGS, STAGES, Names, hidden, make_project, state
from tests.torture.runner import EPOCH, Faults, Runner

_YEAR = 365 * 24 * 3600
_JUMPS = (0, -_YEAR, 3600, -10 * _YEAR, -60)


def clock(order: Order) -> Tally:
    """The line, each stage with another clock, the data replaced in between, always to the same files."""
    tally, random = Tally(), order.random("clock")
    with Runner() as runner:
        known = {ending: _line(order.folder, ending, "2", [0] * 9, runner) for ending in ENDINGS}
        while tally.runs < order.count and order.goes_on(tally):
            ending = random.choice(ENDINGS)
            clocks = [random.choice(_JUMPS) for _ in range(9)]
            found = _line(order.folder, ending, "12", clocks, runner)
            finding = ""
            if isinstance(found, str) or found != known[ending]:
                told = found if isinstance(found, str) else ""
                finding = f"another clock, another result ({ending}, {clocks}): {told}"
            tally.note(finding, refused=False)
    return tally


def _line(folder: Path, ending: str, seeds: str, clocks: list[int], runner: Runner) -> dict[str, str] | str:
    """Every stage for one seed after the other in the same project; the files afterwards, or what went wrong."""
    if (folder / "try").exists():
        shutil.rmtree(folder / "try")
    project, names = make_project(folder / "try" / "project"), Names(ending)
    for seed in seeds:
        for stage, jump in zip((*STAGES, "verify"), clocks, strict=False):
            arguments = names.command(stage) if stage != "verify" else ("verify", names.data, "--deep")
            more = ("--seed", seed) if stage == "generate" else ()
            ended = runner.start(*arguments, *more, cwd=project, faults=Faults(clock=jump), brief=True).wait()
            # A clock that is behind the certificate cannot tell whether that has expired.
            behind = stage == "verify" and time.time() + jump < int(EPOCH)
            if complaint := ended.complaint(3 if behind else 0):
                return complaint
            if behind and "made in the future" not in ended.err:
                return ended.err
    found = dict(state(project))
    return f"left behind: {hidden(found)}" if hidden(found) else found

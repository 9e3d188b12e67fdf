"""kill -9, Ctrl-C, SIGTERM and a lost terminal at random moments of every stage."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from random import Random

from tests.torture import shim
from tests.torture.campaign import Order, Tally
from tests.torture.cases import Case, cases
from tests.torture.runner import Ended, Faults, Run, Runner

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def kill(order: Order) -> Tally:
    """SIGKILL: the old state verifies or there is no certificate; the same command then gives what it always gives."""
    return _signals(order, (signal.SIGKILL,))


def interrupt(order: Order) -> Tally:
    """SIGINT, SIGTERM, SIGHUP: the same, and exit code 130 with one message."""
    return _signals(order, _INTERRUPTS)


def _signals(order: Order, numbers: tuple[int, ...]) -> Tally:
    tally, random = Tally(), order.random("signals", *numbers)
    with Runner(small=True) as runner:
        tried = cases(order.folder, runner)
        while tally.runs < order.count and order.goes_on(tally):
            case, number = random.choice(tried), random.choice(numbers)
            project = case.fresh(order.folder / "try")
            for _ in range(random.choice((1, 1, 1, 2, 3))):  # what goes on from a kill may be killed too
                ended = _struck(case, number, random, runner, project)
            finding = (_judged(ended) if number != signal.SIGKILL else "") or case.settled(project, runner)
            label = f"{case.name}, signal {number}, {ended.counted.first or f'after {ended.seconds:.3f} s'}"
            tally.note(finding and f"{label}: {finding}", refused=ended.code != 0)
    return tally


def _struck(case: Case, number: int, random: Random, runner: Runner, project: Path) -> Ended:
    """Half of them at a call that changes a file, where it matters most; the others at any moment."""
    if random.random() < 0.5:
        faults = Faults(random.randint(1, case.calls), number, shim.SIGNAL)
        return runner.run(*case.arguments, cwd=project, faults=faults)
    running: Run = runner.start(*case.arguments, cwd=project)
    time.sleep(random.uniform(0.02, case.seconds))
    running.signal(number)
    return running.wait()


def _judged(ended: Ended) -> str:
    """Before the command line is entered, and after it was left, the interpreter ends by the signal itself."""
    early = -ended.code in _INTERRUPTS and not ended.counted.first
    if early or ended.code == 0:
        return ""
    if ended.code == 130 and "interrupted" in ended.err and "Traceback" not in ended.err:
        return ""
    return ended.complaint(130)

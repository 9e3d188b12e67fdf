"""What is said cannot be told: nobody reads stdout any more, or it goes to a full disk."""

from __future__ import annotations

from tests.torture.campaign import Order, Tally
from tests.torture.cases import cases
from tests.torture.runner import Faults, Runner


def terminal(order: Order) -> Tally:
    """Every stage: exit code 141 where nobody reads stdout and 4 where it is full, without a traceback, and the files
    are those of a good run.
    """
    tally = Tally()
    with Runner() as runner:
        for case in cases(order.folder, runner, fresh=order.count == 0):
            for stdout in ("gone", "full"):
                if not order.goes_on(tally):
                    return tally
                project = case.fresh(order.folder / "try")
                ended = runner.run(*case.arguments, cwd=project, faults=Faults(stdout=stdout))
                finding = ended.complaint(141 if stdout == "gone" else 4) or case.settled(project, runner)
                tally.note(finding and f"{case.name}, stdout {stdout}: {finding}", refused=True)
    return tally

"""`python -m tests.fuzz TARGET|all [options of libFuzzer] [corpus]`: guided by coverage until it finds something."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["prep"]):
    from tests.fuzz.targets import TARGETS

from prep.errors import PrepError


def main() -> None:
    """Hand the target to libFuzzer, which ends the process."""
    name = sys.argv.pop(1)
    uses = [TARGETS[each].use for each in TARGETS if name in (each, "all")]

    def once(data: bytes) -> None:
        try:
            if len(uses) == 1:
                uses[0](data)
            elif data:
                uses[data[0] % len(uses)](data[1:])
        except PrepError as error:
            str(error)

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


main()

"""`python -m tests.fuzz TARGET [libFuzzer options] [corpus]`: guided by coverage, until it finds something."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["prep"]):
    from tests.fuzz.targets import TARGETS

from prep.errors import PrepError


def main() -> None:
    """Hand the target to libFuzzer, which ends the process."""
    name = sys.argv.pop(1)
    use = TARGETS[name].use

    def once(data: bytes) -> None:
        try:
            use(data)
        except PrepError as error:
            str(error)

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


main()

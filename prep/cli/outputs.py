"""The outputs of `validate` and `diff` for machines: all made of one document, each written whole or not at all, and
whatever becomes of the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prep.cli.output import encodable, write_json, write_output
from prep.errors import PrepError, UsageError, worst_exit_code


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where each output goes: a file, ``-`` for stdout, None for nowhere. `UsageError` where two go to one place."""

    json: str | None = None
    junit: str | None = None
    sarif: str | None = None
    html: str | None = None
    github: bool = False

    def __post_init__(self) -> None:
        named = [place for place in (self.json, self.junit, self.sarif, self.html) if place]
        paths = [os.path.realpath(place) if place != "-" else place for place in named]
        twice = next((place for place, path in zip(named, paths, strict=True) if paths.count(path) > 1), None)
        if twice:
            raise UsageError(
                "two outputs cannot go to one place",
                measured="stdout" if twice == "-" else twice,
                allowed="a place for each of --json, --junit, --sarif and --html",
                remedy="name another file for one of them",
            )

    @property
    def take_stdout(self) -> bool:
        """Whether stdout belongs to an output, so that nothing else is said there."""
        return "-" in (self.json, self.junit, self.sarif, self.html)

    def write(self, document: Mapping[str, Any], page: Callable[[], str] | None = None) -> tuple[PrepError, ...]:
        """Write every output, ``page`` last, as it takes longest. What could not be written is returned, so that it
        keeps neither the others nor the verdict from being told: end with `ended`.
        """
        from prep.report.github import append_summary, commands
        from prep.report.junit import junit
        from prep.report.sarif import sarif

        document = encodable(document)

        def annotate() -> None:
            for line in commands(document):
                print(line, file=sys.stderr if self.take_stdout else sys.stdout)

        writers: list[Callable[[], object]] = []
        if (json := self.json) is not None:
            writers.append(lambda: write_json(document, json))
        if (place := self.junit) is not None:
            writers.append(lambda: write_output(junit(document).decode(), place))
        if (alerts := self.sarif) is not None:
            writers.append(lambda: write_output(sarif(document).decode(), alerts))
        if self.github:
            writers += [lambda: append_summary(document), annotate]
        if (html := self.html) is not None and page is not None:
            writers.append(lambda: write_output(page(), html))
        unwritten = []
        for write in writers:
            try:
                write()
            except PrepError as error:
                unwritten.append(error)
        return tuple(unwritten)


def ended(exit_code: int, unwritten: tuple[PrepError, ...]) -> int:
    """Say which outputs could not be written, and the exit code that stands for that and for the verdict."""
    from prep.cli.output import report_error

    for error in unwritten:
        report_error(error)
    return worst_exit_code([exit_code, *(error.exit_code for error in unwritten)])

"""The outputs of `validate` and `diff` for machines: all made of one document, each written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prep.cli.output import write_json, write_output
from prep.errors import UsageError


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

    def write(self, document: Mapping[str, Any], page: Callable[[], str] | None = None) -> None:
        """Write every output, ``page`` last, as it takes longest; `StorageError` where a file cannot be."""
        if self.json:
            write_json(document, self.json)
        if self.junit:
            from prep.report.junit import junit

            write_output(junit(document).decode(), self.junit)
        if self.sarif:
            from prep.report.sarif import sarif

            write_output(sarif(document).decode(), self.sarif)
        if self.github:
            from prep.report.github import append_summary, commands

            append_summary(document)
            for line in commands(document):
                print(line, file=sys.stderr if self.take_stdout else sys.stdout)
        if self.html and page is not None:
            write_output(page(), self.html)

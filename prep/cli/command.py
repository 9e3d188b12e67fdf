"""What holds for every command before it begins: no output that it is asked for destroys what it reads, or data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.core import TyperArgument, TyperCommand

from prep.errors import UsageError, Where

_TEXTS = ("json", "junit", "sarif", "html")  # options that name a file for a text, or - for stdout


class Command(TyperCommand):
    """A command that refuses, before any work, an output that has no name or stands in the place of other data."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; `UsageError` for such an output."""
        given: Mapping[str, Any] = ctx.params
        named = {name: given[name] for name in _TEXTS if isinstance(given.get(name), str)}
        for name, place in named.items():
            if not place:
                raise UsageError(
                    "the name of this output is empty",
                    where=Where(key=f"--{name}"),
                    measured="no name, such as of a variable that is not set",
                    allowed="a file, or - for stdout",
                    remedy=f"name a file, or leave --{name} out",
                )
        places = [place for place in named.values() if place != "-"]
        if places:
            from prep.formats.replace import demand_text

            inputs = list(self._inputs(given))
            for place in places:
                demand_text(Path(place), inputs)
        return super().invoke(ctx)

    def _inputs(self, given: Mapping[str, Any]) -> Iterator[Path]:
        """Every file that is named on the command line beside the texts, whether it is read or written."""
        arguments = {each.name for each in self.params if isinstance(each, TyperArgument)}
        for name, value in given.items():
            for each in value if isinstance(value, list | tuple) else (value,):
                if isinstance(each, Path) or (isinstance(each, str) and name in arguments):
                    yield Path(each)

"""What a page is made of: sections of text, facts, tables, pictures, commands; its templates know nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from prep.report.outcomes import Outcome

Cell = str | Markup


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; ``tone`` is ``""``, ``quiet`` or ``warn``."""

    kind: ClassVar[str] = "text"
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a part of a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values side by side; values of the ``code`` names are digests and the like."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, Cell]]
    code: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption. ``columns`` are (heading, ``text``, ``number``, ``code`` or ``picture``); the first cell
    of a row is its heading. ``more`` says what was left out. ``folded``, it is opened by who wants it.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Cell]]
    more: str = ""
    folded: bool = False

    @property
    def slim(self) -> bool:
        """Whether it has so little to show that it need not fill the page."""
        kinds = [kind for _, kind in self.columns]
        return len(kinds) <= 6 and "bar" not in kinds and ("picture" in kinds or "number" in kinds)


@dataclass(frozen=True, slots=True)
class Figure:
    """Pictures side by side and what they show."""

    kind: ClassVar[str] = "figure"
    pictures: Sequence[Markup]
    caption: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command to copy, and what it does."""

    kind: ClassVar[str] = "command"
    text: str
    does: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What has to be mended, most urgent first; ``more`` counts those left out."""

    kind: ClassVar[str] = "findings"
    rows: Sequence[Outcome]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page with a heading that the contents lead to."""

    id: str
    title: str
    parts: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset on a page: ``status`` is ``passed``, ``warning``, ``failed`` or ``error``, ``verdict`` says it."""

    id: str
    name: str
    version: str
    path: str
    status: str
    verdict: str
    summary: str
    about: str
    facts: Sequence[tuple[str, Cell]]
    sections: Sequence[Section]

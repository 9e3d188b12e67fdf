"""Lazy tables `name → "module:attribute"`: how every family of parts is listed, loaded on demand and extended."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from prep.errors import UsageError


class Table:
    """A family of parts by name. Third parties add members through the entry-point group ``prep.<family>``.

    ``family`` is the plural noun shown in messages. Nothing is imported before `load` asks for it.
    """

    def __init__(self, family: str, members: Mapping[str, str]) -> None:
        self.family = family
        self._members = dict(members)
        self._extended = False

    def names(self) -> tuple[str, ...]:
        """Every known name, sorted."""
        self._extend()
        return tuple(sorted(self._members))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        self._extend()
        return name in self._members

    def load(self, name: str) -> Any:
        """The member itself; an unknown name is a `UsageError` that lists what exists."""
        self._extend()
        if name not in self._members:
            close = difflib.get_close_matches(name, self._members, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise UsageError(
                f"there is no {name!r} among the {self.family}",
                measured=name,
                allowed=", ".join(self.names()),
                remedy=f"{hint}use one of the listed names",
            )
        module, _, attribute = self._members[name].partition(":")
        return getattr(import_module(module), attribute)

    def _extend(self) -> None:
        if self._extended:
            return
        from importlib.metadata import entry_points  # takes 20 ms, and not every process asks for a member

        for point in entry_points(group=f"prep.{self.family}"):
            self._members.setdefault(point.name, point.value)
        self._extended = True

"""SVG elements: every text and attribute is escaped by construction, and every picture has a title."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

from prep.report.said import clean, short


class Picture:
    """An SVG of ``width`` × ``height`` units that says in its ``title`` what is to be seen.

    ``stretch`` lets it fill its place in both directions: for shapes without text.
    """

    def __init__(self, width: float, height: float, title: str, kind: str, *, stretch: bool = False) -> None:
        view = f"0 0 {_short(width)} {_short(height)}"
        self._root = Element("svg", {"viewBox": view, "role": "img", "class": kind})
        if stretch:
            self._root.set("preserveAspectRatio", "none")
        SubElement(self._root, "title").text = short(title)

    def add(self, tag: str, kind: str = "", text: str = "", **attributes: Any) -> None:
        """An element with class ``kind``; ``_`` in names of attributes is ``-``."""
        element = SubElement(self._root, tag)
        if kind:
            element.set("class", kind)
        for name, value in attributes.items():
            element.set(name.replace("_", "-"), _short(value) if isinstance(value, int | float) else clean(value))
        if text:
            element.text = clean(text)

    def done(self) -> Markup:
        """The element for a page."""
        return Markup(tostring(self._root, encoding="unicode"))


def _short(value: float) -> str:
    return f"{float(value):.2f}".rstrip("0").rstrip(".")

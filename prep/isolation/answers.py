"""What a child answered, taken apart strictly: it may be in the hands of the file that it reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.isolation.frames import Part

_DTYPE = re.compile(r"[<>|][biufcSUVOMm][0-9]{0,9}(\[[a-zA-Z0-9]{1,8}\])?")


class Answer:
    """A JSON value and raw parts; every getter raises `ValueError` for anything but what it is named after."""

    def __init__(self, value: Any, parts: Sequence[Part] = ()) -> None:
        self.value = value
        self.parts = parts

    def __getitem__(self, key: str) -> Answer:
        """The member ``key`` of a mapping."""
        if not isinstance(self.value, dict) or key not in self.value:
            raise ValueError(f"no {key!r} in the answer")
        return Answer(self.value[key], self.parts)

    def items(self) -> list[tuple[str, Answer]]:
        """The members of a mapping."""
        if not isinstance(self.value, dict):
            raise ValueError("no mapping in the answer")
        return [(key, Answer(each, self.parts)) for key, each in self.value.items()]

    def list(self) -> list[Answer]:
        """The members of a list."""
        if not isinstance(self.value, list):
            raise ValueError("no list in the answer")
        return [Answer(each, self.parts) for each in self.value]

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise ValueError("no text in the answer")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(each.text() for each in self.list())

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise ValueError("neither true nor false in the answer")
        return self.value

    def count(self) -> int:
        """An integer of at least 0 that fits 63 bits."""
        if type(self.value) is not int or not 0 <= self.value < 1 << 63:
            raise ValueError("no count in the answer")
        return self.value

    def counts(self) -> tuple[int, ...]:
        """A list of counts."""
        return tuple(each.count() for each in self.list())

    def numbers(self) -> tuple[float, ...]:
        """A list of finite numbers."""
        values = [each.value for each in self.list()]
        if not all(type(value) in (int, float) and abs(value) < float("inf") for value in values):
            raise ValueError("no numbers in the answer")
        return tuple(map(float, values))

    def dtype(self) -> np.dtype[Any]:
        """A NumPy type by its array-protocol string; never one of structures with members."""
        text = self.text()
        if not _DTYPE.fullmatch(text):
            raise ValueError(f"no number type in the answer: {text[:40]!r}")
        try:
            return np.dtype(text)
        except (TypeError, ValueError) as error:
            raise ValueError(f"no number type in the answer: {text!r}") from error

    def array(self, index: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """Part ``index`` as an array of numbers of just this type and shape."""
        if dtype.hasobject or not 0 <= index < len(self.parts):
            raise ValueError("no such array in the answer")
        part = self.parts[index]
        if part.nbytes != dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise ValueError(f"{part.nbytes} bytes are no array of shape {shape}")
        return part.view(dtype).reshape(shape)

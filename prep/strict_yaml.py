"""Strict YAML: no duplicate keys, anchors, aliases or tags; YAML 1.2 scalars; the line of every value for messages."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prep.errors import ConfigError, UsageError, Where

SIZE_LIMIT = 4 << 20
_DEPTH_LIMIT = 64
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """Parsed YAML: the value, the 1-based line on which the value at each place begins (``()`` is the whole), and the
    text it was parsed from.
    """

    value: Any
    lines: dict[Place, int]
    text: str

    def line(self, *place: str | int) -> int:
        """Line of the value at ``place``, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML whose plain scalars follow the YAML 1.2 core schema (``1e-5`` is a float, ``on`` and ``yes`` are
    text).
    """


_Loader.yaml_implicit_resolvers = {}
_NUMBER = list("-+0123456789.")
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _NUMBER),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", _NUMBER),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def read_yaml(path: Path, *, error: type[UsageError] = ConfigError) -> Document:
    """Read and parse a YAML file; ``error`` (naming file and line) for anything that is not strict YAML or cannot be
    read.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe might never end
                raise _wrong(error, str(path), None, "it is no regular file")
            data = file.read(SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            raise _wrong(error, str(path), None, f"it is larger than {SIZE_LIMIT >> 20} MiB")
        return parse_yaml(data.decode(), path=str(path), error=error)
    except OSError as problem:
        raise error(
            "this file cannot be read",
            where=Where(path=str(path)),
            measured=problem.strerror,
            remedy="check the path and its permissions",
        ) from problem
    except UnicodeDecodeError as problem:
        raise _wrong(error, str(path), None, "it is not UTF-8 text") from problem


def parse_yaml(text: str, *, path: str, error: type[UsageError] = ConfigError) -> Document:
    """Parse YAML text strictly; ``path`` is what messages name."""
    try:
        _demand_plain(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            lines: dict[Place, int] = {}
            value = None if node is None else _build(node, (), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        raise _wrong(error, path, mark.line + 1 if mark else None, str(problem.problem)) from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise _wrong(error, path, None, str(problem).splitlines()[0]) from problem
    return Document(value, lines, text)


def _demand_plain(text: str) -> None:
    """Refuse aliases, anchors and tags, wherever they stand, and what is nested so deeply that composing it would
    exhaust the stack of C.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        mark: Any = event.start_mark
        # An alias has the anchor that it names. What a tag says may differ from what is written: `!!bool maybe`.
        if getattr(event, "anchor", None) is not None:
            raise _refused("anchors and aliases are not allowed", mark)
        if (tag := getattr(event, "tag", None)) is not None:
            raise _refused(f"tags are not allowed ({tag})", mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_LIMIT:
            raise _refused("it is nested too deeply", mark)


def _build(node: Any, place: Place, lines: dict[Place, int]) -> Any:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused("a key must be text", key_node.start_mark)
            key = str(key_node.value)
            if key in result:
                raise _refused(f"duplicate key {key!r}", key_node.start_mark)
            result[key] = _build(value_node, (*place, key), lines)
            lines[(*place, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*place, index), lines) for index, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: Any) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")  # resolved from what is written, as there are no tags
    if kind == "float":
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "int":
        return int(node.value, 0) if node.value[:2] in ("0o", "0x") else int(node.value)
    if kind == "bool":
        return node.value.lower() == "true"
    return None if kind == "null" else node.value


def _refused(detail: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, detail, mark)


def _wrong(error: type[UsageError], path: str, line: int | None, detail: str) -> UsageError:
    return error(
        f"this is not strict YAML: {detail}",
        where=Where(path=path, line=line),
        allowed="YAML without duplicate keys, anchors, aliases and tags",
        remedy="correct the file at that line",
    )

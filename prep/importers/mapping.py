"""What a user says about a source: the mapping file and roles, checked against the form they must have.

A mapping file is YAML::

    fields:
      observations: log/state            # name: path in the source
      actions:
        path: log/command
        role: target                     # input, target, mask, id or aux; guessed from the name where absent
        units: N m                       # from the source's attribute `units` or `unit` where absent, else "1"
        dims: [sample, joint]            # default sample, actions_0, actions_1, …
        mask: joint_mask                 # the field that says which entries count
        long_name: commanded torque
    group: episode                       # an id field whose values stay on one side of a split
    split: log/split                     # an existing split column: 0, 1, 2 or train, val, test
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import ROLES as KNOWN_ROLES
from prep.errors import ConfigError, UsageError, Where
from prep.importers.names import role_of
from prep.strict_yaml import read_yaml

# The split comes of `split:`, and a constant has no samples to read.
ROLES = tuple(role for role in KNOWN_ROLES if role not in ("split", "constant"))
_KEYS = ("fields", "group", "split")
_FIELD_KEYS = ("path", "role", "units", "dims", "mask", "long_name")
_RESERVED = ("split", "sample", "prep")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DRAFTED = 40


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """One field of a mapping; ``role``, ``units`` and ``long_name`` are empty and ``dims`` None where not stated."""

    name: str
    path: str
    role: str = ""
    units: str = ""
    dims: tuple[str, ...] | None = None
    mask: str = ""
    long_name: str = ""


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """A parsed mapping file."""

    fields: tuple[FieldMapping, ...]
    group: str = ""
    split: str = ""


def load_mapping(path: Path) -> dict[str, Any]:
    """Read and check a mapping file. `ConfigError` with the line where something is wrong."""
    document = read_yaml(path)
    if not isinstance(document.value, dict):
        raise ConfigError(
            "this is not a mapping file",
            where=Where(path=str(path), line=1),
            measured=type(document.value).__name__,
            allowed="`fields:` and, if wanted, `group:` and `split:`",
            remedy="ingest without a mapping file to get a draft, then edit that",
        )
    try:
        parse_mapping(document.value, str(path))
    except ConfigError as error:
        error.where = replace(error.where, line=document.line(*error.where.key.split(".")))
        raise
    return document.value


def parse_mapping(mapping: Mapping[str, Any], path: str = "") -> SourceMapping:
    """The mapping in checked form. Unknown keys, wrong types, unusable names and double use are `ConfigError`\\ s."""
    _known(mapping, _KEYS, path, "")
    fields = mapping.get("fields")
    if not isinstance(fields, Mapping) or not fields:
        raise _wrong(path, "fields", fields, "at least one `name: path-in-source`")
    parsed = tuple(_field(name, value, path) for name, value in fields.items())
    names = tuple(field.name for field in parsed)
    owners: dict[str, str] = {}
    for field in parsed:
        if field.path in owners:
            allowed = f"a path that field {owners[field.path]!r} does not read already"
            raise _wrong(path, f"fields.{field.name}.path", field.path, allowed)
        owners[field.path] = field.name
    for field in parsed:
        if field.mask:
            _known_name(field.mask, names, path, f"fields.{field.name}.mask")
    group = _text(mapping, "group", path)
    if group:
        _known_name(group, names, path, "group")
    split = _text(mapping, "split", path)
    return SourceMapping(parsed, group, _path(split, path, "split") if split else "")


def fitting_roles(
    roles: Mapping[str, str], shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
) -> dict[str, str]:
    """`checked_roles`, with ``time`` for aux, of fields of a dtype and a shape (without the rows). `UsageError` for an
    id that is not one integer a sample, and a time that is not one real number.
    """
    checked = checked_roles(roles, shapes, (*ROLES, "time"))
    for name, role in checked.items():
        kinds = {"id": "iu", "time": "iuf"}.get(role, "")
        dtype, shape = shapes[name]
        if kinds and (dtype.kind not in kinds or shape not in ((), (1,))):
            raise UsageError(
                f"{name!r} can be no {role}",
                where=Where(field=name),
                measured=f"{dtype.name} {' × '.join(map(str, shape)) or '1'} a sample",
                allowed="one integer a sample" if role == "id" else "one real number a sample",
                remedy="give it another role, or none",
            )
    return {name: "aux" if role == "time" else role for name, role in checked.items()}


def checked_roles(roles: Mapping[str, str], names: Iterable[str], allowed: Sequence[str] = ROLES) -> dict[str, str]:
    """Roles that a user set, by field. `UsageError` for a field or a role that does not exist."""
    known = tuple(names)
    for name, role in roles.items():
        if name not in known:
            raise UsageError(
                f"there is no field {name!r} to give a role to",
                where=Where(field=name),
                allowed=", ".join(known),
                remedy=_closest(name, known),
            )
        if role not in allowed:
            raise UsageError(
                f"unknown role {role!r}",
                where=Where(field=name),
                measured=role,
                allowed=", ".join(allowed),
                remedy=_closest(role, allowed),
            )
    return dict(roles)


def guess_role(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """The role that a field's name suggests, aux where it says nothing; ``shape`` is without the sample dimension."""
    return role_of(name, dtype, shape)[0] or "aux"


def field_name(path: str) -> str:
    """A field's name from its path in the source: ``/`` and anything that is not a letter or digit becomes ``_``.

    It has at most 100 characters.
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "_", path.strip("/"))[:100].strip("_")
    return name if _NAME.fullmatch(name) and name not in _RESERVED else f"field_{name}"


def draft(entries: Iterable[tuple[str, tuple[int, ...], np.dtype[Any]]]) -> str:
    """A mapping file to save and edit. ``entries`` are (path, shape, dtype) of all arrays in the source.

    The arrays that share the most frequent length are taken as fields, the others are listed as comments.
    """
    found = list(entries)
    usable = [(path, shape, dtype) for path, shape, dtype in found if shape and dtype.kind in "biufc"]
    lengths = [shape[0] for _, shape, _ in usable]
    rows = max(set(lengths), key=lambda length: (lengths.count(length), length), default=0)
    lines, aside, names = ["fields:"], [], set()
    for path, shape, dtype in found:
        name = field_name(path)
        if not (shape and shape[0] == rows and dtype.kind in "biufc") or name in names:
            aside.append(f"# not taken: {path} {_describe(shape, dtype)}")
            continue
        names.add(name)
        role = guess_role(name, dtype, shape[1:])
        lines.append(f"  {name}: {{path: {_quoted(path)}, role: {role}}}  # {_describe(shape, dtype)}")
    if len(lines) > _DRAFTED:
        lines[_DRAFTED:] = [f"  # … and {len(lines) - _DRAFTED} more"]
    if len(aside) > _DRAFTED:
        aside[_DRAFTED:] = [f"# … and {len(aside) - _DRAFTED} more"]
    return "\n".join([*lines, *aside, "# group: NAME  (an id field whose values stay on one side of a split)"])


def _field(name: Any, value: Any, path: str) -> FieldMapping:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
        raise _wrong(path, f"fields.{name}", name, "letters, digits and _, a letter first; not split, sample or prep")
    key = f"fields.{name}"
    if isinstance(value, str):
        return FieldMapping(name, _path(value, path, key))
    if not isinstance(value, Mapping):
        raise _wrong(path, key, value, "a path, or a mapping with `path`")
    _known(value, _FIELD_KEYS, path, f"{key}.")
    texts = {part: _text(value, part, path, key) for part in ("role", "units", "mask", "long_name")}
    if texts["role"] and texts["role"] not in ROLES:
        raise _wrong(path, f"{key}.role", texts["role"], ", ".join(ROLES))
    dims = value.get("dims")
    if dims is not None and not (
        isinstance(dims, list | tuple)
        and all(isinstance(dim, str) and _NAME.fullmatch(dim) for dim in dims)
        and dims[:1] in (["sample"], ("sample",))
        and len(set(dims)) == len(dims)
    ):
        raise _wrong(path, f"{key}.dims", dims, "a list of different names, `sample` first")
    place = _path(_text(value, "path", path, key), path, f"{key}.path")
    return FieldMapping(name, place, dims=None if dims is None else tuple(dims), **texts)


def _path(value: str, path: str, key: str) -> str:
    parts = value.strip("/").split("/")
    if not all(parts) or "." in parts or ".." in parts or "\0" in value:
        raise _wrong(path, key, value, "a path inside the source, such as group/array")
    return "/".join(parts)


def _text(mapping: Mapping[str, Any], key: str, path: str, prefix: str = "") -> str:
    value = mapping.get(key, "")
    if not isinstance(value, str):
        remedy = "text; put it in quotes" if isinstance(value, bool | int | float) else "text"
        raise _wrong(path, f"{prefix}.{key}".lstrip("."), value, remedy)
    return value


def _known(mapping: Mapping[Any, Any], allowed: tuple[str, ...], path: str, prefix: str) -> None:
    for key in mapping:
        if key not in allowed:
            raise ConfigError(
                f"unknown key {key!r} in the mapping",
                where=Where(path=path, key=f"{prefix}{key}"),
                measured=key,
                allowed=", ".join(allowed),
                remedy=_closest(str(key), allowed),
            )


def _known_name(name: str, names: tuple[str, ...], path: str, key: str) -> None:
    if name not in names:
        raise ConfigError(
            f"the mapping names a field {name!r} that it does not define",
            where=Where(path=path, key=key),
            measured=name,
            allowed=", ".join(names),
            remedy=_closest(name, names),
        )


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "use one of the listed names"


def _wrong(path: str, key: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(
        "the mapping holds a value that cannot be used",
        where=Where(path=path, key=key),
        measured=repr(value),
        allowed=allowed,
        remedy="correct this entry of the mapping",
    )


def _quoted(path: str) -> str:
    return path if re.fullmatch(r"[A-Za-z][A-Za-z0-9_/]*", path) else "'" + path.replace("'", "''") + "'"


def _describe(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{dtype.name} {shape}"

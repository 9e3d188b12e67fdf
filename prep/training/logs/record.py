"""``run.json``: what a run is judged by, written when it begins, so that one that never ended can be diagnosed too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prep.canonical import parse_json
from prep.errors import IntegrityError, PrepError, Where
from prep.formats.commit import write_atomically

RECORD = "run.json"
VERSION = 1


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``folder/run.json``."""
    body = {"version": VERSION, **record}
    write_atomically(folder / RECORD, json.dumps(body, indent=2, allow_nan=False).encode() + b"\n")


def said_by(error: PrepError) -> dict[str, Any]:
    """What the guard said that stopped the run, as the record keeps it under ``stopped``."""
    told = {name: str(getattr(error, name)) for name in ("what", "measured", "allowed", "remedy")}
    return {"guard": error.where.key, "field": error.where.field, **told}


def read_record(folder: Path) -> Mapping[str, Any]:
    """What ``folder/run.json`` holds, empty where there is none; `IntegrityError` where it cannot be read."""
    place = folder / RECORD
    try:
        body = parse_json(place.read_bytes(), path=str(place))
        version = body.get("version") if isinstance(body, Mapping) else None
        measured = f"version {version}"
    except FileNotFoundError:
        return {}
    except (OSError, PrepError) as error:
        version, measured = None, str(error).splitlines()[0]
        body = {}
    if version != VERSION:
        raise IntegrityError(
            "this is no record of a prep run",
            where=Where(path=str(place)),
            measured=measured,
            allowed=f"version {VERSION}, as `prep train` writes it",
            remedy="remove it, and say with --baseline and --target what the run is judged by",
        )
    return dict(body)

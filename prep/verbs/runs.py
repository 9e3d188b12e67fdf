"""How runs ended: the ``result.json`` of each, for one table beside their baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prep.canonical import parse_json
from prep.errors import PrepError, UsageError, Where

RESULT = "result.json"
_KEYS = ("system", "dataset", "baseline", "step0", "metric", "test", "references", "target", "reached", "seconds")


def are_runs(paths: list[Path]) -> bool:
    """Whether all paths are folders of finished runs."""
    return all((path / RESULT).is_file() for path in paths)


def runs(*paths: str | Path) -> tuple[Mapping[str, Any], ...]:
    """What `prep.train` returned for each run folder, as mappings; `UsageError` for a folder without a whole result."""
    found = []
    for place in (Path(path) / RESULT for path in paths):
        try:
            body = parse_json(place.read_bytes(), path=str(place))
            missing = [key for key in _KEYS if key not in body]
        except (OSError, PrepError, TypeError) as error:
            missing, body = [type(error).__name__], {}
        if missing:
            raise UsageError(
                "this is no result of a finished run",
                where=Where(path=str(place)),
                measured=f"missing {', '.join(missing)}",
                allowed="a result.json that `prep train` wrote",
                remedy="train to the end, or go on with --resume",
            )
        found.append(body)
    return tuple(found)

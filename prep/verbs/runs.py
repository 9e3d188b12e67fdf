"""How runs ended: the ``result.json`` of each, for one table beside their baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prep.canonical import parse_json
from prep.errors import PrepError, UsageError, Where

RESULT = "result.json"
_KEYS = (
    *("system", "dataset", "root", "epochs", "baseline", "step0", "metric", "test", "train", "references"),
    *("better", "target", "reached", "seconds"),
)


def are_runs(paths: list[Path]) -> bool:
    """Whether the paths are of runs, finished or not, rather than of datasets: folders with a log, or results."""
    return any((path / "log.txt").is_file() or path.suffix == ".json" for path in paths)


def runs(*paths: str | Path) -> tuple[Mapping[str, Any], ...]:
    """What `prep.train` returned for each run folder (or copy of its ``result.json``), as mappings; folders that hold
    no run are passed over. `UsageError` for a run without a whole result, and where there is none.
    """
    found = []
    folders = [Path(path) for path in paths]
    places = [each if each.suffix == ".json" else each / RESULT for each in folders if not _no_run(each)]
    for place in places:
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
    if not found:
        raise UsageError(
            "none of these folders holds a run",
            where=Where(path=str(folders[0]) if folders else ""),
            remedy="name folders that `prep train` wrote, runs/* for all of them",
        )
    return tuple(found)


def _no_run(path: Path) -> bool:
    return path.is_dir() and not (path / "log.txt").exists() and not (path / RESULT).exists()

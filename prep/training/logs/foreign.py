"""Logs that anybody wrote, as rows of numbers by column: CSV, trainer_state.json, TensorBoard's event files."""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from prep.errors import UsageError, Where

_LIMIT = 512 << 20  # bytes of a text that is read whole
_EVENTS = "*.tfevents.*"
_STATE = "trainer_state.json"


def read_log(path: Path) -> tuple[str, list[dict[str, float]]]:
    """What kind of log ``path`` is and its rows, each with what it holds of every column; `UsageError` for none.

    A folder stands for the log in it: ``metrics.csv``, ``trainer_state.json``, else its event files, else its only
    CSV; also of the latest version or checkpoint below it.
    """
    if not path.exists():
        raise _no_log(path, "nothing is there")
    place, kind, reader = _located(path)
    rows = [row for row in reader(place) if row]
    if not rows:
        raise _no_log(place, "no row with a number")
    return kind, rows


def _located(path: Path) -> tuple[Path, str, Callable[[Path], list[dict[str, float]]]]:
    if path.is_file():
        if ".tfevents." in path.name:
            return path, "TensorBoard", _from_events
        if path.suffix == ".json":
            return path, "trainer_state.json", _from_state
        return path, "CSV", _from_csv
    for name, kind, reader in (("metrics.csv", "CSV", _from_csv), (_STATE, _STATE, _from_state)):
        found = sorted(path.glob(f"**/{name}"), key=lambda each: (-len(each.parts), each.stat().st_mtime))
        if found:
            return found[-1], kind, reader
    if any(path.glob(f"**/{_EVENTS}")):
        return path, "TensorBoard", _from_events
    tables = sorted([*path.glob("*.csv"), *path.glob("*.tsv")])
    if len(tables) == 1:
        return tables[0], "CSV", _from_csv
    if tables:
        raise _no_log(path, f"{len(tables)} CSV files: {', '.join(each.name for each in tables[:5])}")
    raise _no_log(path, "no metrics.csv, trainer_state.json, event file or other CSV")


def _from_csv(path: Path) -> list[dict[str, float]]:
    text = _without_comments(_text(path))
    head = text[: 1 << 16].splitlines()
    try:
        dialect: Any = csv.Sniffer().sniff(head[0] if head else "", delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    # Where a comma does not separate columns, it may separate decimals.
    decimal = "." if dialect.delimiter == "," else ","
    try:
        return [_numbers(row, decimal) for row in csv.DictReader(io.StringIO(text, newline=""), dialect=dialect)]
    except csv.Error as error:
        raise _no_log(path, str(error)) from error


def _without_comments(text: str) -> str:
    """What follows the lines that begin with #; the last of these is the head where only numbers follow."""
    lines = text.splitlines(keepends=True)
    first = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if 0 < first < len(lines) and not re.search("[a-df-z]", lines[first], re.IGNORECASE):
        lines[first - 1] = lines[first - 1].lstrip("# ")
        first -= 1
    return "".join(lines[first:])


def _from_state(path: Path) -> list[dict[str, float]]:
    """The history that Hugging Face's Trainer keeps; its last entry sums up the run and is left out."""
    try:
        body = json.loads(_text(path))
        history = body["log_history"] if isinstance(body, dict) else body
        if not isinstance(history, list) or not all(isinstance(each, dict) for each in history):
            raise _no_log(path, "no list of rows")
    except (ValueError, KeyError, RecursionError) as error:
        raise _no_log(path, f"no log_history: {str(error)[:80]}") from error
    return [_numbers(each) for each in history if "train_runtime" not in each]


def _from_events(path: Path) -> list[dict[str, float]]:
    """Scalars of all event files, by step; those of folders below carry the folder's name."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise UsageError(
            "reading event files needs TensorBoard, which is not installed",
            where=Where(path=str(path)),
            remedy="pip install 'prep-certified[train]', or give the same log as CSV",
        ) from error
    rows: dict[int, dict[str, float]] = {}
    for place in [path] if path.is_file() else sorted({each.parent for each in path.glob(f"**/{_EVENTS}")}):
        prefix = "" if place == path else f"{place.relative_to(path).as_posix()}/"
        with _hushed():
            try:
                found = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
                found.Reload()
                tags = found.Tags()
                values = {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in tags["scalars"]}
                values |= {tag: _of_tensors(found.Tensors(tag)) for tag in tags["tensors"]}
            except Exception as error:  # whatever a file that is no event file makes of the parser
                raise _no_log(place, f"{type(error).__name__}: {str(error)[:80]}") from error
        for tag, points in values.items():
            for step, value in points:
                rows.setdefault(step, {})[f"{prefix}{tag}"] = float(value)
    return [{"step": float(step), **rows[step]} for step in sorted(rows)]


def _of_tensors(events: Iterable[Any]) -> list[tuple[int, float]]:
    """Those tensors that are one number, as TensorFlow 2 writes scalars."""
    from tensorboard.util.tensor_util import make_ndarray

    found = []
    for each in events:
        array = make_ndarray(each.tensor_proto)
        if array.size == 1 and array.dtype.kind in "iuf":
            found.append((int(each.step), float(array.reshape(()))))
    return found


@contextmanager
def _hushed() -> Iterator[None]:
    """TensorBoard talks of what it skips."""
    logger = logging.getLogger("tensorboard")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _numbers(row: Mapping[Any, Any], decimal: str = ".") -> dict[str, float]:
    """The cells that are numbers; NaN and infinity are."""
    found: dict[str, float] = {}
    for name, cell in row.items():
        if not isinstance(name, str) or isinstance(cell, bool) or not isinstance(cell, str | int | float):
            continue
        try:
            found[name.strip()] = float(cell.replace(decimal, ".") if isinstance(cell, str) else cell)
        except (ValueError, OverflowError):
            continue
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LIMIT:
            raise _no_log(path, f"{path.stat().st_size} bytes, more than {_LIMIT}")
        raw = path.read_bytes()
        return raw.decode("utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_log(path, "bytes that are no text") from error
    except OSError as error:
        raise _no_log(path, error.strerror or str(error)) from error


def _no_log(path: Path, measured: str) -> UsageError:
    return UsageError(
        "there is no log to diagnose here",
        where=Where(path=str(path)),
        measured=measured,
        allowed="a folder that `prep train` wrote, a CSV with a column of losses, trainer_state.json, or TensorBoard's "
        "event files",
        remedy="name one of these",
    )

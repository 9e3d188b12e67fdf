"""What a person sees: errors, progress bars on a terminal and plain lines elsewhere, tables, and JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prep.errors import PrepError, printable, shortened

if TYPE_CHECKING:
    from rich.console import Console

    from prep.engine import Progress

_STYLES = {
    "verdict-good": "bold green",
    "verdict-bad": "bold red",
    "bad": "red",
    "warn": "yellow",
    "good": "green",
    "dim": "default",
}
_LONGEST_CELL, _LONGEST_LABEL = 200, 40
_PATIENCE = 1.0
_PLAIN_INTERVAL = 15.0


def console(*, error: bool = False) -> Console:
    """A console on stdout or stderr; without a terminal it writes plain, unwrapped text, unless ``FORCE_COLOR`` asks
    for colours, as the log of a CI server shows them.
    """
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    coloured = stream.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return Console(stderr=error, soft_wrap=True, highlight=False, no_color=None if coloured else True)


def report_error(error: PrepError) -> None:
    """Show an error on stderr, its first line emphasised."""
    target = console(error=True)
    for line in map(one_line, str(error).splitlines()):
        target.print(line, style=None if line.startswith("  ") else "bold red", markup=False)


class _Remark(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(record.getMessage())


def hear_remarks() -> None:
    """Show what the package logs for people, such as that loops are compiled first, as lines on stderr."""
    heard = logging.getLogger("prep")
    if not heard.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Remark())
        heard.addHandler(handler)
        heard.setLevel(logging.INFO)
        heard.propagate = False


def say(text: str | Sequence[str], style: str = "") -> None:
    """One line on stdout, or several; above the bar, without a style, where one is on the same terminal. Whatever
    strangers wrote into a dataset is text there: no line of its own, no command to the terminal or to a CI server.
    """
    for line in map(one_line, (text,) if isinstance(text, str) else text):
        if hasattr(sys.stdout, "rich_proxied_file"):
            print(line)
        else:
            console().print(line, style=_STYLES.get(style, style) or None, markup=False)


def one_line(text: str) -> str:
    """Text as it is shown to people: on one line, of limited length, and obeyed by nothing that reads it."""
    line = printable(shortened(text))
    # The runners of GitHub and Azure obey lines that begin with ::, after blanks, and ##[ wherever it is.
    if line.lstrip().startswith("::"):
        line = line.replace(":", "\\x3a", 1)
    return line.replace("##[", "#\\x23[")


def screen() -> tuple[int | None, int | None]:
    """Columns and lines that stdout shows at once, less two for the command and the next prompt; None where it is no
    terminal.
    """
    if not sys.stdout.isatty():
        return None, None
    found = shutil.get_terminal_size()
    return found.columns, max(found.lines - 2, 8)


def write_json(value: Any, target: str) -> None:
    """JSON to a file (atomically), or to stdout for ``-``."""
    text = json.dumps(
        encodable(value), indent=2, ensure_ascii=False, allow_nan=False, default=lambda each: encodable(str(each))
    )
    write_output(text + "\n", target)


def encodable(value: Any) -> Any:
    """A JSON value in which bytes of file names that are no UTF-8 stand as text, as in ``a\\udcff.h5``."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {encodable(key): encodable(each) for key, each in value.items()}
    return [encodable(each) for each in value] if isinstance(value, list | tuple) else value


def write_output(text: str, target: str) -> None:
    """A whole text to a file (atomically, as UTF-8), or to stdout for ``-``; into what is no file (``/dev/null``, a
    pipe) as it is. `UsageError` where a dataset or a sidecar would be replaced, `StorageError`.
    """
    text = encodable(text)
    if target == "-":
        print(text, end="")
        return
    from prep.formats.commit import storage_errors, write_atomically
    from prep.formats.replace import demand_text

    place, data = Path(target), text.encode()
    demand_text(place)
    with storage_errors(place):
        if place.exists() and not place.is_file() and not place.is_dir():
            place.write_bytes(data)
            return
    write_atomically(place, data)


def table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; ``columns`` are (heading, ``left`` or ``right``)."""
    columns = [(_cell(heading), side) for heading, side in columns]
    rows = [list(map(_cell, row)) for row in rows]
    widths = [max(len(heading), *(len(row[i]) for row in rows), 1) for i, (heading, _) in enumerate(columns)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if side == "right" else cell.ljust(width)
            for cell, width, (_, side) in zip(cells, widths, columns, strict=True)
        ).rstrip()

    head = line([heading for heading, _ in columns])
    rule = "  ".join("─" * width for width in widths)
    return [*([title] if title else []), head, rule, *(line(row) for row in rows)]


def _cell(text: str) -> str:
    return printable(shortened(text, _LONGEST_CELL))


def several(paths: Sequence[Path]) -> str:
    """What a stage is about, in few words: the one it is about, or how many."""
    return paths[0].name or str(paths[0]) if len(paths) == 1 else f"{len(paths)} paths"


def _briefly(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL // 2]}…{line[-_LONGEST_LABEL // 2 :]}"


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A progress callback for one stage: a bar on a terminal once it lasts over a second, plain lines elsewhere."""
    label = _briefly(label)
    watcher = _Bar(label) if sys.stderr.isatty() else _Lines(label)
    try:
        yield watcher
    finally:
        watcher.close()


class _Bar:
    """A bar, and below it the line that says how it goes."""

    def __init__(self, label: str) -> None:
        self._label, self._begin = label, time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, done: int, total: int, text: str = "") -> None:
        if self._bar is None:
            if time.monotonic() - self._begin < _PATIENCE:
                return
            self._start()
        self._bar.update(self._task, completed=done, total=total or None)
        self._bar.status = one_line(text)

    def _start(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.text import Text

        class WithStatus(Progress):
            status = ""

            def get_renderables(self) -> Iterator[Any]:
                yield self.make_tasks_table(self.tasks)
                if self.status:
                    yield Text(self.status, no_wrap=True, overflow="ellipsis")

        target = console(error=True)
        target.soft_wrap = False  # a line that wraps would not be taken away again
        self._bar = WithStatus(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=target,
            transient=True,
            # Lines for stdout are to arrive there, not on the terminal, where stdout is a file or a pipe.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._bar.start()
        self._task = self._bar.add_task(self._label, total=None)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


class _Lines:
    def __init__(self, label: str) -> None:
        self._label, self._said = label, time.monotonic()

    def __call__(self, done: int, total: int, text: str = "") -> None:
        now = time.monotonic()
        if total and now - self._said >= _PLAIN_INTERVAL:
            self._said = now
            how = f", {one_line(text)}" if text else ""
            print(f"{self._label}: {100 * done // total} %{how}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to end."""

"""The command line: parse, call a verb, render, and turn every outcome into the right exit code."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from prep.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNFINISHED, EXIT_UNREAD, EXIT_USAGE, PrepError, printable
from prep.memory import demand_memory

_NO_THREAD = "can't start new thread"
_NO_MEMORY = (
    "memory: there was not enough memory to finish\n"
    "  remedy:   free some, or run with fewer --workers; nothing was decided about the data"
)
_NOT_TOLD = (
    "storage: what there is to say cannot be written to stdout: {}\n"
    "  remedy:   run the same command again with an output that is read; what is done is not done again"
)


def main() -> None:
    """Entry point of the ``prep`` command."""
    stdout = -1
    with suppress(OSError):
        stdout = os.dup(1)  # rich and typer put another file in its place where nobody reads it
    sys.exit(_told(run(sys.argv[1:]), stdout))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error is rendered on stderr, none escapes."""
    import typer

    from prep.cli.app import app
    from prep.cli.output import hear_remarks, report_error, write_json

    # typer brings its own click since 0.20: the base of its usage errors is found, not imported.
    usage_errors: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × and − still gets the message
    hear_remarks()
    _expect_hdf5(arguments)
    try:
        demand_memory()
        result = app(args=arguments, prog_name="prep", standalone_mode=False)
    except PrepError as error:
        with suppress(OSError, SystemExit):  # who listened may be gone, and rich exits then
            report_error(error)
            if _wants_json(arguments):
                write_json({"error": error.to_dict()}, "-")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    except usage_errors as error:
        error.show()
        return EXIT_USAGE
    except MemoryError:
        _say(_NO_MEMORY)
        return EXIT_UNFINISHED
    except (BrokenPipeError, SystemExit):  # typer and rich exit where nobody reads
        return EXIT_UNREAD
    except OSError as error:
        _say(
            f"storage: the system refused: {printable(str(error))}\n"
            "  remedy:   check the path, its permissions and the free space, then run the command again"
        )
        return EXIT_UNFINISHED
    except Exception as error:
        if _NO_THREAD in str(error):
            _say(_NO_MEMORY)
            return EXIT_UNFINISHED
        _say(
            f"internal: {type(error).__name__}: {printable(str(error))}\n"
            f"  where:    {_innermost(error)}\n"
            "  remedy:   this is a defect of prep, and nothing was decided about the data: please report these lines"
        )
        return EXIT_UNFINISHED
    if result == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this exit status
        _say(
            "interrupted: nothing half-made was left under a final name; "
            "run the same command again (stats, normalize and validate go on from what is done)"
        )
    return result if isinstance(result, int) else 0


def _told(code: int, stdout: int) -> int:
    """The exit code, once what was said has reached whoever listens; that of unfinished work where it has not, and
    without a word `EXIT_UNREAD` where the reader of ``stdout``, an open copy of it, stopped as ``head`` does.
    """
    problem = os.strerror(errno.EPIPE) if code == EXIT_UNREAD else ""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed before the start
        try:
            stream.flush()
        except OSError as error:
            # The interpreter would try once more at its end, and complain.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            if stream is sys.stdout:
                problem = str(error.strerror)
    if problem and _unread(stdout):
        return EXIT_UNREAD
    if problem:
        _say(_NOT_TOLD.format(problem))
    return EXIT_UNFINISHED if problem and code in (EXIT_OK, EXIT_UNREAD) else code


def _unread(stdout: int) -> bool:
    """Whether it is a pipe whose reader is gone."""
    poll = select.poll()
    poll.register(stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        print(text, file=sys.stderr)


def _expect_hdf5(arguments: list[str]) -> None:
    """The process that parses HDF5 starts while the command is imported, where there is a file for it."""
    if any(each.lower().endswith((".h5", ".hdf5", ".nc")) and os.path.isfile(each) for each in arguments):
        from prep.isolation.sessions import prepare

        prepare()


def _interrupt(number: int, frame: FrameType | None) -> None:
    sys.unraisablehook = _only_interrupts
    raise KeyboardInterrupt


def _only_interrupts(unraisable: Any) -> None:
    """What libraries were making when they were interrupted may complain when it is taken apart."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _wants_json(arguments: list[str]) -> bool:
    return "--json=-" in arguments or any(pair == ("--json", "-") for pair in pairwise(arguments))


def _innermost(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"

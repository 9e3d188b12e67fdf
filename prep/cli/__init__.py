"""The command line: parse, call a verb, render, and turn every outcome into the right exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from prep.errors import EXIT_INTERRUPTED, EXIT_UNFINISHED, EXIT_USAGE, PrepError


def main() -> None:
    """Entry point of the ``prep`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error is rendered on stderr, none escapes."""
    import typer

    from prep.cli.app import app
    from prep.cli.output import hear_remarks, report_error, write_json

    # typer brings its own click since 0.20: the base of its usage errors is found, not imported.
    usage_errors: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × and − still gets the message
    hear_remarks()
    _expect_hdf5(arguments)
    try:
        result = app(args=arguments, prog_name="prep", standalone_mode=False)
    except PrepError as error:
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
        print(
            "memory: there was not enough memory to finish\n"
            "  remedy:   free some, or run with fewer --workers; nothing was decided about the data",
            file=sys.stderr,
        )
        return EXIT_UNFINISHED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_UNFINISHED
    except OSError as error:
        print(
            f"storage: the system refused: {error}\n"
            "  remedy:   check the path, its permissions and the free space, then run the command again",
            file=sys.stderr,
        )
        return EXIT_UNFINISHED
    except Exception as error:
        print(
            f"internal: {type(error).__name__}: {error}\n"
            f"  where:    {_innermost(error)}\n"
            "  remedy:   this is a defect of prep, and nothing was decided about the data: please report these lines",
            file=sys.stderr,
        )
        return EXIT_UNFINISHED
    if result == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this exit status
        print(
            "interrupted: nothing was written under a final name; "
            "run the same command again (stats, normalize and validate go on from what is done)",
            file=sys.stderr,
        )
    return result if isinstance(result, int) else 0


def _expect_hdf5(arguments: list[str]) -> None:
    """The process that parses HDF5 starts while the command is imported, where there is a file for it."""
    if any(each.lower().endswith((".h5", ".hdf5", ".nc")) and os.path.isfile(each) for each in arguments):
        from prep.isolation.sessions import prepare

        prepare()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wants_json(arguments: list[str]) -> bool:
    return "--json=-" in arguments or any(pair == ("--json", "-") for pair in pairwise(arguments))


def _innermost(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"

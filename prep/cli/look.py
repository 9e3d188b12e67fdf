"""Commands for a quick look at one field: plot, and the statistics of inspect."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prep.cli.arguments import LockFile, Scheduler, SchemaFile, TrustFile, Workers
from prep.errors import UsageError, Where

if TYPE_CHECKING:
    from prep.engine import Workers as Executor
    from prep.report.looked import FieldLook

_PIPED = 80


def plot(
    dataset: Annotated[Path, typer.Argument(help="A dataset, raw or normalised, certified or not.")],
    field: Annotated[str, typer.Argument(help="A field of it; `prep inspect DATASET` lists them.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw a .png or .svg there instead of in the terminal.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to look at.  [default: train]")] = "",
    samples: Annotated[int, typer.Option(help="Samples shown over time or as matrices.")] = 3,
    kind: Annotated[str, typer.Option(help="auto, histogram, series or matrix.")] = "auto",
    original: Annotated[
        bool, typer.Option("--original", help="In original units: the embedded transforms are undone.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Every feature in the terminal.")] = False,
    schema: SchemaFile = None,
    lock: LockFile = None,
    trust: TrustFile = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Show one field: a histogram for each feature, and a few samples over time or as matrices.

    In the terminal in blocks, with -o as a picture (needs matplotlib). Says whether the dataset is certified here; of
    one that is, every chunk read must be the certified one.

    Examples: `prep plot data/normalized/control.h5 states` ·
    `prep plot data/normalized/covariance.h5 covariance --original -o covariance.png` ·
    `prep plot data/raw/tones.h5 signal --kind series --samples 2 -o signal.svg`
    """
    from prep.cli.options import executor
    from prep.cli.output import progress, say
    from prep.report import look_text
    from prep.verbs.plot import plot as verb

    work = executor(workers, scheduler)
    with progress(f"plot {field}") as show:
        found = verb(
            dataset,
            field,
            output=output,
            split=split,
            samples=samples,
            kind=kind,
            original=original,
            schema=schema,
            lock_path=lock,
            trust_path=trust,
            workers=work,
            progress=show,
        )
    look = found.look
    if output is not None:
        say(f"{look.title()}: {', '.join(found.kinds)} in {output}")
        say(look.standing(), "good" if look.certified else "warn")
        for note in look.notes:
            say(note, "warn")
        return
    _say_heading(look)
    width, plain = _room()
    if "histogram" in found.kinds:
        _say_all(look_text.histograms(look, width, verbose=verbose, plain=plain))
    if "series" in found.kinds:
        _say_all(look_text.series(look, width, verbose=verbose, plain=plain))
    if "matrix" in found.kinds:
        _say_all(look_text.pictures(look, width, plain=plain))


def inspect_field(
    datasets: Sequence[Path],
    field: str,
    *,
    table: bool,
    by: str,
    split: str,
    verbose: bool,
    schema: Path | None,
    lock: Path | None,
    trust: Path | None,
    workers: Executor,
    json: str | None,
) -> None:
    """`prep inspect --stats`: measure a field of each dataset, show it, and write a file of JSON if asked to."""
    from prep.cli.output import progress, say, write_json
    from prep.engine import one_of
    from prep.verbs.look import look as verb

    if table:
        raise UsageError(
            "statistics of a field are no table of certified datasets",
            where=Where(key="--stats"),
            measured="--stats with --table or --output",
            allowed="--stats alone, or with --json FILE",
            remedy="leave --table and -o out; --json FILE writes the statistics",
        )
    found = []
    with progress(f"inspect {field}") as show:
        for place, path in enumerate(datasets):
            found.append(
                verb(
                    path,
                    field,
                    by=by,
                    split=split,
                    schema=schema,
                    lock_path=lock,
                    trust_path=trust,
                    workers=workers,
                    progress=one_of(show, place, len(datasets), path.name),
                )
            )
    if json:
        write_json([each.to_dict() for each in found] if len(found) > 1 else found[0].to_dict(), json)
    if json == "-":
        return
    for index, each in enumerate(found):
        if index:
            say("")
        _show_statistics(each, verbose=verbose)


def refuse_without_stats(options: Mapping[str, object]) -> None:
    """`UsageError` for options of ``--stats`` that are given without it."""
    given = [name for name, value in options.items() if value]
    if given:
        raise UsageError(
            "this option says how the statistics of a field are taken",
            where=Where(key=", ".join(given)),
            measured=f"{given[0]} without --stats",
            allowed="with --stats FIELD",
            remedy=f"name the field: prep inspect DATASET --stats FIELD {given[0]} …",
        )


def _show_statistics(look: FieldLook, *, verbose: bool) -> None:
    """The statistics of a field as tables, one for each kind of values."""
    from prep.cli.output import say, table
    from prep.report import look_text

    _say_heading(look)
    for title, columns, rows, remark in look_text.statistics(look, verbose=verbose):
        say("")
        say(title, "bold")
        say(table("", columns, rows))
        if remark:
            say(remark)
    say("")
    say(look_text.quantile_note(look))
    if look.groups and not look.by:
        say(f"of each group: --by {look.groups[0]}" + "".join(f", --by {name}" for name in look.groups[1:]))


def _say_heading(look: FieldLook) -> None:
    from prep.cli.output import say
    from prep.report import look_text

    title, *rest = look_text.heading(look)
    say(title, "bold")
    for line in rest:
        say(line, _style(look, line.strip()))


def _style(look: FieldLook, line: str) -> str:
    if line == look.standing():
        return "good" if look.certified else "warn"
    return "warn" if line in look.notes else ""


def _say_all(lines: Iterator[str]) -> None:
    from prep.cli.output import say

    for line in lines:
        say(line)


def _room() -> tuple[int, bool]:
    """Columns of the terminal, 80 where there is none, and whether its encoding lacks the blocks."""
    try:
        width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else _PIPED
    except (OSError, ValueError):
        width = _PIPED
    try:
        "█░▁".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return max(width, 40), True
    return max(width, 40), False

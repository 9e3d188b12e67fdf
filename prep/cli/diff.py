"""The command that compares two datasets: diff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import Json, Scheduler, SchemaFile, Workers


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="The dataset that is compared with, such as the last one.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The dataset that is looked at, such as the new one.")],
    schema: SchemaFile = None,
    split: Annotated[
        str, typer.Option(metavar="SPLIT", help="Statistics and distances of this split only; by default of all.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Demand limits: exit 2 where no schema states any, instead of 0.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read and hash every chunk, and measure what the manifests call equal too.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show everything that was compared.")] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="JUnit XML, a test case for each field and limit; - is stdout.")
    ] = None,
    sarif: Annotated[str | None, typer.Option(metavar="FILE", help="SARIF 2.1.0; - is stdout.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Annotations, and a table in the summary of the step.")
    ] = False,
) -> int:
    """Say how dataset B differs from dataset A: description, distributions, groups, samples.

    Either may be HDF5 or Zarr, raw or normalised; values are compared in original units. Limits in the schema
    (`prep: {drift: {limits: {psi: 0.2}}}`) make it a check of drift.

    Exit code: 0 within the limits or none stated, 1 beyond them, 2 usage or schema, 3 stored bytes, 4 not finished.

    Examples: `prep diff data/raw/control.h5 data/normalized/control.h5` ·
    `prep diff last/control.h5 data/normalized/control.h5 --check --junit drift.xml --github`
    """
    from prep.cli.options import executor
    from prep.cli.output import progress, report_error
    from prep.cli.outputs import Outputs, ended
    from prep.cli.render_diff import show_diff
    from prep.errors import PrepError
    from prep.verbs.diff import diff as verb
    from prep.verbs.diff import undone

    outputs = Outputs(json=json, junit=junit, sarif=sarif, github=github)
    work = executor(workers, scheduler)
    try:
        with progress(f"diff {a.name} {b.name}") as show:
            found = verb(a, b, schema=schema, split=split, check=check, deep=deep, workers=work, progress=show)
    except PrepError as error:
        unwritten = outputs.write(undone(a, b, error))
        report_error(error)
        return ended(error.exit_code, unwritten)
    unwritten = outputs.write(found.to_dict())
    if not outputs.take_stdout:
        show_diff(found, verbose=verbose)
    return ended(found.exit_code, unwritten)

"""The command that looks at any file: doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prep.cli.arguments import Json, Scheduler, Workers
from prep.errors import EXIT_OK, PrepError, Refusal, UsageError, Where

if TYPE_CHECKING:
    from prep.engine import Workers as Executor


def doctor(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="HDF5, Zarr, NPZ, NPY, CSV, Parquet, Minari, …")],
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="FIELD=ROLE", help="What a field is, where the guess is wrong; may be repeated."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show everything that was found.")] = False,
    draft: Annotated[
        bool, typer.Option("--write-schema", help="Draft a schema of the file instead: schemas/NAME.yaml, or --output.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where --write-schema writes.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --write-schema replace what is there.")] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
) -> int:
    """Say what in a file would hurt a training, and by how much: no schema, no configuration.

    Finds the layout, guesses what is input, target, mask, id and time, and looks once at every value. Exit code: 0
    nothing harmful, 1 something is, 2 usage, 3 damaged bytes, 4 not finished; of a folder the worst of its files:
    damaged, harmful, not finished, usage.

    Examples: `prep doctor my.h5` · `prep doctor my.h5 --write-schema` ·
    `prep doctor table.csv --role price=target` · `prep doctor data/ --json -`
    """
    from prep.cli.options import doctor_roles, executor
    from prep.cli.output import progress, report_error, say
    from prep.cli.outputs import Outputs, ended
    from prep.report.examined import Examination, document, exit_code
    from prep.report.examined_text import lines
    from prep.verbs.doctor import doctor as verb

    roles, work = doctor_roles(role or []), executor(workers, scheduler)
    if draft:
        return _write_schema(path, output, roles, force=force, workers=work, json=json)
    if output is not None or force:
        raise UsageError(
            "these options say where a drafted schema goes",
            where=Where(key="--output, --force"),
            measured="without --write-schema",
            allowed="with --write-schema",
            remedy="add --write-schema; --json FILE writes what was found",
        )
    outputs = Outputs(json=json)
    try:
        with progress(f"doctor {path.name}") as show:
            found = verb(path, roles=roles, workers=work, progress=show)
    except PrepError as error:
        if json != "-" and (unwritten := outputs.write(document([Examination(path, error=error)]))):
            raise Refusal([error, *unwritten]) from error
        raise  # what goes to stdout is written by whoever reports the error
    unwritten = outputs.write(document(found))
    if json != "-":
        for each in found:
            if each.error is not None:
                say(f"{each.path}: not examined", "verdict-bad")
                report_error(each.error)
            if each.found is not None:
                for style, text in lines(each.found, verbose=verbose):
                    say(text, style)
    return ended(exit_code(found), unwritten)


def _write_schema(
    path: Path, output: Path | None, roles: dict[str, str], *, force: bool, workers: Executor, json: str | None
) -> int:
    from prep.cli.output import progress, say, write_json
    from prep.verbs.drafted import write_schema

    with progress(f"doctor {path.name}") as show:
        done = write_schema(path, output=output, roles=roles, force=force, workers=workers, progress=show)
    if json:
        mapping = str(done.mapping) if done.mapping else None
        write_json({"schema": str(done.schema), "mapping": mapping, "commands": list(done.commands)}, json)
    if json != "-":
        say(f"drafted {done.schema}: read it, correct roles, units and bounds")
        if done.mapping:
            say(f"and {done.mapping}, which says what each array is")
        say("then run")
        for command in done.commands:
            say(f"  {command}")
    return EXIT_OK

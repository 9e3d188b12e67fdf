"""The command that looks at any file: doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import Json, Workers


def doctor(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="HDF5, Zarr, NPZ, NPY, CSV, Parquet, Minari, …")],
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="FIELD=ROLE", help="What a field is, where the guess is wrong; may be repeated."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show everything that was found.")] = False,
    workers: Workers = None,
    json: Json = None,
) -> int:
    """Say what in a file would hurt a training, and by how much: no schema, no configuration.

    Finds the layout, guesses what is input, target, mask, id and time, and looks once at every value. Exit code: 0
    nothing harmful, 1 something is, 2 usage, 3 damaged bytes, 4 not finished.

    Examples: `prep doctor my.h5` · `prep doctor table.csv --role price=target` · `prep doctor data/ --json -`
    """
    from prep.cli.options import doctor_roles
    from prep.cli.output import progress, report_error, say, write_json
    from prep.errors import worst_exit_code
    from prep.report.examined import document
    from prep.report.examined_text import lines
    from prep.verbs.doctor import doctor as verb

    with progress(f"doctor {path.name}") as show:
        found = verb(path, roles=doctor_roles(role or []), workers=workers, progress=show)
    if json:
        write_json(document(found), json)
    if json != "-":
        for each in found:
            if each.error is not None:
                say(f"{each.path}: not examined", "verdict-bad")
                report_error(each.error)
            if each.found is not None:
                for style, text in lines(each.found, verbose=verbose):
                    say(text, style)
    return worst_exit_code(each.exit_code for each in found)

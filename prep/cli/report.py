"""The command that writes a page about a dataset: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import LockFile, Scheduler, SchemaFile, TrustFile, Workers


def report(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DATASET", help="A dataset, raw or normalised; several, or folders.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE.html", help="The page; `-` is stdout.")],
    schema: SchemaFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    lock: LockFile = None,
    trust: TrustFile = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Write everything there is to know of a dataset on one HTML page that opens offline.

    The verdict first, then every check, distributions before and after normalisation, scales of groups, shares of the
    loss, covariance matrices, splits, baselines, provenance, and the certificate. It is written whatever the verdict
    is, and the exit code is that of `prep validate`. What is certified is hashed, and its checks are not made again.

    Examples: `prep report data/normalized/control.h5 -o control.html` · `prep report data/ -o all.html`
    """
    from prep.cli.options import executor
    from prep.cli.output import progress, say, write_output
    from prep.errors import worst_exit_code
    from prep.verbs.report import demand_page, render, sheets
    from prep.verbs.validate import validate

    if output != "-":
        demand_page(output)
    work = executor(workers, scheduler)
    with progress("report " + ", ".join(path.name for path in paths)) as show:
        found = validate(*paths, schema=schema, changed_only=True, workers=work, progress=show)
        made = sheets(found, schema=schema, lock_path=lock, trust_path=trust, workers=work, progress=show)
    write_output(render(found, made, strict=strict), output)
    code = worst_exit_code(each.exit_code(strict=strict) for each in found)
    if output != "-":
        good = sum(each.exit_code(strict=strict) == 0 for each in found)
        say(f"{good} of {len(found)} datasets passed: {output}", "good" if code == 0 else "verdict-bad")
    raise typer.Exit(code)

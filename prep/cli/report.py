"""The command that writes a page about a dataset: report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prep.cli.arguments import LockFile, Scheduler, SchemaFile, TrustFile, Workers

if TYPE_CHECKING:
    from prep.engine import Workers as Executor
    from prep.report.validation import Validation


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
    from prep.cli.output import progress, say, several
    from prep.cli.outputs import Outputs, ended
    from prep.errors import PrepError, Refusal, worst_exit_code
    from prep.report.validation import Validation, document
    from prep.verbs.report import demand_page
    from prep.verbs.validate import validate

    if output != "-":
        demand_page(output)
    outputs, work = Outputs(html=output), executor(workers, scheduler)
    try:
        with progress("report " + several(paths)) as show:
            found = validate(*paths, schema=schema, changed_only=True, workers=work, progress=show)
    except PrepError as error:
        unfound = (Validation(paths[0], None, error),)
        if unwritten := outputs.write(
            document(unfound, strict=strict), lambda: page_of(unfound, schema=schema, strict=strict)
        ):
            raise Refusal([error, *unwritten]) from error
        raise
    unwritten = outputs.write(
        document(found, strict=strict),
        lambda: page_of(found, schema=schema, strict=strict, lock=lock, trust=trust, work=work),
    )
    code = worst_exit_code(each.exit_code(strict=strict) for each in found)
    if output != "-":
        good = sum(each.exit_code(strict=strict) == 0 for each in found)
        told = f"{good} of {len(found)} datasets passed" if len(found) > 1 else "passed" if good else "not passed"
        say(told if unwritten else f"{told}: {output}", "good" if code == 0 else "verdict-bad")
    raise typer.Exit(ended(code, unwritten))


def page_of(
    found: Sequence[Validation],
    *,
    schema: Path | None = None,
    strict: bool = False,
    lock: Path | None = None,
    trust: Path | None = None,
    work: Executor = None,
) -> str:
    """The page of what was found, once the fields are measured that it shows."""
    from prep.cli.output import progress, several
    from prep.verbs.report import render, sheets

    with progress("measure fields of " + several([each.path for each in found])) as show:
        made = sheets(found, schema=schema, lock_path=lock, trust_path=trust, workers=work, progress=show)
    return render(found, made, strict=strict)

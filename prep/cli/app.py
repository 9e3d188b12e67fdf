"""The typer application: one command a verb."""

from __future__ import annotations

from typing import Annotated

import typer

from prep.cli import data, diagnose, diff, doctor, keys, look, models, report, runs, trust
from prep.cli.command import Command

app = typer.Typer(
    name="prep",
    help="Certified training data: generate or ingest, normalise, validate, certify, and train on nothing else.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"prep {version('prep-certified')}")
        raise typer.Exit


@app.callback()
def _prep(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for command in (
    *(data.generate, data.ingest, data.stats, data.normalize),
    *(trust.validate, trust.certify, trust.verify, trust.inspect, diff.diff, look.plot, report.report),
    *(models.mutate, models.compare, models.train),
    *(doctor.doctor, diagnose.diagnose, runs.evaluate, runs.predict, runs.export),
):
    app.command(cls=Command)(command)
app.add_typer(keys.key_app, name="key")
app.add_typer(keys.trust_app, name="trust")

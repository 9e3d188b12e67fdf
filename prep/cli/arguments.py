"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; `-` is stdout.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Threads that read and compute; all cores by default. Never changes a result."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|FILE",
        help="A dask scheduler whose workers do this instead, by address or scheduler file. Never changes a result.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run even if inputs and output are unchanged.")]
SchemaFile = Annotated[
    Path | None, typer.Option("--schema", metavar="FILE", help="Schema; by default schemas/DATASET.yaml.")
]
LockFile = Annotated[
    Path | None, typer.Option("--lock", metavar="FILE", help="The lock to trust; by default prep.lock.")
]
TrustFile = Annotated[
    Path | None, typer.Option("--trust", metavar="FILE", help="Whose signatures count; by default trust.toml.")
]
Require = Annotated[str, typer.Option("--require", help="Level that is demanded: sealed or signed.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Holds the passphrase of the key; else it is asked for."),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration; by default config/config.yaml.")
]

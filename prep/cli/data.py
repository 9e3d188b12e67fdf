"""Commands that make data: generate, ingest, stats, normalize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import ConfigFile, Force, Json, Scheduler, SchemaFile, Workers


def generate(
    name: Annotated[str, typer.Argument(help="A dataset of the configuration.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write (.h5 or .zarr).")] = None,
    scale: Annotated[str | None, typer.Option(help="smoke, default or full.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; by default the configuration's.")] = None,
    config: ConfigFile = None,
    force: Force = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
) -> None:
    """Make a raw dataset of the configuration: run its recipe, or bring in its source.

    Examples: `prep generate control` · `prep generate regression --scale smoke -o /tmp/regression.zarr`
    """
    from prep.cli.options import executor
    from prep.cli.output import progress, say, write_json
    from prep.verbs.generate import generate as verb

    remarks: list[str] = []
    work = executor(workers, scheduler)
    with progress(f"generate {name}") as show:
        path = verb(
            name,
            config=config,
            scale=scale,
            seed=seed,
            output=output,
            force=force,
            workers=work,
            say=remarks.append,
            progress=show,
        )
    if json:
        write_json({"path": str(path), "remarks": remarks}, json)
    if json == "-":
        return
    say(f"generated {path}")
    for remark in remarks:
        say(remark)


def ingest(
    source: Annotated[
        str, typer.Argument(help="minari:ID or path, .npz, .npy, .csv, .parquet, .h5, .zarr, or a folder of parts.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Raw dataset to write; its name names the dataset.")],
    layout: Annotated[str | None, typer.Option("--as", help="Layout, where the source does not tell.")] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML: fields, group and split of any source but Minari."),
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option("--role", metavar="FIELD=ROLE", help="Role of a field; may be repeated.")
    ] = None,
    group: Annotated[str, typer.Option(help="Field whose values stay on one side of a split.")] = "",
    fractions: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(min=0, help="Decides which groups go where.")] = 0,
    schema: SchemaFile = None,
    compression: Annotated[str, typer.Option(help="none, gzip, zstd or blosc.")] = "none",
    force: Force = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
) -> None:
    """Bring own data into the pipeline, and draft a schema where there is none.

    Examples: `prep ingest minari:pendulum/expert-v0 -o data/raw/pendulum.h5` ·
    `prep ingest tree.h5 --mapping mapping.yaml -o data/raw/mine.zarr`
    """
    from prep.cli.options import executor, ingest_options
    from prep.cli.output import progress, say, write_json
    from prep.verbs.ingest import ingest as verb

    options = ingest_options(mapping, role or [], group, fractions, seed)
    work = executor(workers, scheduler)
    with progress(f"ingest {source}") as show:
        found = verb(
            source,
            output=output,
            layout=layout,
            options=options,
            schema=schema,
            compression=compression,
            force=force,
            workers=work,
            progress=show,
        )
    if json:
        write_json(
            {
                "path": str(found.path),
                "schema": str(found.schema) if found.schema else None,
                "rows": dict(found.rows),
                "warnings": list(found.warnings),
            },
            json,
        )
        return
    say(f"ingested {found.path}: " + ", ".join(f"{split} {rows:,}" for split, rows in found.rows.items()))
    for remark in found.remarks():
        say(remark)


def stats(
    raw: Annotated[Path, typer.Argument(help="A raw dataset.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Statistics file to write.")],
    schema: SchemaFile = None,
    force: Force = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
) -> None:
    """Measure the train split and fit the transforms that the schema plans.

    Example: `prep stats data/raw/control.h5 -o data/stats/control.json`
    """
    from prep.cli.options import executor
    from prep.cli.output import progress, say, write_json
    from prep.verbs.stats import stats as verb

    work = executor(workers, scheduler)
    with progress(f"stats {raw.name}") as show:
        path = verb(raw, output=output, schema=schema, force=force, workers=work, progress=show)
    if json:
        write_json({"path": str(path)}, json)
    else:
        say(f"statistics in {path}")


def normalize(
    raw: Annotated[Path, typer.Argument(help="A raw dataset.")],
    stats: Annotated[Path, typer.Option("--stats", metavar="FILE", help="Its statistics, from `prep stats`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Dataset to write (.h5 or .zarr).")],
    schema: SchemaFile = None,
    compression: Annotated[str, typer.Option(help="none, gzip, zstd or blosc.")] = "none",
    force: Force = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
) -> None:
    """Apply the fitted transforms to every split and embed what undoes them.

    Example: `prep normalize data/raw/control.h5 --stats data/stats/control.json -o data/normalized/control.h5`
    """
    from prep.cli.options import executor
    from prep.cli.output import progress, say, write_json
    from prep.verbs.normalize import normalize as verb

    work = executor(workers, scheduler)
    with progress(f"normalize {raw.name}") as show:
        path = verb(
            raw,
            stats=stats,
            output=output,
            schema=schema,
            compression=compression,
            force=force,
            workers=work,
            progress=show,
        )
    if json:
        write_json({"path": str(path)}, json)
    else:
        say(f"normalised {path}")

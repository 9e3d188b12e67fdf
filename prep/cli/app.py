"""The typer application: one command a verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="prep",
    help="Certified training data: generate or ingest, normalise, validate, certify, and train on nothing else.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; `-` is stdout.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Threads that read and compute; all cores by default. Never changes a result."),
]
Force = Annotated[bool, typer.Option("--force", help="Run even if inputs and output are unchanged.")]
SchemaFile = Annotated[
    Path | None, typer.Option("--schema", metavar="FILE", help="Schema; by default schemas/<dataset>.yaml.")
]
LockFile = Annotated[
    Path | None, typer.Option("--lock", metavar="FILE", help="The lock to trust; by default prep.lock.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration; by default config/config.yaml.")
]


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


@app.command()
def generate(
    name: Annotated[str, typer.Argument(help="A dataset of the configuration.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write (.h5 or .zarr).")] = None,
    scale: Annotated[str | None, typer.Option(help="smoke, default or full.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; by default the configuration's.")] = None,
    config: ConfigFile = None,
    force: Force = False,
    workers: Workers = None,
    json: Json = None,
) -> None:
    """Make a raw dataset of the configuration: run its recipe, or bring in its source.

    Examples: `prep generate control` · `prep generate regression --scale smoke -o /tmp/regression.zarr`
    """
    from prep.cli.output import progress, say, write_json
    from prep.verbs.generate import generate as verb

    remarks: list[str] = []
    with progress(f"generate {name}") as show:
        path = verb(
            name,
            config=config,
            scale=scale,
            seed=seed,
            output=output,
            force=force,
            workers=workers,
            say=remarks.append,
            progress=show,
        )
    if json:
        write_json({"path": str(path), "remarks": remarks}, json)
        return
    say(f"generated {path}")
    for remark in remarks:
        say(remark)


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="minari:ID or path, .npz, .npy, .h5 or .zarr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Raw dataset to write; its name names the dataset.")],
    layout: Annotated[str | None, typer.Option("--as", help="Layout, where the source does not tell.")] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML: fields, group and split of an HDF5, Zarr or NPZ source."),
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
    json: Json = None,
) -> None:
    """Bring own data into the pipeline, and draft a schema where there is none.

    Examples: `prep ingest minari:pendulum/expert-v0 -o data/raw/pendulum.h5` ·
    `prep ingest tree.h5 --mapping mapping.yaml -o data/raw/mine.zarr`
    """
    from prep.cli.options import ingest_options
    from prep.cli.output import progress, say, write_json
    from prep.verbs.ingest import ingest as verb

    options = ingest_options(mapping, role or [], group, fractions, seed)
    with progress(f"ingest {source}") as show:
        found = verb(
            source,
            output=output,
            layout=layout,
            options=options,
            schema=schema,
            compression=compression,
            force=force,
            workers=workers,
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


@app.command()
def stats(
    raw: Annotated[Path, typer.Argument(help="A raw dataset.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Statistics file to write.")],
    schema: SchemaFile = None,
    force: Force = False,
    workers: Workers = None,
    json: Json = None,
) -> None:
    """Measure the train split and fit the transforms that the schema plans.

    Example: `prep stats data/raw/control.h5 -o data/stats/control.json`
    """
    from prep.cli.output import progress, say, write_json
    from prep.verbs.stats import stats as verb

    with progress(f"stats {raw.name}") as show:
        path = verb(raw, output=output, schema=schema, force=force, workers=workers, progress=show)
    if json:
        write_json({"path": str(path)}, json)
    else:
        say(f"statistics in {path}")


@app.command()
def normalize(
    raw: Annotated[Path, typer.Argument(help="A raw dataset.")],
    stats: Annotated[Path, typer.Option("--stats", metavar="FILE", help="Its statistics, from `prep stats`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Dataset to write (.h5 or .zarr).")],
    schema: SchemaFile = None,
    compression: Annotated[str, typer.Option(help="none, gzip, zstd or blosc.")] = "none",
    force: Force = False,
    workers: Workers = None,
    json: Json = None,
) -> None:
    """Apply the fitted transforms to every split and embed what undoes them.

    Example: `prep normalize data/raw/control.h5 --stats data/stats/control.json -o data/normalized/control.h5`
    """
    from prep.cli.output import progress, say, write_json
    from prep.verbs.normalize import normalize as verb

    with progress(f"normalize {raw.name}") as show:
        path = verb(
            raw,
            stats=stats,
            output=output,
            schema=schema,
            compression=compression,
            force=force,
            workers=workers,
            progress=show,
        )
    if json:
        write_json({"path": str(path)}, json)
    else:
        say(f"normalised {path}")


@app.command()
def validate(
    paths: Annotated[list[Path], typer.Argument(help="Datasets, or folders that hold normalised ones.")],
    schema: SchemaFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show every check, also those that passed.")] = False,
    workers: Workers = None,
    json: Json = None,
) -> None:
    """Re-measure datasets from their stored bytes and judge them by their schema.

    Exit code: 0 all passed, 1 data failed, 2 usage or schema, 3 stored bytes or certificate, 4 not finished.

    Examples: `prep validate data/` · `prep validate data/normalized/control.h5 -v --json report.json`
    """
    from prep.cli.output import progress, write_json
    from prep.cli.render import show_validations, validations_to_dict
    from prep.errors import worst_exit_code
    from prep.verbs.validate import validate as verb

    with progress("validate " + ", ".join(path.name for path in paths)) as show:
        found = verb(*paths, schema=schema, workers=workers, progress=show)
    code = worst_exit_code(each.exit_code(strict=strict) for each in found)
    if json:
        write_json(validations_to_dict(found, strict=strict), json)
    if json != "-":
        show_validations(found, verbose=verbose)
    raise typer.Exit(code)


@app.command()
def certify(
    dataset: Annotated[Path, typer.Argument(help="A normalised dataset.")],
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A report of `prep validate --json`; it has to agree with what is measured."),
    ] = None,
    schema: SchemaFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings prevent a certificate.")] = False,
    locked: Annotated[bool, typer.Option("--locked", help="Refuse to change prep.lock.")] = False,
    lock: LockFile = None,
    workers: Workers = None,
    json: Json = None,
) -> None:
    """Measure and hash the dataset, state what was examined, and pin it in prep.lock.

    Example: `prep certify data/normalized/control.h5 --report data/reports/control.json`
    """
    from prep.cli.output import progress, say, write_json
    from prep.verbs.certify import certify as verb

    with progress(f"certify {dataset.name}") as show:
        done = verb(
            dataset,
            report=report,
            schema=schema,
            strict=strict,
            locked=locked,
            lock_path=lock,
            workers=workers,
            progress=show,
        )
    if json:
        write_json(
            {
                "dataset": done.dataset,
                "version": done.version,
                "path": str(done.path),
                "root": done.root,
                "certificate": done.certificate,
                "lock": str(done.pinned),
                "verdict": done.report.verdict,
            },
            json,
        )
    else:
        say(f"certified {done.dataset} {done.version}, root {done.root}", "good")
        say(f"pinned in {done.pinned}")


@app.command()
def verify(
    dataset: Annotated[Path, typer.Argument(help="A certified dataset.")],
    deep: Annotated[bool, typer.Option("--deep", help="Hash every stored byte again.")] = False,
    lock: LockFile = None,
    workers: Workers = None,
    json: Json = None,
) -> None:
    """Pass a dataset through the gate, as a training run would.

    Examples: `prep verify data/normalized/control.h5` · `prep verify data/normalized/covariance.zarr --deep`
    """
    from prep.cli.output import progress, say, write_json
    from prep.verbs.verify import verify as verb

    with progress(f"verify {dataset.name}") as show:
        found = verb(dataset, deep=deep, lock_path=lock, workers=workers, progress=show)
    admitted = found.dataset
    if json:
        write_json(
            {
                "dataset": admitted.id,
                "version": admitted.version,
                "root": admitted.root,
                "certificate": admitted.certificate_digest,
                "chunks_hashed": found.chunks,
            },
            json,
        )
    else:
        how = f"all {found.chunks} chunks hashed" if deep else "admitted; each chunk is verified when it is first read"
        say(f"{admitted.id} {admitted.version} holds: {how}", "good")
        say(f"root {admitted.root}")


@app.command()
def inspect(
    datasets: Annotated[list[Path], typer.Argument(help="A dataset; several, or run folders, with --table.")],
    as_table: Annotated[bool, typer.Option("--table", help="One line a certified dataset or finished run.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the table to a file.")] = None,
    lock: LockFile = None,
    json: Json = None,
) -> None:
    """Show everything a dataset says about itself.

    Examples: `prep inspect data/normalized/control.h5` · `prep inspect --table data/normalized/*.h5` ·
    `prep inspect --table runs/*`
    """
    from prep.cli.output import write_json
    from prep.cli.render import show_inspection, show_runs, show_summary, summary_to_dict
    from prep.verbs.inspect import inspect as verb
    from prep.verbs.inspect import summary
    from prep.verbs.runs import are_runs, runs

    if output is not None and not as_table:
        from prep.errors import UsageError, Where

        raise UsageError(
            "only the table is written to a file",
            where=Where(key="--output"),
            measured=str(output),
            allowed="-o together with --table",
            remedy="add --table, or use --json FILE for everything a dataset says",
        )
    if as_table and are_runs(datasets):
        found_runs = runs(*datasets)
        if json:
            write_json(list(found_runs), json)
        if json != "-":
            show_runs(found_runs, output)
        return
    if as_table:
        rows = summary(*datasets, lock_path=lock)
        if json:
            write_json(summary_to_dict(rows), json)
        if json != "-":
            show_summary(rows, output)
        return
    found = [verb(path, lock_path=lock) for path in datasets]
    if json:
        write_json([each.to_dict() for each in found] if len(found) > 1 else found[0].to_dict(), json)
        return
    for each in found:
        show_inspection(each)


@app.command()
def mutate(
    system: Annotated[str | None, typer.Argument(help="control, covariance, …")] = None,
    failure: Annotated[str | None, typer.Argument(help="A failure of its history; see --list.")] = None,
    output: Annotated[Path | None, typer.Argument(metavar="OUT", help="Dataset to write (.h5 or .zarr).")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show every failure, or those of SYSTEM.")] = False,
    data: Annotated[Path | None, typer.Option(help="Certified dataset; by default the configuration's.")] = None,
    config: ConfigFile = None,
    lock: LockFile = None,
    json: Json = None,
) -> None:
    """Plant a failure of a real project on a good dataset, to see it refused.

    Examples: `prep mutate --list` · `prep mutate control padding_counted /tmp/control.h5`, then
    `prep validate /tmp/control.h5`
    """
    from prep.cli.options import demand_mutation
    from prep.cli.output import say, write_json
    from prep.cli.render import show_failures
    from prep.verbs.mutate import failures, refusal
    from prep.verbs.mutate import mutate as verb

    if listed:
        found = failures(system or "")
        if json:
            write_json([{"system": each.system, "failure": each.name, "story": each.story} for each in found], json)
        if json != "-":
            show_failures(found)
        return
    path = verb(*demand_mutation(system, failure, output), data=data, config=config, lock_path=lock)
    if json:
        write_json({"path": str(path)}, json)
    else:
        say(f"planted {failure} in {path}; see it refused: {refusal(system, failure, path)}")


@app.command()
def compare(
    system: Annotated[str, typer.Argument(help="control, covariance, peptide, regression or tones.")],
    failure: Annotated[str | None, typer.Option(help="By default what the system's project had.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each of the two trainings.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder; default runs/compare/SYSTEM.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page (.md) with its numbers and picture beside it."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Certified dataset; by default the configuration's.")] = None,
    config: ConfigFile = None,
    lock: LockFile = None,
    json: Json = None,
) -> None:
    """Train one model on the data as a project had them and on the certified data, and show both.

    Examples: `prep compare control` · `prep compare covariance --failure one_sided_loading --steps 100`
    """
    from prep.cli.output import progress, write_json
    from prep.cli.render import show_comparison
    from prep.verbs.compare import compare as verb
    from prep.verbs.pages import about, demand_page, finished_run, write_page

    if page is not None:
        demand_page(page)
    with progress(f"compare {system}") as show:
        found = verb(
            system,
            failure=failure,
            steps=steps,
            seed=seed,
            output=output,
            data=data,
            config=config,
            lock_path=lock,
            progress=show,
        )
    if page is not None:
        write_page(page, found, about(system, config), finished_run(system, found.root))
    if json:
        write_json(found.to_dict(), json)
    if json != "-":
        show_comparison(found)


@app.command()
def train(
    dataset: Annotated[str, typer.Argument(help="A dataset of the configuration, or the path of a certified one.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; by default the system's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    require: Annotated[str, typer.Option(help="Level that is demanded: sealed or signed.")] = "sealed",
    run_dir: Annotated[Path | None, typer.Option(help="Where the run goes; by default runs/<dataset>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    system: Annotated[str | None, typer.Option(help="Model; by default the dataset's own, else tabular.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")] = 0,
    config: ConfigFile = None,
    lock: LockFile = None,
    json: Json = None,
) -> None:
    """Train on certified data; whatever is not certified is refused.

    Examples: `prep train control` · `prep train data/normalized/pendulum.h5 --epochs 5 --device cpu`
    """
    from prep.cli.options import level
    from prep.cli.output import progress, say, write_json
    from prep.verbs.train import train as verb

    demanded = level(require)
    with progress(f"train {dataset}") as show:
        result = verb(
            dataset,
            system=system,
            epochs=epochs,
            device=device,
            require=demanded,
            run_dir=run_dir,
            resume=resume,
            seed=seed,
            config=config,
            lock_path=lock,
            say=(lambda _: None) if json == "-" else say,
            progress=show,
        )
    if json:
        write_json(result.to_dict(), json)

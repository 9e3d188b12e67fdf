"""Commands around training: mutate, compare, train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import ConfigFile, Json, LockFile, Require, TrustFile


def mutate(
    system: Annotated[str | None, typer.Argument(help="control, covariance, …")] = None,
    failure: Annotated[str | None, typer.Argument(help="A failure of its history; see --list.")] = None,
    output: Annotated[Path | None, typer.Argument(metavar="OUT", help="Dataset to write (.h5 or .zarr).")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show every failure, or those of SYSTEM.")] = False,
    data: Annotated[Path | None, typer.Option(help="Certified dataset; by default the configuration's.")] = None,
    config: ConfigFile = None,
    lock: LockFile = None,
    trust: TrustFile = None,
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
    path = verb(*demand_mutation(system, failure, output), data=data, config=config, lock_path=lock, trust_path=trust)
    if json:
        write_json({"path": str(path)}, json)
    if json != "-":
        say(f"planted {failure} in {path}; see it refused: {refusal(system, failure, path)}")


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
    trust: TrustFile = None,
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
            trust_path=trust,
            progress=show,
        )
    if page is not None:
        write_page(page, found, about(system, config), finished_run(system, found.root))
    if json:
        write_json(found.to_dict(), json)
    if json != "-":
        show_comparison(found)


def train(
    dataset: Annotated[str, typer.Argument(help="A dataset of the configuration, or the path of a certified one.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; by default the system's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    require: Require = "sealed",
    run_dir: Annotated[Path | None, typer.Option(help="Where the run goes; by default runs/DATASET.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    system: Annotated[str | None, typer.Option(help="Model; by default the dataset's own, else tabular.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate; by default the system's.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="cosine, or plateau: halved when validation stands still.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="32-true (the default), or bf16-mixed: matrix products in bfloat16.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the model with torch.compile: a slow first step, then faster.")
    ] = False,
    patience: Annotated[
        int | None, typer.Option(min=1, help="End when validation has not improved for so many epochs.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="GUARD", help="Leave out a guard (docs/guards.md); may be repeated.")
    ] = None,
    config: ConfigFile = None,
    lock: LockFile = None,
    trust: TrustFile = None,
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
            learning_rate=learning_rate,
            schedule=schedule,
            precision=precision,
            compiled=compiled or None,
            patience=patience,
            without=without or (),
            config=config,
            lock_path=lock,
            trust_path=trust,
            say=(lambda _: None) if json == "-" else say,
            progress=show,
        )
    if json:
        write_json(result.to_dict(), json)

"""Commands about what was trained: evaluate, predict, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import ConfigFile, Json, LockFile, Require, TrustFile

Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="best.ckpt or last.ckpt of a run.")]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DATASET", help="The certified data that it was trained on.")
]
Replace = Annotated[bool, typer.Option("--force", help="Replace an output that is there.")]


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/control.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    data: Data = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the page there (.md).")] = None,
    device: Annotated[str, typer.Option(help="cpu, mps, cuda or cuda:N.")] = "cpu",
    require: Require = "sealed",
    config: ConfigFile = None,
    lock: LockFile = None,
    trust: TrustFile = None,
    json: Json = None,
) -> None:
    """Measure the best weights of a run, frozen, in both units, by group and in pictures, and judge them.

    Examples: `prep evaluate runs/control` · `prep evaluate runs/mine --data data/normalized/mine.h5 --json -`
    """
    from prep.cli.options import level
    from prep.cli.output import progress, say, write_json
    from prep.verbs.evaluate import evaluate as verb
    from prep.verbs.pages import demand_page

    if page is not None:
        demand_page(page)
    with progress(f"evaluate {run}") as show:
        found = verb(
            run,
            split=split,
            data=data,
            device=device,
            page=page,
            require=level(require),
            config=config,
            lock_path=lock,
            trust_path=trust,
            progress=show,
        )
    if json:
        write_json(found.to_dict(), json)
    if json != "-":
        first, *rest = found.summary_lines()
        say(first, "verdict-good" if found.verdict == "done" else "verdict-bad")
        for line in rest:
            say(line)


def predict(
    checkpoint: Checkpoint,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Raw dataset (.h5, .zarr), .npz or .npy.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Where to: .npz, .h5 or .zarr.")],
    data: Data = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping file: which array of INPUT is which field.")] = None,
    split: Annotated[str, typer.Option(help="Of a raw dataset: train, val or test; by default every row.")] = "",
    device: Annotated[str, typer.Option(help="cpu, mps, cuda or cuda:N.")] = "cpu",
    force: Replace = False,
    require: Require = "sealed",
    lock: LockFile = None,
    trust: TrustFile = None,
    json: Json = None,
) -> None:
    """Ask a trained model about raw values; it takes and returns original units.

    Examples: `prep predict runs/control/best.ckpt mine.npz -o answers.npz` ·
    `prep predict runs/tones/best.ckpt data/raw/tones.h5 --split test -o answers.h5`
    """
    from prep.cli.options import level
    from prep.cli.output import progress, say, write_json
    from prep.verbs.predict import predict as verb

    with progress(f"predict {source}") as show:
        found = verb(
            checkpoint,
            source,
            output=output,
            data=data,
            mapping=mapping,
            split=split,
            device=device,
            require=level(require),
            lock_path=lock,
            trust_path=trust,
            force=force,
            progress=show,
        )
    if json:
        write_json(found.to_dict(), json)
    if json != "-":
        units = ", ".join(f"{name} in {unit}" if unit != "1" else name for name, unit in found.units.items())
        say(f"{found.rows} predictions in {found.path}: {units}")
        for remark in found.remarks:
            say(remark)


def export(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Where to: model.pt2.")],
    data: Data = None,
    force: Replace = False,
    require: Require = "sealed",
    lock: LockFile = None,
    trust: TrustFile = None,
    json: Json = None,
) -> None:
    """Write model and transforms as one program of torch.export, which runs without prep.

    Example: `prep export runs/control/best.ckpt -o control.pt2`
    """
    from prep.cli.options import level
    from prep.cli.output import say, write_json
    from prep.verbs.export import export as verb

    found = verb(
        checkpoint,
        output=output,
        data=data,
        require=level(require),
        lock_path=lock,
        trust_path=trust,
        force=force,
    )
    if json:
        write_json(found.to_dict(), json)
    if json != "-":
        inputs, outputs = (", ".join(each["name"] for each in found.metadata[side]) for side in ("inputs", "outputs"))
        say(f"{found.path}: {inputs} to {outputs}, in original units")

"""The command that reads a log: diagnose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import Json, Workers
from prep.errors import EXIT_DATA, EXIT_OK


def diagnose(
    source: Annotated[Path, typer.Argument(metavar="RUN|LOG", help="A run's folder, a CSV, or TensorBoard's files.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DATASET", help="What was trained on, certified or not: it is measured.")
    ] = None,
    baseline: Annotated[float | None, typer.Option(help="What predicting nothing scores in the log's loss.")] = None,
    target: Annotated[float | None, typer.Option(help="The loss that is to be reached.")] = None,
    clip: Annotated[float | None, typer.Option(min=0.0, help="The norm that gradients were clipped to.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 where anything is wrong.")] = False,
    workers: Workers = None,
    json: Json = None,
) -> int:
    """Say what a training log means: cause, evidence, next step.

    Reads runs of `prep train`, CSV files (Lightning, Keras, your own), Hugging Face's trainer_state.json and
    TensorBoard's event files. Examples: `prep diagnose runs/control` ·
    `prep diagnose lightning_logs/version_3 --baseline 1.0` · `prep diagnose log.csv --data mine.h5`
    """
    from prep.cli.output import progress, write_json
    from prep.cli.render_diagnosis import show_diagnosis
    from prep.verbs.diagnose import diagnose as verb

    with progress("measure the data") as show:
        found = verb(source, data=data, baseline=baseline, target=target, clip=clip, workers=workers, progress=show)
    if json:
        write_json(found.to_dict(), json)
    if json != "-":
        show_diagnosis(found)
    return EXIT_DATA if strict and not found.good else EXIT_OK

"""The page that a run ends with: verdict first, then data, figures, warnings, the picture and sample predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prep.formats.commit import write_atomically
from prep.training.advice import advise
from prep.training.diagnosis import curves_of_run
from prep.training.logs.history import Epoch, components, speed
from prep.training.logs.samples import Sample, table
from prep.training.result import RunResult

SUMMARY = "summary.md"


def write_summary(
    folder: Path, result: RunResult, judged_by: Mapping[str, Any], history: Sequence[Epoch], found: Sequence[Sample]
) -> None:
    """Write ``folder/summary.md``."""
    write_atomically(folder / SUMMARY, summary(result, judged_by, history, found).encode())


def summary(result: RunResult, judged_by: Mapping[str, Any], history: Sequence[Epoch], found: Sequence[Sample]) -> str:
    """The page; ``judged_by`` is what `prep.training.logs.record` keeps."""
    lines = [
        f"# `{result.system}` on `{result.dataset}`",
        "",
        f"**{result.verdict}**",
        "",
        f"{result.epochs} epochs in {_time(result.seconds)} on {result.device}; the weights are those of epoch "
        f"{result.best_epoch}, the best on val. Metrics are of frozen weights.",
        "",
        "## Data",
        "",
        *_rows(["", ""], _data(judged_by)),
        "",
        "## Figures",
        "",
        *_rows(["", result.metric], _figures(result)),
        "",
        *_rows(["also measured", "test", "train"], _others(result)),
        *([""] if _others(result) else []),
        "## Warnings",
        "",
        *([f"- {text}" for text in result.warnings] or ["None: every guard was silent."]),
        "",
        "## What to do next",
        "",
        *_advice(result, judged_by, history),
        "",
        "## How it went",
        "",
        f"First loss {result.step0:.4g}, in the last epoch {history[-1]['train_loss']:.4g}"
        f"{_terms(history[-1])}; gradients were {history[-1]['clip_factor']:.2g} times the norm that they are clipped "
        f"to. Batches of {judged_by['batch_size']}, learning rate {judged_by['learning_rate']:g}, "
        f"seed {judged_by['seed']}{_speed(history)}.",
        "",
        "![loss, its terms, validation, steps](loss.png)",
    ]
    if found:
        lines += ["", "## Sample predictions", "", "Of the test split, in original units.", "", *table(found)]
    lines += ["", "Every epoch is in `metrics.csv`; `prep diagnose` on this folder says anew what to do next."]
    return "\n".join(lines) + "\n"


def _advice(result: RunResult, judged_by: Mapping[str, Any], history: Sequence[Epoch]) -> list[str]:
    said = advise(curves_of_run(judged_by, history, result.to_dict()))
    return [f"- {each}" for each in said] or ["- Nothing can be said of so few epochs: train on."]


def _data(judged_by: Mapping[str, Any]) -> list[list[str]]:
    splits = ", ".join(f"{name} {rows}" for name, rows in judged_by["splits"].items())
    return [
        ["dataset", f"`{judged_by['dataset']}` {judged_by['dataset_version']}, {splits} samples"],
        ["path", f"`{judged_by['path']}`"],
        ["root", f"`{judged_by['root']}`"],
        ["certificate", f"`{judged_by['certificate']}`"],
        ["trusted", judged_by["trust"]],
    ]


def _figures(result: RunResult) -> list[list[str]]:
    rows = [
        ["**test**", f"**{result.test[result.metric]:.4g}**"],
        ["train", f"{result.train[result.metric]:.4g}"],
    ]
    if result.ratio is not None:
        rows.append(["test / train", f"{result.ratio:.3g}"])
    if result.target is not None:
        rows.append(["target", f"< {result.target:g}"])
    rows.append(["certified baseline, of train", f"{result.baseline:.4g}"])
    rows += [
        [f"{name}{' (better than the model)' if name in result.better else ''}", f"{value:.4g}"]
        for name, value in result.references.items()
    ]
    return rows


def _others(result: RunResult) -> list[list[str]]:
    return [
        [f"`{name}`", f"{value:.4g}", f"{result.train[name]:.4g}"]
        for name, value in result.test.items()
        if name != result.metric
    ]


def _terms(epoch: Epoch) -> str:
    parts = components(epoch)
    return f" ({', '.join(f'{name} {value:.4g}' for name, value in parts.items())})" if parts else ""


def _speed(history: Sequence[Epoch]) -> str:
    speeds = sorted(epoch["samples_per_second"] for epoch in history if "samples_per_second" in epoch)
    if not speeds:
        return ""
    waiting = sum(epoch["waiting"] * epoch["seconds"] for epoch in history) / sum(e["seconds"] for e in history)
    return f", {speed(speeds[len(speeds) // 2])} samples/s, {100 * waiting:.1f} % of the time spent waiting for data"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]

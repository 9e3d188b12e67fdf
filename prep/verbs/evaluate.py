"""`prep evaluate`: the best weights of a run, frozen, on certified data: figures, pictures and a verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.certificate.policy import Level, Policy
from prep.engine import Progress, silent
from prep.errors import CertificateError, UsageError, Where
from prep.formats.commit import storage_errors, write_atomically
from prep.gate import CertifiedDataset, admit
from prep.verbs.config import load_config
from prep.verbs.extras import training

FOLDER = "evaluation"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found; ``body`` is the content of ``evaluation.json``, in the folder ``path``."""

    path: Path
    body: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """done, overfitted or not there yet."""
        return str(self.body["verdict"]["verdict"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dict(self.body)

    def summary_lines(self) -> list[str]:
        """The result as a person reads it."""
        body, metric = self.body, self.body["metric"]
        beside = ", ".join(f"{name} {value:.4g}" for name, value in body["references"].items())
        lines = [
            f"{self.verdict}: {body['verdict']['reason']}",
            f"{body['split']} {metric} {body['metrics'][metric]:.4g}, train {body['train'][metric]:.4g}, certified "
            f"baseline {body['baseline']:.4g}; beside it: {beside}",
        ]
        for name, field in body["fields"].items():
            units = "" if field["units"] == "1" else f" {field['units']}"
            rmse, zero = (field["original"][key] for key in ("rmse", "zero_rmse"))
            lines.append(f"{name}: RMSE {rmse:.4g}{units} in original units, predicting zero {zero:.4g}")
        lines.append(f"page, figures and {len(body['pictures'])} pictures in {self.path}")
        return lines


def evaluate(
    run: str | Path,
    *,
    split: str = "test",
    data: str | Path | CertifiedDataset | None = None,
    device: str = "cpu",
    page: str | Path | None = None,
    require: Level = "sealed",
    config: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure ``best.ckpt`` of the run folder ``run`` on ``split`` and on train, and write ``evaluation.json``,
    ``evaluation.md`` and pictures into its folder ``evaluation``.

    ``data`` (a path, or what `prep.open` returned) are by default the dataset of the run's name in the configuration.
    ``page`` is a further place for the page. Raises `CertificateError` for data of another root (it shows which
    statistics differ), `UsageError` for a folder without a run and a split that does not exist, and what the gate
    raises.
    """
    training()
    from prep.loaders.torch import TorchPlacement
    from prep.training.checkpoint import KEY, demand_data, identity, read_checkpoint
    from prep.training.evaluation import judge, measure, written
    from prep.training.evaluation.page import page as markdown
    from prep.training.remembered import Trained

    folder = Path(run)
    checkpoint = folder / "best.ckpt"
    if not folder.is_dir() or not checkpoint.exists():
        raise UsageError(
            "there is no run to evaluate",
            where=Where(path=str(folder)),
            measured="no best.ckpt",
            allowed="the folder of a run that `prep train` wrote",
            remedy="name a folder such as runs/control, or train first",
        )
    record = read_checkpoint(checkpoint)[KEY]
    if not isinstance(data, CertifiedDataset):
        path = data if data is not None else _configured(record["dataset"], folder, config)
        data = admit(path, Policy(require), lock_path=lock_path, trust_path=trust_path)
    demand_data(
        checkpoint,
        record,
        identity(data),
        what="this run was trained on other data, so its weights are not judged on these",
        remedy="name the dataset that it was trained on with --data, or train on these",
    )
    data.bounds(split)
    trained = Trained(checkpoint, data)
    placed = TorchPlacement(device).device
    system, network = trained.system, trained.network.to(placed)
    train = measure(data, system, network, "train", progress)
    found = train if split == "train" else measure(data, system, network, split, progress)
    verdict = judge(system, train.metrics, found.metrics)
    target = system.target
    body: dict[str, Any] = {
        "run": folder.name,
        "checkpoint": checkpoint.name,
        "epoch": len(record["history"]),
        "dataset": data.id,
        "version": data.version,
        "root": data.root,
        "certificate": data.certificate_digest,
        "system": trained.name,
        "split": split,
        "rows": found.rows,
        "metric": system.metric,
        "target": target.below if target else None,
        "baseline": system.baseline,
        "verdict": verdict.to_dict(),
        "metrics": found.metrics,
        "train": train.metrics,
        "references": system.references(data.torch(split, batch_size=256, fields=system.fields, device=placed)),
        "certified": data.baselines.get("targets", {}),
        "fields": {
            name: {"units": errors.units, **errors.metrics(), "features": errors.per_feature()}
            for name, errors in found.fields.items()
        },
        "grouped_by": found.grouped_by,
        "groups": {
            str(group): {"rows": found.group_rows[group], "metrics": metrics} for group, metrics in found.groups.items()
        },
    }
    place = folder / FOLDER
    with storage_errors(place):
        place.mkdir(exist_ok=True)
    body["pictures"] = written(place, body, found)
    if page is not None:
        target_page = Path(page)
        beside = os.path.relpath(place, target_page.parent)
        text = markdown({**body, "pictures": {f"{beside}/{name}": what for name, what in body["pictures"].items()}})
        write_atomically(target_page, text.encode())
    return Evaluation(place, body)


def _configured(dataset: str, folder: Path, config: str | Path | None) -> Path:
    settings = load_config(config)
    if dataset in settings.datasets:
        return settings.normalized_path(settings.datasets[dataset])
    raise CertificateError(
        "the data that this run was trained on are not in the configuration",
        where=Where(path=str(folder), dataset=dataset),
        measured=", ".join(settings.datasets) or "no datasets",
        allowed=dataset,
        remedy="name the certified dataset with --data",
    )

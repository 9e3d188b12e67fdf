"""`prep train`: open a dataset through the gate and train its system on it; nothing else gets in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prep.certificate.policy import Level, Policy
from prep.engine import Progress, silent
from prep.gate import CertifiedDataset, admit
from prep.verbs.config import load_config


def train(
    dataset: str | Path | CertifiedDataset,
    *,
    system: str | None = None,
    epochs: int | None = None,
    device: str = "auto",
    require: Level = "sealed",
    run_dir: str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    config: str | Path | None = None,
    lock_path: str | Path | None = None,
    progress: Progress = silent,
) -> Any:
    """Train on certified data and return the run's result (`prep.training.RunResult`).

    ``dataset`` is a name of the configuration, the path of a certified dataset, or a `CertifiedDataset`; anything else
    is refused by the gate. ``system`` defaults to the dataset's own, else ``tabular``. The run is written to
    ``run_dir`` (default ``runs/<dataset>``).
    """
    from prep.training import fit

    if isinstance(dataset, str | Path):
        path = dataset_path(dataset, config)
        dataset = admit(path, Policy(level=require), lock_path=Path(lock_path) if lock_path else None)
    return fit(
        dataset,
        system=system,
        epochs=epochs,
        device=device,
        run_dir=Path(run_dir) if run_dir else Path("runs") / getattr(dataset, "id", "run"),
        resume=resume,
        seed=seed,
        progress=progress,
    )


def dataset_path(dataset: str | Path, config: str | Path | None = None) -> Path:
    """A path as it is; a name of the configuration as the path of its normalised dataset."""
    path = Path(dataset)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    settings = load_config(config)
    return settings.normalized_path(settings.dataset(str(dataset)))

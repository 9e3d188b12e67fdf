"""`prep train`: open a dataset through the gate and train its system on it; nothing else gets in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prep.certificate.policy import Level, Policy
from prep.engine import Progress, silent
from prep.errors import CertificateError, UsageError, Where
from prep.formats.files import is_remote
from prep.gate import CertifiedDataset, admit
from prep.verbs.config import load_config
from prep.verbs.schemas import demand_present_schema

if TYPE_CHECKING:
    from prep.training import RunResult


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
    learning_rate: float | None = None,
    schedule: str | None = None,
    precision: str | None = None,
    compiled: bool | None = None,
    patience: int | None = None,
    without: Iterable[str] = (),
    config: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> RunResult:
    """Train on certified data and return how the run ended.

    ``dataset`` is a name of the configuration, the path of a certified dataset, or a `CertifiedDataset`; anything else
    is refused. ``system`` is by default the one of the dataset's name, else ``tabular``. The run is written to
    ``run_dir`` (default ``runs/<dataset>``); ``resume`` goes on from its last checkpoint. ``learning_rate``,
    ``schedule`` (cosine or plateau), ``precision`` (32-true or bf16-mixed) and ``compiled`` (torch.compile) replace the
    system's, ``patience`` ends the run early, ``without`` leaves guards out. ``say`` gets the lines of the log. Raises
    what the gate raises, and what `prep.training.fit` does.
    """
    if isinstance(dataset, str | Path):
        path, policy = _located(dataset, config, require)
        dataset = admit(path, policy, lock_path=lock_path, trust_path=trust_path)
        demand_present_schema(dataset, config)
    elif (
        Policy(require).level == "signed"  # refuses a level that does not exist
        and isinstance(dataset, CertifiedDataset)
        and dataset.standing.level != "signed"
    ):
        raise CertificateError(
            "the consumer demands a signature and this dataset was admitted without",
            where=Where(path=str(dataset.path), dataset=dataset.id),
            measured=str(dataset.standing),
            allowed="a signature by a trusted key",
            remedy="have it signed by somebody of trust.toml: prep certify --key",
        )
    try:
        from prep.training import fit
    except ImportError as error:
        raise UsageError(
            "training needs libraries that are not installed",
            measured=f"no {error.name}",
            allowed="the extra `train`: torch, Lightning, matplotlib",
            remedy="pip install 'prep-certified[train]'",
        ) from error
    return fit(
        dataset,
        system=system,
        epochs=epochs,
        device=device,
        run_dir=Path(run_dir) if run_dir else Path("runs") / getattr(dataset, "id", "run"),
        resume=resume,
        seed=seed,
        learning_rate=learning_rate,
        schedule=schedule,
        precision=precision,
        compiled=compiled,
        patience=patience,
        without=without,
        say=say,
        progress=progress,
    )


def _located(dataset: str | Path, config: str | Path | None, require: Level) -> tuple[str | Path, Policy]:
    """A path or URL as it is, of whatever dataset; a name of the configuration as the path of its normalised dataset,
    which must be of that name.
    """
    if is_remote(dataset):
        return dataset, Policy(require)
    path = Path(dataset)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path, Policy(require)
    settings = load_config(config)
    entry = settings.dataset(str(dataset))
    return settings.normalized_path(entry), Policy(require, dataset=entry.name)

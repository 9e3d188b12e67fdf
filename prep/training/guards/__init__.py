"""What watches a run while it trains: one guard a file, one line in `GUARDS`, all on by default.

`default_guards(data, system=…)` returns fresh Lightning callbacks for any `Trainer`: a `Watch` that keeps the numbers
of the run, and the guards that have what they need. A guard warns, which is one line, or stops the run with one
`UnfinishedError`. They are asked in the order of their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prep.errors import UsageError
from prep.registry import Table

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from prep.gate import CertifiedDataset
    from prep.training.systems import System

GUARDS = Table(
    "guards",
    {
        "baseline": "prep.training.guards.baseline:Baseline",
        "clip_factor": "prep.training.guards.clip_factor:ClipFactor",
        "finite": "prep.training.guards.finite:Finite",
        "first_loss": "prep.training.guards.first_loss:FirstLoss",
        "flow_balance": "prep.training.guards.flow_balance:FlowBalance",
        "frozen_metrics": "prep.training.guards.frozen_metrics:FrozenMetrics",
        "learning_rate": "prep.training.guards.learning_rate:LearningRate",
        "loss_scale": "prep.training.guards.loss_scale:LossScale",
        "loss_scores": "prep.training.guards.loss_scores:LossScores",
        "oscillation": "prep.training.guards.oscillation:Oscillation",
        "overfitting": "prep.training.guards.overfitting:Overfitting",
        "plateau": "prep.training.guards.plateau:Plateau",
        "prediction_range": "prep.training.guards.prediction_range:PredictionRange",
        "rising": "prep.training.guards.rising:Rising",
        "updates": "prep.training.guards.updates:Updates",
    },
)


def default_guards(
    data: CertifiedDataset,
    *,
    system: System | str | None = None,
    monitor: str | None = None,
    baseline: float | None = None,
    without: Iterable[str] = (),
    patience: int | None = None,
    say: Callable[[str], None] | None = None,
    warnings: list[str] | None = None,
) -> list[Callback]:
    """Fresh callbacks for one run on ``data``, those named in ``without`` left out.

    ``system`` (or its name) says what first loss, metric, baseline and target are. Without one, ``monitor`` is the
    metric that the module logs (default ``val_loss``) and ``baseline`` what predicting nothing scores in it and in the
    loss (default: the certificate's mean square of the targets). With ``patience`` training ends when ``monitor`` has
    not improved for so many epochs. ``say`` gets a line for each warning, and ``warnings`` collects them. Raises
    `CertificateError` for what is not certified and `UsageError` for names that do not exist.
    """
    from prep.training.data import demand_certified
    from prep.training.guards.patience import Patience
    from prep.training.guards.watch import Watch
    from prep.training.systems import SYSTEMS

    data = demand_certified(data)
    left_out = frozenset([without] if isinstance(without, str) else without)
    for name in sorted(left_out):
        GUARDS.load(name)
    if baseline is not None and not math.isfinite(baseline):
        raise UsageError(
            "a baseline is a number", measured=str(baseline), allowed="a finite number", remedy="leave baseline out"
        )
    known: System | None = SYSTEMS.load(system)(data) if isinstance(system, str) else system
    watch = Watch(data, known, monitor=monitor, baseline=baseline, say=say, warnings=warnings)
    kinds = [GUARDS.load(name) for name in GUARDS if name not in left_out]
    ends = [] if patience is None else [Patience(watch, patience)]
    return [watch, *(kind(watch) for kind in kinds if kind.applies(watch)), *ends]

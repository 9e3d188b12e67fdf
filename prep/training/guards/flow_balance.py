"""The two directions of a flow: each the inverse of the other, and both learned."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from prep.training.guards.guard import Guard, fitting
from prep.training.guards.watch import Watch
from prep.training.systems import System

_RECONSTRUCTION, _LOG_DET = 1e-4, 1e-3
_IMBALANCE = 4.0  # healthy runs at smoke scale: 1.7 to 2.2, since one direction has more to gain


class FlowBalance(Guard):
    """Stops where the round trip does not come back (1e-4) or ln|det| of both ways does not cancel (1e-3); warns after
    the warm-up where one direction is worse than the identity, or gained less than a quarter of the other.
    """

    name = "flow_balance"

    @classmethod
    def applies(cls, watch: Watch) -> bool:
        """Of a system that goes both ways."""
        return watch.system is not None and type(watch.system).flow is not System.flow

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the split."""
        system, sums = self.watch.system, getattr(pl_module, "sums", None)
        found = system.flow(sums) if system is not None and sums and not trainer.sanity_checking else None
        if found is None:
            return
        for name, limit in (("reconstruction", _RECONSTRUCTION), ("log_det", _LOG_DET)):
            if not abs(found[name]) <= limit:
                raise self.refusal(
                    "the inverse of the flow is not its inverse",
                    split="val",
                    measured=f"{name} error {found[name]:.3g}",
                    allowed=f"{limit:g}",
                    remedy="see that both directions share every parameter and that ln|det| has the sign of its own",
                )
        if fitting(trainer) and self.watch.warm(trainer):
            self._judge(trainer, found)

    def _judge(self, trainer: Trainer, found: Any) -> None:
        gains = {name: -found[name] for name in ("forward", "inverse")}
        less, more = sorted(gains, key=gains.__getitem__)
        if gains[more] <= 0 or gains[less] * _IMBALANCE >= gains[more]:
            return
        line = self.warn(
            "one direction of the flow is left behind",
            f"{less} gained {gains[less]:.4g} over the identity, {more} {gains[more]:.4g} (epoch "
            f"{trainer.current_epoch + 1}), expected within a factor of {_IMBALANCE:g}; weigh both directions alike "
            "and see that batches hold samples of both",
        )
        if line:
            self.watch.say(line)

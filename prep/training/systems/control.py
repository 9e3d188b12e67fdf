"""Control of many linear systems: a causal transformer over the window of states predicts the control at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prep.blocks import Array
from prep.gate import CertifiedDataset
from prep.training.metrics import R2, mean, squared_error
from prep.training.systems.system import Batch, Hyperparameters, Outputs, System, Target, numpy, require, score_of_zero

_WIDTH, _HEADS, _LAYERS, _FEEDFORWARD = 64, 4, 4, 256


class Control(System):
    """Masked mean squared error Σ m (û - u)² / Σ m over what each system really has; padding never counts."""

    hyperparameters = Hyperparameters(epochs=6, batch_size=256, learning_rate=1e-3, weight_decay=1e-4, warmup=0.05)
    metric = "masked_mse"
    target = Target("masked_mse", 0.1)

    def __init__(self, data: CertifiedDataset) -> None:
        super().__init__(data)
        require(data, *self.fields)
        self._invert = data.transforms["controls"].invert

    @property
    def fields(self) -> tuple[str, ...]:
        """States, encoding, controls, their mask and the system they belong to."""
        return ("states", "encoding", "controls", "control_mask", "system")

    @property
    def reads(self) -> tuple[str, ...]:
        """States and encoding."""
        return ("states", "encoding")

    @property
    def baseline(self) -> float:
        """The masked mean square of the certified controls."""
        return self.certified_baseline("controls")

    def model(self) -> nn.Module:
        """A `CausalTransformer` of about 200 000 weights."""
        time, state = self.data.spec["states"].shape
        return CausalTransformer(time, state + self.data.spec["encoding"].shape[0], self.data.spec["controls"].shape[0])

    def augment(self, batch: Batch) -> Batch:
        """The batch itself."""
        return batch

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Masked mean squared error of the batch."""
        mask = batch["control_mask"].to(outputs["controls"].dtype)
        return (mask * (outputs["controls"] - batch["controls"]).square()).sum() / mask.sum()

    def perfect(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """The controls, and their mask."""
        return {"controls": batch["controls"]}, {"controls": batch["control_mask"].to(batch["controls"].dtype)}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, Array]:
        """The controls that a system has; 0 for those that it has not."""
        return {"controls": numpy(outputs["controls"]) * numpy(batch["control_mask"])}

    def groups(self, batch: Batch) -> tuple[str, Array]:
        """The systems."""
        return "system", batch["system"].cpu().numpy()

    def sums(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        """Masked squared errors, and per system and control what R² in original units needs."""
        mask, system = numpy(batch["control_mask"]), batch["system"].cpu().numpy()
        predicted, true = numpy(outputs["controls"]), numpy(batch["controls"])
        extra = {"system": system, "control_mask": mask.astype(np.uint8)}
        there, original, middle = (self._invert(values * mask, **extra) for values in (predicted, true, 0.0 * true))
        groups = int(self._systems.max()) + 1
        result = {"error": np.sum(squared_error(predicted, true, mask)), "count": np.sum(mask)}
        for name, values in R2.terms(there, original, mask, middle).items():
            total = np.zeros((groups, mask.shape[1]))
            np.add.at(total, system, values)
            result[f"r2/{name}"] = total
        return result

    def metrics(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """masked_mse; r2_original_median and r2_original_worst over every control of every system, in its own units."""
        found = R2(**{part: sums[f"r2/{part}"] for part in R2.__slots__})
        r2 = found.finish()[found.known]
        return {
            "masked_mse": float(mean(sums["error"], sums["count"])),
            "r2_original_median": float(np.median(r2)),
            "r2_original_worst": float(r2.min()),
        }

    def references(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Predicting zero on the same rows, and the certificate's linear probe, fitted for each system."""
        zero = score_of_zero((numpy(each["control_mask"]), numpy(each["controls"])) for each in batches)
        return {"zero": zero, **self.certified_probe("controls", zero)}

    @property
    def _systems(self) -> Array:
        params = self.data.transforms["controls"].params
        return np.asarray(params["groups"])


class CausalTransformer(nn.Module):
    """Tokens are steps: (batch, time, states) with the encoding (batch, bits) beside every step; the last token's
    output (batch, controls) is the prediction.
    """

    mask: Tensor

    def __init__(self, time: int, features: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, _WIDTH)
        self.position = nn.Parameter(torch.zeros(time, _WIDTH))
        nn.init.normal_(self.position, std=0.02)
        layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, _FEEDFORWARD, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, _LAYERS, norm=nn.LayerNorm(_WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(_WIDTH, outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(time), persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``controls`` (batch, controls) float32 of ``states`` (batch, time, states), ``encoding`` (batch, bits)."""
        states = batch["states"]
        bits = batch["encoding"].to(states.dtype)[:, None, :].expand(-1, states.shape[1], -1)
        tokens = self.embed(torch.cat([states, bits], -1)) + self.position
        return {"controls": self.head(self.layers(tokens, mask=self.mask, is_causal=True)[:, -1])}

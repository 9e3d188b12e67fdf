"""One tone out of four: an LSTM that carries its state through a whole sequence, trained window by window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from prep.blocks import Array, Block
from prep.errors import UsageError
from prep.folds import Scope
from prep.folds.gram import GramResult
from prep.folds.lagged import LaggedGram
from prep.gate import CertifiedDataset
from prep.training.metrics import R2, mean, squared_error
from prep.training.systems.system import Batch, Criterion, Hyperparameters, Outputs, System, Target, numpy, require

_WIDTH, _WINDOW = 64, 250
_MEMORY = 100  # steps that the slowest cells remember before anything is learnt
_SETTLED = 1.0  # s
_TAPS, _SPACING, _RIDGE = 200, 5, 1e-6
_PROBED = 512  # sequences that the filter is fitted on at most


class Tones(System):
    """Mean squared error of the tone over every step. Batches are parallel streams: windows of 250 steps in the order
    of time, the state carried, without its gradient, from one to the next and zeroed where ``reset`` is 1.
    """

    hyperparameters = Hyperparameters(epochs=36, batch_size=16, learning_rate=1e-2, warmup=0.02, threads=1)
    metric = "mse"
    target = Target("mse", 0.002)

    def __init__(self, data: CertifiedDataset) -> None:
        super().__init__(data)
        require(data, *self.fields)

    @property
    def fields(self) -> tuple[str, ...]:
        """Signal, selector and target; the marks of a new sequence; the time since then."""
        return ("signal", "selector", "target", "reset", "time")

    @property
    def reads(self) -> tuple[str, ...]:
        """Signal and selector, and where sequences begin."""
        return ("signal", "selector", "reset")

    @property
    def baseline(self) -> float:
        """The mean square of the certified targets: 0.5."""
        return self.certified_baseline("target")

    @property
    def pieces(self) -> int:
        """Windows of a sequence."""
        return math.ceil(self.data.spec["signal"].shape[0] / _WINDOW)

    def cut(self, batch: Batch) -> Iterator[Batch]:
        """Windows of (batch, 250) in the order of time; the selector (batch, tones) is in each of them."""
        steps = batch["signal"].shape[1]
        for start in range(0, steps, _WINDOW):
            yield {
                name: values if name == "selector" else values[:, start : start + _WINDOW]
                for name, values in batch.items()
            }

    def model(self) -> nn.Module:
        """An `Extractor` of 64 cells: 18 241 weights with four tones."""
        return Extractor(1 + self.data.spec["selector"].shape[0])

    def augment(self, batch: Batch) -> Batch:
        """The batch itself."""
        return batch

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Mean squared error of the window."""
        return (outputs["target"] - batch["target"]).square().mean()

    def perfect(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """The target, all of whose steps count."""
        return {"target": batch["target"]}, {"target": torch.ones_like(batch["target"])}

    def joined(self, pieces: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """Windows one after the other."""
        return {name: np.concatenate([piece[name] for piece in pieces], 1) for name in pieces[0]}

    def groups(self, batch: Batch) -> tuple[str, Array]:
        """The tones."""
        return "tone", batch["selector"].argmax(1).cpu().numpy()

    def criteria(self, train: Mapping[str, float], test: Mapping[str, float]) -> tuple[Criterion, ...]:
        """What the course that this comes from called excellent."""
        limits = {"train": 0.001, "test": 0.002, "ratio": 1.2}
        return tuple(replace(each, below=limits[each.kind]) for each in super().criteria(train, test))

    def exported(self, network: nn.Module) -> nn.Module:
        """Whole sequences at once, from their beginning: the state that windows hand on is inside."""
        assert isinstance(network, Extractor)
        return WholeSequences(network)

    def sums(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        """Squared errors of all steps, of those of the first second, and per tone; what R² needs."""
        true = numpy(batch["target"])
        error = squared_error(numpy(outputs["target"]), true)
        settled = numpy(batch["time"]) >= _SETTLED
        chosen = numpy(batch["selector"])
        return {
            "error": error.sum(),
            "count": np.asarray(float(error.size)),
            "settled_error": error[settled].sum(),
            "settled_count": np.asarray(float(settled.sum())),
            "tone_error": chosen.T @ error.sum(1),
            "tone_count": chosen.sum(0) * error.shape[1],
            "first": true.sum(),
            "second": np.sum(true**2),
        }

    def metrics(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """mse and R² over all steps, mse after the first second, mse of each tone; targets are in original units."""
        r2 = R2(sums["count"], sums["error"], sums["first"], sums["second"])
        result = {
            "mse": float(mean(sums["error"], sums["count"])),
            "r2": float(r2.finish()),
            "mse_settled": float(mean(sums["settled_error"], sums["settled_count"])),
        }
        each = mean(sums["tone_error"], sums["tone_count"])
        return result | {f"mse/tone[{tone}]": float(value) for tone, value in enumerate(each)}

    def references(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Zero; the signal itself; a clock, which knows tone and time only and predicts the mean of train sequences;
        and, for steps with a past of a second (as ``mse_settled``), the filter of the check ``fir_probe``, fitted on
        these.
        """
        clock, fitted = self._fitted()
        rows = self.data.row_count("test")
        fold = self._filter(rows)
        errors = dict.fromkeys(("zero", "identity", "clock"), 0.0)
        state, seen = fold.empty(), 0
        for batch in batches:
            signal, target, tone = numpy(batch["signal"]), numpy(batch["target"]), numpy(batch["selector"]).argmax(1)
            for name, predicted in (("zero", 0.0), ("identity", signal), ("clock", clock[tone])):
                errors[name] += float(np.sum((target - predicted) ** 2))
            arrays = {"signal": signal, "target": target, "tone": tone}
            state = fold.absorb(state, Block(seen, seen + len(tone), arrays))
            seen += len(tone)
        values = rows * self.data.spec["target"].row_values
        result = {name: error / values for name, error in errors.items()}
        return result | {"filter_settled": fold.finish(state).mse(_RIDGE, fitted)}

    def _fitted(self) -> tuple[Array, GramResult]:
        """Mean target of each tone at each step (tones, steps), and the equations of the filter, of train sequences."""
        start, stop = self.data.bounds("train")
        stop = min(stop, start + _PROBED)
        rows = {name: self.data.rows(name, start, stop) for name in ("signal", "target", "selector")}
        tone = rows.pop("selector").argmax(1)
        fold = self._filter(len(tone))
        fitted = fold.finish(fold.absorb(fold.empty(), Block(0, len(tone), {**rows, "tone": tone})))
        clock = np.zeros((self.data.spec["selector"].shape[0], rows["target"].shape[1]))
        np.add.at(clock, tone, rows["target"])
        count = np.bincount(tone, minlength=len(clock))
        return clock / np.maximum(count, 1)[:, np.newaxis], fitted

    def _filter(self, rows: int) -> LaggedGram:
        """The probe of the schema's check ``fir_probe``, over ``rows`` samples."""
        spec = self.data.spec
        return LaggedGram(spec["signal"], spec["target"], Scope("", 0, rows), _TAPS, _SPACING, "tone")


class Extractor(nn.Module):
    """An LSTM and a linear head on (signal, selector) of each step; its state waits for the next window of the same
    streams.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, _WIDTH, batch_first=True)
        self.head = nn.Linear(_WIDTH, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        # Forget gates open for 1 to 100 steps from the start (Tallec and Ollivier, 2018): a tone is slow beside a step.
        memory = torch.log(torch.empty(_WIDTH).uniform_(1.0, _MEMORY - 1.0))
        with torch.no_grad():
            rest = torch.zeros(2 * _WIDTH)
            self.lstm.get_parameter("bias_ih_l0").copy_(torch.cat([-memory, memory, rest]))
            self.lstm.get_parameter("bias_hh_l0").zero_()
        self._state: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``target`` (batch, steps) float32 of ``signal`` (batch, steps) and ``selector`` (batch, tones).

        Streams whose ``reset`` is 1 at the first step begin anew; `UsageError` where others have no state to carry on.
        """
        signal = batch["signal"]
        selector = batch["selector"].to(signal.dtype)[:, None, :].expand(-1, signal.shape[1], -1)
        outputs, state = self.lstm(torch.cat([signal[:, :, None], selector], -1), self._carried(batch))
        self._state = (state[0].detach(), state[1].detach())
        return {"target": self.head(outputs)[:, :, 0]}

    def _carried(self, batch: Batch) -> tuple[Tensor, Tensor]:
        signal, fresh = batch["signal"], batch["reset"][:, 0] != 0
        state = self._state
        if state is None or state[0].shape[1] != len(signal):
            if not bool(fresh.all()):
                raise UsageError(
                    "a window has no state to go on from",
                    measured=f"{int((~fresh).sum())} of {len(signal)} streams go on from an earlier window",
                    allowed="the windows of a batch in the order of time, the first of them with reset 1",
                    remedy="give whole sequences, as `System.cut` does; never shuffle windows",
                )
            zeros = signal.new_zeros(1, len(signal), _WIDTH)
            return zeros, zeros
        kept = (~fresh).to(signal.dtype)[None, :, None]
        return state[0] * kept, state[1] * kept


class WholeSequences(nn.Module):
    """`Extractor` on sequences from their first step to their last, as one loop in the graph.

    (`torch.export` looks at every step of an `nn.LSTM`: ten thousand take nine minutes, the loop takes seconds.)
    """

    def __init__(self, network: Extractor) -> None:
        super().__init__()
        self.head = network.head
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            self.register_parameter(name, network.lstm.get_parameter(f"{name}_l0"))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``target`` (batch, steps) float32 of ``signal`` (batch, steps) and ``selector`` (batch, tones)."""
        from torch._higher_order_ops.scan import scan

        signal = batch["signal"]
        selector = batch["selector"].to(signal.dtype)[:, None, :].expand(-1, signal.shape[1], -1)
        inputs = torch.cat([signal[:, :, None], selector], -1) @ self.get_parameter("weight_ih").T
        inputs = (inputs + self.get_parameter("bias_ih") + self.get_parameter("bias_hh")).transpose(0, 1)
        recurrent = self.get_parameter("weight_hh").T

        def step(state: tuple[Tensor, Tensor], given: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            hidden, cell = state
            let_in, keep, new, let_out = (given + hidden @ recurrent).chunk(4, 1)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(let_in) * torch.tanh(new)
            hidden = torch.sigmoid(let_out) * torch.tanh(cell)
            return (hidden, cell), hidden.clone()

        zero = signal.new_zeros(signal.shape[0], _WIDTH)
        _, found = scan(step, (zero, zero.clone()), inputs)
        return {"target": self.head(found.transpose(0, 1))[:, :, 0]}

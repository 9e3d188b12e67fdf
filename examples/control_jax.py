"""`control` in JAX (Equinox, Optax), the framework of the project that it comes from, on the certified data.

    pip install "prep-certified[jax]" equinox optax
    prep generate control …, or `snakemake all`
    python examples/control_jax.py data/normalized/control.h5

The same model, loss, schedule and target as `prep train control`: a causal transformer over a window of states predicts
the control at its end; masked mean squared error on the test split below 0.1, where predicting zero scores 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import prep

WIDTH, HEADS, LAYERS, FEEDFORWARD = 64, 4, 4, 256
TARGET, CLIP, WEIGHT_DECAY, WARMUP = 0.1, 1.0, 1e-4, 0.05
FIELDS = ("states", "encoding", "controls", "control_mask")
Batch = dict[str, Array]


class Layer(eqx.Module):
    """Causal attention, then a perceptron, each behind a layer norm and beside the identity."""

    attention: eqx.nn.MultiheadAttention
    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    wide: eqx.nn.Linear
    narrow: eqx.nn.Linear

    def __init__(self, key: Array) -> None:
        keys = jax.random.split(key, 3)
        bias = {f"use_{part}_bias": True for part in ("query", "key", "value", "output")}
        self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, **bias, key=keys[0])
        self.norms = eqx.nn.LayerNorm(WIDTH), eqx.nn.LayerNorm(WIDTH)
        self.wide = eqx.nn.Linear(WIDTH, FEEDFORWARD, key=keys[1])
        self.narrow = eqx.nn.Linear(FEEDFORWARD, WIDTH, key=keys[2])

    def __call__(self, tokens: Array, mask: Array) -> Array:
        """(time, width) to the same."""
        there = jax.vmap(self.norms[0])(tokens)
        tokens = tokens + self.attention(there, there, there, mask=mask)
        there = jax.vmap(self.norms[1])(tokens)
        return tokens + jax.vmap(lambda one: self.narrow(jax.nn.gelu(self.wide(one), approximate=False)))(there)


class CausalTransformer(eqx.Module):
    """States (time, states) and the encoding of the system (bits) to controls."""

    embed: eqx.nn.Linear
    position: Array
    layers: list[Layer]
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, time: int, features: int, outputs: int, key: Array) -> None:
        first, second, last, *others = jax.random.split(key, 3 + LAYERS)
        self.embed = eqx.nn.Linear(features, WIDTH, key=first)
        self.position = 0.02 * jax.random.normal(second, (time, WIDTH))
        self.layers = [Layer(each) for each in others]
        self.norm = eqx.nn.LayerNorm(WIDTH)
        head = eqx.nn.Linear(WIDTH, outputs, key=last)
        # It begins near zero, so that the first loss is what predicting nothing scores.
        weights = 0.02 * jax.random.normal(last, head.weight.shape), jnp.zeros(outputs)
        self.head = eqx.tree_at(lambda each: (each.weight, each.bias), head, weights)

    def __call__(self, states: Array, encoding: Array) -> Array:
        """Controls at the end of one window."""
        bits = jnp.broadcast_to(encoding.astype(states.dtype), (len(states), len(encoding)))
        tokens = jax.vmap(self.embed)(jnp.concatenate([states, bits], -1)) + self.position
        mask = jnp.tril(jnp.ones((len(states), len(states)), bool))
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return self.head(self.norm(tokens[-1]))


def errors(model: CausalTransformer, batch: Batch) -> tuple[Array, Array]:
    """Sum of masked squared errors, and how many values count."""
    mask = batch["control_mask"].astype(jnp.float32)
    predicted = jax.vmap(model)(batch["states"], batch["encoding"])
    return (mask * (predicted - batch["controls"]) ** 2).sum(), mask.sum()


def loss(model: CausalTransformer, batch: Batch) -> Array:
    """Masked mean squared error of a batch."""
    error, count = errors(model, batch)
    return error / count


@partial(eqx.filter_jit, donate="all-except-first")
def step(
    batch: Batch, model: CausalTransformer, state: optax.OptState, optimiser: optax.GradientTransformation
) -> tuple[CausalTransformer, optax.OptState, Array]:
    """One step of the optimiser."""
    value, gradient = eqx.filter_value_and_grad(loss)(model, batch)
    updates, state = optimiser.update(gradient, state, eqx.filter(model, eqx.is_inexact_array))
    return eqx.apply_updates(model, updates), state, value


def score(model: CausalTransformer, batches: Iterable[Batch]) -> float:
    """Masked mean squared error over a whole split, weights frozen."""
    measure = eqx.filter_jit(errors)
    sums = np.sum([[float(each) for each in measure(model, batch)] for batch in batches], axis=0)
    return float(sums[0] / sums[1])


def train(path: str, *, epochs: int = 6, batch_size: int = 256, seed: int = 0) -> float:
    """The masked mean squared error on the test split after ``epochs``."""
    data = prep.open(path)
    if epochs < 1 or data.id != "control":
        raise SystemExit(f"this trains `control` for one epoch or more, not {data.id} for {epochs}")
    baseline = data.baselines["targets"]["controls"]["zero"]
    batches = data.jax("train", batch_size=batch_size, shuffle=True, seed=seed, fields=FIELDS, drop_last=True)
    val, test = (data.jax(split, batch_size=1024, fields=FIELDS) for split in ("val", "test"))
    window, states = data.spec["states"].shape
    sizes = window, states + data.spec["encoding"].shape[0], data.spec["controls"].shape[0]
    model = CausalTransformer(*sizes, jax.random.key(seed))
    steps = epochs * len(batches)
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, max(1, round(WARMUP * steps)), steps)
    optimiser = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(rate, weight_decay=WEIGHT_DECAY))
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    begin = time.monotonic()
    for epoch in range(epochs):
        losses = []
        for batch in batches:
            model, state, value = step(batch, model, state, optimiser)
            if not losses and epoch == 0 and not baseline / 3 <= float(value) <= baseline * 3:
                raise SystemExit(f"the first loss is {float(value):.3g} where predicting zero scores {baseline:.3g}")
            losses.append(value)
        mean, seconds = float(jnp.stack(losses).mean()), time.monotonic() - begin
        said = f"epoch {epoch + 1}/{epochs}  train loss {mean:.4g}  val {score(model, val):.4g}"
        print(f"{said}  waited {batches.waited / seconds:.1%}  {seconds:.0f} s", flush=True)
    found = score(model, test)
    verdict = "reached" if found < TARGET else "missed"
    print(f"test masked_mse {found:.4g}, predicting zero {baseline:.4g}, target < {TARGET}: {verdict}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="the certified dataset `control`")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    sys.exit(train(asked.dataset, epochs=asked.epochs, seed=asked.seed) >= TARGET)

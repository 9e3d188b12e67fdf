"""The examples run as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.conftest import dataset_of

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("epochs", "below"), [(1, 1.1), pytest.param(20, 0.8, marks=[pytest.mark.long])], ids=["runs", "learns"]
)
def test_control_in_jax_trains_on_certified_data(
    epochs: int, below: float, certified_copy: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("jax", "equinox", "optax"):
        pytest.importorskip(name)
    train = runpy.run_path(str(EXAMPLES / "control_jax.py"))["train"]

    found = train(str(dataset_of(certified_copy, "control")), epochs=epochs, batch_size=128)

    said = capsys.readouterr().out
    assert found < below
    assert f"epoch {epochs}/{epochs}" in said
    assert f"{found:.4g}" in said

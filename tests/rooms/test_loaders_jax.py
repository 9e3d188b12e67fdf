"""JAX arrays: nothing is cut to 32 bits unasked."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.errors import UsageError
from tests.conftest import dataset_of

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")


@pytest.fixture(scope="module")
def covariance(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "covariance"), lock_path=certified_project / "prep.lock")


@pytest.fixture(scope="module")
def tones(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "tones"), lock_path=certified_project / "prep.lock")


def wide(data: prep.CertifiedDataset) -> list[str]:
    return [each.name for each in data.spec.fields if each.dtype.itemsize == 8 and each.dtype.kind in "iuf"]


def test_values_of_64_bits_are_not_cut_unasked(covariance: prep.CertifiedDataset):
    names = wide(covariance)
    if not names:
        pytest.skip("no field of 64 bits")
    with pytest.raises(UsageError, match="32 bits"):
        covariance.jax("train", fields=names)
    with jax.enable_x64(True):
        batch = next(iter(covariance.jax("train", fields=names)))
        assert all(batch[name].dtype == covariance.spec[name].dtype for name in names)


def test_complex_fields_come_as_pairs_of_the_type_that_is_asked(covariance: prep.CertifiedDataset):
    name = next(spec.name for spec in covariance.spec.fields if spec.dtype.kind == "c")
    start, _ = covariance.bounds("train")
    stored = covariance.rows(name, start, start + 4)

    batch = next(iter(covariance.jax("train", batch_size=4, fields=[name], dtype=jnp.bfloat16, complex_pairs=True)))

    assert batch[name].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(batch[name], np.float32)[..., 0], stored.real, rtol=0.01)


@pytest.mark.parametrize("dtype", [jnp.float64, {"log_rms": jnp.float64}])
def test_64_bits_that_jax_does_not_have_are_refused_by_name_too(dtype: Any, covariance: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="32 bits"):
        covariance.jax("train", fields=("log_rms",), dtype=dtype)


@pytest.mark.parametrize("dtype", ["nope", jnp.int32, {"snapshots": jnp.float32}, {"log_rms": jnp.int32}])
def test_a_type_that_is_none_or_would_lose_values_is_refused_at_once(dtype: Any, covariance: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="without losing"):
        covariance.jax("train", fields=("snapshots", "log_rms"), dtype=dtype)


def test_a_device_can_be_named(covariance: prep.CertifiedDataset):
    batch = next(iter(covariance.jax("train", batch_size=4, fields=("snapshots",), device="cpu:0")))
    assert batch["snapshots"].devices() == {jax.devices("cpu")[0]}
    for wrong in ("cpu:99", "nonsense", 3):
        with pytest.raises(UsageError, match="no such device"):
            covariance.jax("train", fields=("snapshots",), device=wrong)


def test_a_sharding_that_does_not_divide_the_last_batch_says_what_to_do(covariance: prep.CertifiedDataset):
    class Halves(jax.sharding.SingleDeviceSharding):
        def shard_shape(self, global_shape: tuple[int, ...]) -> tuple[int, ...]:
            if global_shape[0] % 2:
                raise ValueError("dimension 0 should be divisible by 2")
            return (global_shape[0] // 2, *global_shape[1:])

    halves = Halves(jax.devices()[0])
    make = partial(covariance.jax, "train", fields=("snapshots",), device=halves)
    with pytest.raises(UsageError, match="does not divide every batch") as refusal:
        make(batch_size=3)
    assert "drop_last" in refusal.value.remedy
    make(batch_size=2, drop_last=True)

"""JAX arrays: nothing is cut to 32 bits unasked."""

from __future__ import annotations

from pathlib import Path

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

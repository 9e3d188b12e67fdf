"""A checkpoint is asked and answers in original units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import prep
from prep.errors import CertificateError, DataError, IntegrityError, UsageError
from prep.training.remembered import Trained
from tests.conftest import FORMATS, SYSTEMS, arrays_in, dataset_of

Runs = Callable[[str], Path]


def raw_of(project: Path, name: str) -> Path:
    return project / f"data/raw/{name}{FORMATS[name]}"


def original(run: Path, project: Path, name: str) -> dict[str, np.ndarray]:
    """Predictions for the certified test split, from its normalised values, inverted field by field."""
    data = prep.open(dataset_of(project, name), lock_path=project / "prep.lock")
    trained = Trained(run / "best.ckpt", data)
    system, parts = trained.system, []
    read = [name for field in system.predicted if field in data.transforms for name in data.transforms[field].reads]
    for batch in data.torch("test", batch_size=100, fields=tuple(dict.fromkeys([*system.fields, *read]))):
        with torch.no_grad():
            pieces = [system.predictions(trained.network(piece), piece) for piece in system.cut(batch)]
        parts.append(
            {
                field: data.transforms[field].invert(
                    values, **{each: batch[each].numpy() for each in data.transforms[field].reads}
                )
                if field in data.transforms
                else values
                for field, values in system.joined(pieces).items()
            }
        )
    return {field: np.concatenate([part[field] for part in parts]) for field in parts[0]}


@pytest.fixture(scope="module")
def inputs(certified_project: Path) -> dict[str, np.ndarray]:
    """Raw test rows of the regression in the units they were made in."""
    data = prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock")
    values = data.rows("inputs", *data.bounds("test"))
    return {"inputs": data.transforms["inputs"].invert(values)}


@pytest.fixture(scope="module")
def control(certified_project: Path) -> dict[str, np.ndarray]:
    data = prep.open(dataset_of(certified_project, "control"), lock_path=certified_project / "prep.lock")
    rows = {name: data.rows(name, 0, 20) for name in ("states", "encoding", "state_mask", "control_mask", "system")}
    beside = {name: rows[name] for name in ("system", "state_mask")}
    return {**rows, "states": data.transforms["states"].invert(rows["states"], **beside)}


@pytest.mark.parametrize("name", SYSTEMS)
def test_raw_values_give_what_the_normalised_ones_give_turned_back(
    name: str, certified_project: Path, trained: Runs, tmp_path: Path
):
    run = trained(name)
    found = prep.predict(
        run / "best.ckpt", raw_of(certified_project, name), split="test", output=tmp_path / "answers.npz"
    )
    expected, answers = original(run, certified_project, name), arrays_in(tmp_path / "answers.npz")

    assert set(answers) == set(expected) == set(found.units)
    for field, values in expected.items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(answers[field], values, rtol=1e-6, atol=1e-6 * scale, err_msg=field)


def test_answers_are_in_the_order_of_the_input_and_the_same_in_every_format(
    certified_project: Path, trained: Runs, tmp_path: Path
):
    raw, checkpoint = raw_of(certified_project, "regression"), trained("regression") / "best.ckpt"
    for ending in (".npz", ".h5", ".zarr"):
        prep.predict(checkpoint, raw, output=tmp_path / f"answers{ending}")
    expected = arrays_in(tmp_path / "answers.npz")["targets"]

    assert expected.shape == (1000, 4)
    for ending in (".h5", ".zarr"):
        prep.predict(checkpoint, raw, output=tmp_path / f"again{ending}")
        found = prep.inspect(tmp_path / f"answers{ending}")
        assert (found.spec.rows, found.spec["targets"].units) == (1000, "1")
    import h5py

    with h5py.File(tmp_path / "answers.h5") as file:
        np.testing.assert_array_equal(file["targets"][:], expected)


def test_plain_arrays_are_taken_by_name_whatever_else_lies_beside_them(
    inputs: dict[str, np.ndarray], trained: Runs, tmp_path: Path
):
    checkpoint = trained("regression") / "best.ckpt"
    rows = len(inputs["inputs"])
    np.savez(tmp_path / "mine.npz", **inputs, split=np.arange(rows, dtype=np.uint8) % 3)
    np.save(tmp_path / "inputs.npy", inputs["inputs"])
    prep.predict(checkpoint, tmp_path / "mine.npz", output=tmp_path / "one.npz")
    prep.predict(checkpoint, tmp_path / "inputs.npy", output=tmp_path / "other.npz")

    one, other = (arrays_in(tmp_path / name)["targets"] for name in ("one.npz", "other.npz"))
    np.testing.assert_array_equal(one, other)
    assert len(one) == rows


def test_covariance_without_its_power_is_of_trace_n_and_says_so(certified_project: Path, trained: Runs, tmp_path: Path):
    data = prep.open(dataset_of(certified_project, "covariance"), lock_path=certified_project / "prep.lock")
    rows = {name: data.rows(name, 0, 5) for name in ("snapshots", "log_rms")}
    snapshots = data.transforms["snapshots"].invert(rows["snapshots"], log_rms=rows["log_rms"])
    np.savez(tmp_path / "mine.npz", snapshots=snapshots)

    found = prep.predict(trained("covariance") / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "answers.npz")

    answers = arrays_in(tmp_path / "answers.npz")
    assert "without its scale" in found.remarks[0]
    np.testing.assert_allclose(np.trace(answers["covariance_normalized"], axis1=1, axis2=2).real, 144.0, rtol=1e-6)


def test_a_missing_field_is_named_with_all_that_are_needed(trained: Runs, tmp_path: Path):
    np.savez(tmp_path / "mine.npz", input=np.zeros((3, 16)))
    with pytest.raises(UsageError, match="lacks fields") as caught:
        prep.predict(trained("regression") / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "x.npz")
    assert "missing inputs; there are input" in str(caught.value.measured)
    assert "inputs (rows, 16)" in str(caught.value.allowed)
    assert not (tmp_path / "x.npz").exists()


def test_a_mapping_says_which_array_is_which_field(inputs: dict[str, np.ndarray], trained: Runs, tmp_path: Path):
    np.savez(tmp_path / "mine.npz", x=inputs["inputs"])
    (tmp_path / "mapping.yaml").write_text("fields: {inputs: x}\n")
    found = prep.predict(
        trained("regression") / "best.ckpt",
        tmp_path / "mine.npz",
        mapping=tmp_path / "mapping.yaml",
        output=tmp_path / "answers.npz",
    )
    assert found.rows == len(inputs["inputs"])


def test_another_shape_is_refused_with_both(trained: Runs, tmp_path: Path):
    np.savez(tmp_path / "mine.npz", inputs=np.zeros((3, 15)))
    with pytest.raises(UsageError, match="another shape") as caught:
        prep.predict(trained("regression") / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "x.npz")
    assert (caught.value.measured, caught.value.allowed) == ("(3, 15)", "(rows, 16)")


def test_complex_values_for_a_real_field_are_refused(trained: Runs, tmp_path: Path):
    np.savez(tmp_path / "mine.npz", inputs=np.zeros((3, 16), np.complex64))
    with pytest.raises(UsageError, match="another kind"):
        prep.predict(trained("regression") / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "x.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named_by_row(
    value: float, inputs: dict[str, np.ndarray], trained: Runs, tmp_path: Path
):
    broken = inputs["inputs"].copy()
    broken[7, 3] = value
    np.savez(tmp_path / "mine.npz", inputs=broken)
    with pytest.raises(DataError, match="inputs is not finite") as caught:
        prep.predict(trained("regression") / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "x.npz")
    assert caught.value.where.samples == (7,)


def test_what_the_mask_leaves_out_may_be_anything(control: dict[str, np.ndarray], trained: Runs, tmp_path: Path):
    dirty = {**control, "states": control["states"].copy()}
    padding = control["state_mask"][:, None, :].repeat(32, 1) == 0
    assert padding.any()
    dirty["states"][padding] = np.nan
    for name, arrays in (("clean", control), ("dirty", dirty)):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        prep.predict(
            trained("control") / "best.ckpt", tmp_path / f"{name}.npz", output=tmp_path / f"{name}-answers.npz"
        )
    clean, found = (arrays_in(tmp_path / f"{name}-answers.npz")["controls"] for name in ("clean", "dirty"))
    np.testing.assert_array_equal(clean, found)


def test_a_group_that_was_not_trained_on_is_refused_by_its_number(
    control: dict[str, np.ndarray], trained: Runs, tmp_path: Path
):
    strange = {**control, "system": control["system"].copy()}
    strange["system"][3] = 77
    np.savez(tmp_path / "mine.npz", **strange)
    with pytest.raises(DataError, match="not trained on this system") as caught:
        prep.predict(trained("control") / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "x.npz")
    assert caught.value.where.samples == (3,)
    assert "77" in str(caught.value.measured)


def test_group_numbers_with_a_fraction_are_refused(control: dict[str, np.ndarray], trained: Runs, tmp_path: Path):
    np.savez(tmp_path / "mine.npz", **{**control, "system": control["system"] + 0.5})
    with pytest.raises(DataError, match="no int32"):
        prep.predict(trained("control") / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "x.npz")


def test_normalised_data_are_not_normalised_twice(certified_project: Path, trained: Runs, tmp_path: Path):
    with pytest.raises(DataError, match="normalised already"):
        prep.predict(
            trained("regression") / "best.ckpt", dataset_of(certified_project, "regression"), output=tmp_path / "x.npz"
        )


def test_an_output_that_is_there_is_replaced_only_with_force(certified_project: Path, trained: Runs, tmp_path: Path):
    checkpoint, raw = trained("regression") / "best.ckpt", raw_of(certified_project, "regression")
    for ending in (".npz", ".h5", ".zarr"):
        output = tmp_path / f"answers{ending}"
        prep.predict(checkpoint, raw, output=output)
        with pytest.raises(UsageError, match="there already"):
            prep.predict(checkpoint, raw, output=output)
        prep.predict(checkpoint, raw, output=output, force=True)
    with pytest.raises(UsageError):
        prep.predict(checkpoint, raw, output=raw, force=True)
    with pytest.raises(UsageError, match="written as"):
        prep.predict(checkpoint, raw, output=tmp_path / "answers.csv")


def test_data_with_other_statistics_are_refused_with_the_difference(
    certified_copy: Path, trained: Runs, tmp_path: Path
):
    raw = prep.generate("regression", seed=5)
    stats = prep.stats(raw, output="data/stats/regression.json")
    prep.certify(prep.normalize(raw, stats=stats, output="data/normalized/regression.h5"))
    checkpoint = trained("regression") / "best.ckpt"

    with pytest.raises(CertificateError, match="other data") as caught:
        prep.predict(checkpoint, raw, data="data/normalized/regression.h5", output=tmp_path / "x.npz")
    kept = Trained(checkpoint).data.transforms["inputs"].params["mean"]
    now = prep.open("data/normalized/regression.h5").transforms["inputs"].params["mean"]
    place = int(str(caught.value.measured).partition("inputs mean[")[2].partition("]")[0])
    assert f"{kept[0][place] if isinstance(kept[0], list) else kept[place]:.6g} in the checkpoint" in str(
        caught.value.measured
    )
    assert f"{now[0][place] if isinstance(now[0], list) else now[place]:.6g} in the data" in str(caught.value.measured)


def test_the_data_that_it_was_trained_on_are_accepted(certified_copy: Path, trained: Runs, tmp_path: Path):
    prep.predict(
        trained("regression") / "best.ckpt",
        "data/raw/regression.h5",
        data="data/normalized/regression.h5",
        output=tmp_path / "x.npz",
    )


def test_a_checkpoint_of_another_model_is_refused(trained: Runs, tmp_path: Path):
    content = torch.load(trained("regression") / "best.ckpt", weights_only=True)
    content["state_dict"].pop(next(iter(content["state_dict"])))
    torch.save(content, tmp_path / "best.ckpt")
    np.savez(tmp_path / "mine.npz", inputs=np.zeros((3, 16)))

    with pytest.raises(IntegrityError, match="does not describe a model"):
        prep.predict(tmp_path / "best.ckpt", tmp_path / "mine.npz", output=tmp_path / "x.npz")

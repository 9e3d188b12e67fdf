"""An exported program gives what the Python path gives, in a process that has no prep."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import prep
from prep.errors import UsageError
from tests.conftest import FORMATS, arrays_in

Runs = Callable[[str], Path]
# What a user without prep runs: inputs from a file, outputs to another, metadata to stdout.
ALONE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "prep":
            raise ImportError("there is no prep here")
sys.meta_path.insert(0, Nothing())
import numpy as np, torch
extra = {"prep.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
given = {name: torch.from_numpy(value) for name, value in np.load(sys.argv[2]).items()}
found = program(given)
assert all(len(value) == 0 for value in program({name: value[:0] for name, value in given.items()}).values())
np.savez(sys.argv[3], **{name: value.numpy() for name, value in found.items()})
assert not any(name.split(".")[0] == "prep" for name in sys.modules)
text = extra["prep.json"]
print(text.decode() if isinstance(text, bytes) else text)
"""


def raw_inputs(project: Path, name: str, wanted: list[dict], rows: int) -> dict[str, np.ndarray]:
    """Rows of the raw dataset, from all over it."""
    from prep.engine import DatasetSource
    from prep.verbs.rawdata import read_manifest

    path = project / f"data/raw/{name}{FORMATS[name]}"
    with DatasetSource.open(path, read_manifest(path).digests) as source:
        names = frozenset(each["name"] for each in wanted)
        blocks = [source.read(start, stop, names, False)[0].arrays for start, stop in source.segments(names)]
        whole = {each: np.concatenate([np.array(block[each]) for block in blocks]) for each in names}
    count = len(next(iter(whole.values())))
    place = np.unique(np.linspace(0, count - 1, rows).astype(int))
    return {each: np.ascontiguousarray(values[place]) for each, values in whole.items()}


@pytest.mark.parametrize(
    "name",
    [
        "control",
        "covariance",
        "regression",
        *(pytest.param(each, marks=pytest.mark.long) for each in ("peptide", "tones")),
    ],
)
def test_the_program_alone_gives_what_predict_gives_for_any_number_of_rows(
    name: str, certified_project: Path, trained: Runs, tmp_path: Path
):
    checkpoint = trained(name) / "best.ckpt"
    exported = prep.export(checkpoint, output=tmp_path / "model.pt2")
    rows = 2 if name == "tones" else 17
    given = raw_inputs(certified_project, name, exported.metadata["inputs"], rows)
    np.savez(tmp_path / "given.npz", **given)
    prep.predict(checkpoint, tmp_path / "given.npz", output=tmp_path / "expected.npz")

    done = subprocess.run(
        [sys.executable, "-c", ALONE, "model.pt2", "given.npz", "found.npz"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    expected, found = arrays_in(tmp_path / "expected.npz"), arrays_in(tmp_path / "found.npz")
    assert set(found) == set(expected) == {each["name"] for each in about["outputs"]}
    for field, values in expected.items():
        assert found[field].dtype == values.dtype
        scale = float(np.abs(values).max())
        np.testing.assert_allclose(found[field], values, rtol=1e-4, atol=1e-5 * scale, err_msg=field)
    data = prep.open(
        certified_project / f"data/normalized/{name}{FORMATS[name]}", lock_path=certified_project / "prep.lock"
    )
    assert (about["certificate"], about["root"]) == (data.certificate_digest, data.root)
    assert all(each["units"] for each in about["inputs"])


def test_a_program_says_nothing_about_a_group_that_it_does_not_know(
    certified_project: Path, trained: Runs, tmp_path: Path
):
    import torch

    exported = prep.export(trained("control") / "best.ckpt", output=tmp_path / "model.pt2")
    given = raw_inputs(certified_project, "control", exported.metadata["inputs"], 5)
    given["system"][2] = 77
    program = torch.export.load(tmp_path / "model.pt2").module()
    found = program({name: torch.from_numpy(values) for name, values in given.items()})["controls"].numpy()
    counted = given["control_mask"] > 0

    assert np.isnan(found[2][counted[2]]).all()
    assert np.isfinite(np.delete(found, 2, 0)).all()


def test_a_program_that_is_there_is_replaced_only_with_force(trained: Runs, tmp_path: Path):
    checkpoint = trained("regression") / "best.ckpt"
    prep.export(checkpoint, output=tmp_path / "model.pt2")
    with pytest.raises(UsageError, match="there already"):
        prep.export(checkpoint, output=tmp_path / "model.pt2")
    prep.export(checkpoint, output=tmp_path / "model.pt2", force=True)
    with pytest.raises(UsageError, match="written as"):
        prep.export(checkpoint, output=tmp_path / "model.onnx")

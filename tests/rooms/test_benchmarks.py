"""The correctness half of the benchmarks' table: both sides of every comparison find the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import FEWEST, main
from benchmarks.agreement import Close
from benchmarks.comparisons import COMPARISONS, LARGE, Comparison, Goal
from benchmarks.data import Datasets, Windows
from benchmarks.measure import Job, machine
from benchmarks.picture import draw
from benchmarks.results import Result, measured
from tests.conftest import ROOT

TABLE_BYTES = 8 << 20


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Datasets:
    return Datasets(tmp_path_factory.mktemp("benchmarks"), TABLE_BYTES)


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda each: each.name)
def test_both_sides_of_a_comparison_find_the_same(
    comparison: Comparison, datasets: Datasets, monkeypatch: pytest.MonkeyPatch
):
    # Several segments of a table that is this small, each large enough for the compiled loops.
    monkeypatch.setattr("prep.blocks.SEGMENT_BYTES", TABLE_BYTES // 4)
    made = datasets.get(comparison.small or comparison.data)
    ours = comparison.ours(made).run()

    if comparison.peer and comparison.peer_data is None:
        comparison.agree(ours, comparison.peer(made).run())
    if comparison.reference:
        comparison.right(ours, comparison.reference(made).run())
    if comparison.peer is None and comparison.reference is None:
        comparison.agree(ours, None)


def test_what_both_sides_must_find_is_there_to_be_found(datasets: Datasets):
    planted = {each.name: each for each in COMPARISONS if each.small}
    failed = [
        name
        for name, each in planted.items()
        if each.small == Windows(share=0.125, planted=True)
        for name, passed in each.ours(datasets.get(each.small)).run()["checks"]
        if not passed
    ]
    assert {"unique_rows", "in_bounds"} <= set(failed)
    for each in planted.values():
        if each.unit == "matrices/s" and each.small:
            assert each.ours(datasets.get(each.small)).run()["indefinite"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        ({"mean": np.array([1.0, 2.0])}, {"mean": np.array([1.0, 2.0 + 1e-8])}),
        ({"checks": [("finite", True)]}, {"checks": [("finite", False)]}),
        ({"digests": {"states": (b"1",)}}, {"digests": {"states": (b"2",)}}),
        ({"quantiles": np.array([1.0]), "quantile_error": 0.01}, {"quantiles": np.array([1.1])}),
        ({"mean": np.array([1.0])}, {"std": np.array([1.0])}),
    ],
)
def test_another_result_is_no_agreement(ours: dict[str, object], other: dict[str, object]):
    with pytest.raises(AssertionError):
        Close()(ours, other)


def test_times_of_two_sides_that_disagree_are_not_reported(datasets: Datasets):
    row = Comparison(
        *("wrong", Windows(share=0.125)),
        lambda made: Job(lambda: {"count": 1}),
        lambda made: Job(lambda: {"count": 2}),
        "s",
    )
    with pytest.raises(AssertionError, match="count differs"):
        measured(row, datasets)


def test_every_row_has_a_name_of_its_own():
    names = [each.name for each in (*COMPARISONS, *LARGE)]
    assert len(set(names)) == len(names)


def test_a_run_writes_the_table_as_json_and_one_picture_and_leaves_no_data(tmp_path: Path, capsys):
    folder, output = tmp_path / "data", tmp_path / "results"
    folder.mkdir()

    code = main(["--only", "at random", "--rows", "8192", "--folder", str(folder), "--output", str(output)])

    assert code == 0
    assert list(folder.iterdir()) == []
    (row,) = json.loads((output / "results.json").read_text())
    assert list(row) == ["name", "ours", "peer", "ratio", "goal", "limit", "unit"]
    assert (row["goal"], row["limit"], row["unit"]) == (">= 0.5", 0.5, "GB/s")
    assert row["ratio"] == pytest.approx(row["ours"] / row["peer"], rel=1e-3)
    assert "<svg" in (output / "results.svg").read_text()
    assert "masked at random" in capsys.readouterr().out


def test_a_name_that_is_in_no_row_is_answered_with_the_names_there_are(capsys):
    assert main(["--only", "no such thing"]) == 2
    assert COMPARISONS[0].name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--rows", "0"], "'0' is not 1024 rows or more"),
        (["--rows", "-5"], "'-5' is not 1024 rows or more"),
        (["--rows", "some"], "'some' is not 1024 rows or more"),
        (["--rows", "1", "--only", "admission"], "'1' is not 1024 rows or more"),
        (["--folder", "/nope"], "'/nope' is no folder that can be written to"),
        (["--folder", __file__], "is no folder that can be written to"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(wrong: list[str], said: str, capsys):
    with pytest.raises(SystemExit) as caught:
        main(wrong)

    assert caught.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_the_fewest_rows_that_are_allowed_are_enough_for_the_dataset_with_the_fewest(tmp_path: Path, capsys):
    assert main(["--only", "admission", "--rows", str(FEWEST), "--folder", str(tmp_path)]) == 0


@pytest.mark.parametrize("heavy", ["benchmarks.comparisons", "benchmarks.results"])
def test_ctrl_c_while_the_benchmarks_are_imported_ends_them_with_130_and_no_traceback(heavy: str):
    # The first look for the module is where the signal arrives.
    program = (
        "import os, runpy, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {heavy!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "sys.argv = ['benchmarks', '--rows', '1024']\n"
        "runpy.run_module('benchmarks', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_ctrl_c_while_something_is_measured_leaves_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.results.measured", lambda *given: os.kill(os.getpid(), signal.SIGINT))

    assert main(["--only", "at random", "--rows", "8192", "--folder", str(tmp_path)]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("goal", "ratio", "advantage"), [(Goal(">=", 15), 30, 2), (Goal("<=", 1.5), 3, 0.5), (None, 4, 4)]
)
def test_a_bar_reaches_beyond_the_line_where_the_goal_is_met(
    goal: Goal | None, ratio: float, advantage: float, tmp_path: Path
):
    row = Result("row", ratio, 1.0, ratio, goal, "GB/s")

    assert row.advantage == advantage
    assert row.met == (None if goal is None else advantage >= 1)
    draw([row], machine(), tmp_path / "row.png")
    assert (tmp_path / "row.png").read_bytes().startswith(b"\x89PNG")

"""The pages about the systems say what was measured: each is made again from its numbers and is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prep.errors import UsageError
from prep.verbs.compare import Comparison
from prep.verbs.mutate import failures
from prep.verbs.pages import demand_page, finished_run, page, write_page
from tests.conftest import ROOT, SYSTEMS

PAGES = ROOT / "docs/systems"


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_page_says_what_its_numbers_say(system: str):
    body = json.loads((PAGES / f"{system}.json").read_text(encoding="utf-8"))

    assert (PAGES / f"{system}.md").read_text(encoding="utf-8") == page(body)
    assert (PAGES / f"{system}.png").stat().st_size > 10_000
    assert all(each.name in page(body) for each in failures(system))


def test_a_page_is_written_with_its_numbers_and_its_picture(tmp_path: Path):
    numbers = {"low": -1.0, "high": 1.0, "zero": 1.0, "step0": 2.0, "final": None, "gradient_norm": 3.0}
    trace = {**numbers, "clip_factor": 3.0, "steps": 5, "losses": [2.0], "norms": [3.0], "seconds": 1.0}
    (tmp_path / "compare.png").write_bytes(b"picture")
    found = Comparison("regression", "raw", "It was raw.", "blake3:0", {"steps": 5}, (trace, trace), tmp_path)

    place = write_page(tmp_path / "page.md", found, "About it.", None)

    text = place.read_text()
    assert "| first loss | 2 | 2 |" in text
    assert "not finite" in text
    assert "`prep compare regression --steps 5` makes this table" in text
    assert "What is reached" not in text
    assert (tmp_path / "page.png").read_bytes() == b"picture"


def test_a_page_does_not_join_a_comparison_with_a_run_on_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert finished_run("regression", "blake3:0") is None

    body = json.loads((PAGES / "regression.json").read_text(encoding="utf-8"))
    folder = tmp_path / "runs/regression"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(body["result"]))
    assert finished_run("regression", body["root"]) == body["result"]
    with pytest.raises(UsageError, match="of other data"):
        finished_run("regression", "blake3:0")


def test_a_page_is_a_markdown_file(tmp_path: Path):
    for wrong in (tmp_path, tmp_path / "page.txt"):
        with pytest.raises(UsageError, match="Markdown"):
            demand_page(wrong)

"""The page of a dataset: what it says of good, failed, changed, raw and unreadable data, and how a browser takes it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

import prep
from prep.cli import run
from prep.errors import IntegrityError
from prep.report.html import page
from prep.report.said import apart, number
from prep.report.sheet import Matrices, Sheet
from prep.report.validation import Validation, document
from prep.transforms.original import Originals
from prep.verbs.report import sheets
from prep.verbs.validate import validate
from tests.browser import CHROMIUM, Tab, browse
from tests.conftest import dataset_of, working_in

NASTY = (
    "</title><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & {{7*7}} \u202e\x00 file:///etc/passwd "
    + "long" * 60
    + "W" * 5000
)
AXE = "axe.run(document).then(r => r.violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' ')}`))"
HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4,h5')].map(each => +each.tagName[1])"


@pytest.fixture(scope="module")
def pages(certified_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of certified data, of a failed copy, of one whose bytes changed, of no dataset at all, and one of all."""
    folder = tmp_path_factory.mktemp("pages")
    with working_in(certified_project):
        prep.mutate("control", "global_scale", folder / "failed/control.h5")
        shutil.copytree(dataset_of(certified_project, "regression").parent, folder / "changed")
        changed = folder / "changed/regression.h5"
        spoiled = bytearray(changed.read_bytes())
        spoiled[len(spoiled) // 2] ^= 1
        changed.write_bytes(spoiled)
        (folder / "none.h5").write_bytes(b"no dataset")
        made = {name: dataset_of(certified_project, name) for name in ("control", "covariance", "peptide")}
        made |= {"failed": folder / "failed/control.h5", "changed": changed, "none": folder / "none.h5"}
        for name, path in made.items():
            prep.write_report(path, output=folder / f"{name}.html")
        prep.write_report(made["none"], made["peptide"], made["failed"], output=folder / "all.html")
    return folder


def words(place: Path) -> str:
    """What is to be read on a page, without tags."""
    text = re.sub(r"<(style|title)>.*?</\1>|<wbr>", "", place.read_text(), flags=re.DOTALL)
    return " ".join(unescape(re.sub("<[^>]+>", " ", text)).split())


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed (apt-get install chromium)")
def test_a_browser_opens_it_without_error_or_request_at_any_width_and_theme_and_axe_finds_nothing(
    pages: Path, hostile: list[Path]
):
    browse(lambda tab: look(tab, [pages / "changed.html", hostile[0]]))


@pytest.mark.long
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed (apt-get install chromium)")
def test_a_browser_opens_pages_of_every_kind(pages: Path, hostile: list[Path]):
    browse(lambda tab: look(tab, [*sorted(pages.glob("*.html")), *hostile]))


FOUR = """[...document.querySelectorAll('td.picture + td.number')].filter(first => first.dataset.label === 'mean').map(
first => { let tops = {}, each = first; for (let i = 0; i < 4; i++, each = each.nextElementSibling) {
const top = Math.round(each.getBoundingClientRect().top); tops[top] = (tops[top] || 0) + 1 }
return Object.values(tops).join('+') }).filter((each, i, all) => all.indexOf(each) === i)"""


async def look(tab: Tab, places: list[Path]) -> None:
    """What has to hold of every page in a browser."""
    axe = files("axe_core_python").joinpath("axe.min.js").read_text()
    for place in places:
        for width, dark in ((320, False), (390, True), (600, False), (960, False), (1440, False)):
            await tab.open(place.as_uri(), width=width, dark=dark)
            told = [each for each in tab.events if each["method"].startswith(("Log.", "Runtime.exc", "Runtime.cons"))]
            asked = [each["params"]["request"]["url"] for each in tab.events if "WillBeSent" in each["method"]]
            assert (told, set(asked)) == ([], {place.as_uri()}), place.name
            await tab.run("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), (place.name, width)
            assert set(await tab.run(FOUR)) <= {"4", "2+2"}, (place.name, width)
            if width in (390, 1440):
                await tab.run(f"{axe}; 0")
                assert await tab.run(AXE) == [], (place.name, width, dark)
        found = (await tab.ask("Accessibility.getFullAXTree"))["nodes"]
        roles = {each["role"]["value"] for each in found if "role" in each}
        assert {"banner", "navigation", "main", "contentinfo", "heading"} <= roles
        assert place.stem in ("none", "closed") or {"table", "columnheader", "rowheader", "cell"} <= roles
        headings = await tab.run(HEADINGS)
        assert headings.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(headings)), headings
        pictures = [each for each in found if each.get("role", {}).get("value") in ("image", "img")]
        assert all(each.get("name", {}).get("value") for each in pictures if not each.get("ignored"))


def test_text_has_contrast_on_every_ground_in_both_themes():
    style = files("prep.report").joinpath("templates/style.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in style.split("@media")[:2])
    for theme in (light, dark):
        for ground in ("ground", "raised", "passed-ground", "warning-ground", "failed-ground"):
            for text in ("text", "quiet", "link", "passed", "warning", "failed"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
        assert min(contrast(theme[mark], theme["ground"]) for mark in ("before", "after")) >= 3


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2 between two colours ``#rrggbb``."""
    shares = np.asarray([[int(each[i : i + 2], 16) / 255 for i in (1, 3, 5)] for each in (one, other)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return float((high + 0.05) / (low + 0.05))


def test_the_verdict_comes_first_and_every_part_is_there(pages: Path):
    text = words(pages / "control.html")
    assert text.index("control 1.0.0 Passed 47 of 47 checks passed") < text.index("Windows of closed-loop")
    parts = [
        "Every check of the schema holds",
        "What a mask excludes",
        "states by system",
        "of controls by system",
        "Samples of each",
    ]
    parts += ["predicting zero masked_mse", "generate → raw data", "prep verify ", "pinned in prep.lock yes"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "positive semidefinite" in words(pages / "covariance.html")
    assert "no target was measured" in words(pages / "peptide.html")


def test_what_failed_is_told_with_measure_limit_and_remedy_before_what_holds(pages: Path):
    text = words(pages / "failed.html")
    assert "Failed 40 of 47 checks passed" in text
    place = 0
    for part in (
        "✕ failed standardised on states",
        "allowed |std − 1| < 0.05",
        "remedy run prep stats",
        "40 checks that hold",
    ):
        place = text.index(part, place)
    assert "Not certified here" in text


def test_a_certificate_that_does_not_hold_is_not_called_one_that_does(pages: Path):
    text = words(pages / "changed.html")
    assert "Stored bytes changed" in text
    assert "certified no longer" in text
    assert "do not train on them" in text
    assert "prep verify" not in text


def test_of_what_cannot_be_opened_the_page_says_so(pages: Path):
    text = words(pages / "none.html")
    assert "none.h5 Not examined" in text
    assert "✕ error integrity" in text
    assert "certificate are not known" in text


def test_several_datasets_share_a_page_what_is_to_be_mended_first(pages: Path):
    text = words(pages / "all.html")
    assert (
        text.index("1 of 3 datasets passed") < text.index("none.h5 Not examined") < text.index("control 1.0.0 Failed")
    )
    ids = re.findall(r' id="([^"]+)"', (pages / "all.html").read_text())
    assert len(ids) == len(set(ids))


def test_the_same_data_give_the_same_bytes_whoever_does_the_work(certified_project: Path, tmp_path: Path, capsys):
    with working_in(certified_project):
        path = dataset_of(certified_project, "regression").relative_to(certified_project)
        found = [tmp_path / f"{count}.html" for count in (1, 3)]
        for count, place in zip((1, 3), found, strict=True):
            assert run(["report", str(path), "-o", str(place), "--workers", str(count)]) == 0
        capsys.readouterr()
        assert run(["report", str(path), "-o", "-"]) == 0
    assert found[0].read_text() == found[1].read_text() == capsys.readouterr().out


def test_validate_writes_the_page_where_data_fail_or_are_not_there(
    pages: Path, certified_project: Path, tmp_path: Path
):
    place = tmp_path / "page.html"
    with working_in(certified_project):
        assert run(["validate", str(pages / "none.h5"), "--html", str(place), "--json", str(tmp_path / "a.json")]) == 3
        assert "Not examined" in words(place)
        assert run(["validate", str(tmp_path / "gone.h5"), "--html", str(place)]) == 2
        assert "there is no such file or folder" in words(place)
        place.unlink()
        assert run(["report", str(tmp_path / "gone.h5"), "-o", str(place)]) == 2
        assert "there is no such file or folder" in words(place)
        assert run(["validate", "data", "--html", str(place), "--junit", str(place)]) == 2
        assert run(["report", "data", "-o", str(tmp_path / "page.pdf")]) == 2


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Raw data with hundreds of features, in a folder of their own."""
    with working_in(tmp_path_factory.mktemp("wide")) as folder:
        rng = np.random.default_rng(1)
        np.savez("wide.npz", x=rng.normal(size=(200, 300)).astype("f4"), y=rng.normal(size=(200, 60)).astype("f4"))
        prep.ingest("wide.npz", output="raw.h5", options=None)
        yield folder


def test_hundreds_of_features_keep_the_page_small_and_are_counted(wide: Path):
    prep.write_report("raw.h5", output="raw.html")
    text = words(wide / "raw.html")
    assert "284 more features are measured and not shown" in text
    assert "they are raw" in text
    assert (wide / "raw.html").stat().st_size < 200_000


@pytest.fixture(scope="module")
def hostile(certified_project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pages of what a stranger named as badly as can be: of data that open, and of data that do not."""
    with working_in(certified_project):
        (found,) = validate(dataset_of(certified_project, "regression"), changed_only=True)
        (good,) = sheets((found,))
    assert good.spec is not None
    assert found.report is not None
    renamed = [replace(each, name=NASTY, long_name=NASTY, units=NASTY, mask=NASTY) for each in good.spec.fields]
    spec = replace(good.spec, name=NASTY, version=NASTY, attributes={NASTY: NASTY}, fields=tuple(renamed))
    results = tuple(
        replace(each, check=NASTY, field=NASTY, finding=replace(each.finding, message=NASTY, remedy=NASTY, passed=odd))
        for odd, each in zip((True, False), found.report.results, strict=False)
    )
    told = Validation(Path(NASTY.replace("\x00", "")), replace(found.report, dataset=NASTY, results=results))
    measured = tuple(
        replace(
            each,
            field=replace(each.field, name=NASTY, long_name=NASTY),
            problems=(NASTY,),
            look=each.look and replace(each.look, panels=tuple(replace(p, units=NASTY) for p in each.look.panels)),
        )
        for each in good.measured
    )
    stated = {"provenance": {"recipe": NASTY, "stage": NASTY, "parameters": {NASTY: NASTY}, "seed": [NASTY]}}
    opened = replace(good, found=told, spec=spec, about=NASTY, documents=stated, measured=measured)
    folder, made = tmp_path_factory.mktemp("hostile"), []
    for name, sheet in {"opened": opened, "closed": Sheet(told, closed=NASTY)}.items():
        made.append(folder / f"{name}.html")
        made[-1].write_text(page(document([told], strict=False), [sheet]))
    return made


def test_a_hostile_file_writes_text_and_nothing_else(hostile: list[Path]):
    for place in hostile:
        text = place.read_text()
        assert "<script" not in text
        assert "<img" not in text
        assert "\u202e" not in text
        assert "\x00" not in text
        assert "{{7*7}}" in text
        assert len(text) < 400_000


def test_provenance_of_any_shape_is_told_as_unknown(certified_project: Path):
    with working_in(certified_project):
        found = validate(dataset_of(certified_project, "regression"), changed_only=True)
        (good,) = sheets(found)
    for odd in (None, "text", [1], {}, {"input": {"provenance": [1]}}, {"input": 3, "parameters": [], "versions": 1}):
        text = page(document(found, strict=False), [replace(good, documents={"provenance": odd})])
        assert "Provenance" in text


def test_numbers_of_a_narrow_range_are_told_apart():
    assert apart(-812.913, -812.541) == ("−812.913", "−812.541")
    assert apart(1e9 - 3.3, 1e9 + 1.9) != (number(1e9), number(1e9))
    assert apart(0.5, 12.0) == ("0.5", "12")


def test_a_negative_definite_matrix_has_its_rank_and_condition():
    none = np.zeros(0)
    found = Matrices(np.zeros(1), (), none, np.array([[-1.0, -2.0, -4.0]]), np.array([1e-12]), none, "")
    assert found.rank.tolist() == [3]
    assert found.condition.tolist() == [4.0]


def test_transforms_that_are_damaged_are_an_error_of_ours(certified_project: Path):
    spec = prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock").spec
    document = json.loads(spec.documents["transforms"])
    for entry in document.values():
        entry["params"] = dict.fromkeys(entry["params"])
    damaged = replace(spec, documents={**spec.documents, "transforms": json.dumps(document)})

    with pytest.raises(IntegrityError, match="transform of inputs cannot be undone"):
        Originals.bind(damaged, ["inputs.original"])({"inputs": np.zeros((2, 16), "f4")})


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Pages of the same covariances of rank 2 at scales whose squares float64 does and does not hold; all 64 samples of
    train are shown.
    """
    with working_in(tmp_path_factory.mktemp("scaled")) as folder:
        rng = np.random.default_rng(1)
        factor = rng.normal(size=(80, 6, 2))
        found = factor @ factor.transpose(0, 2, 1) / 40
        for name, scale in {"ordinary": 1.0, "large": 1e200, "small": 1e-310}.items():
            np.savez(f"{name}.npz", x=found * scale, y=found[:, 0, :2] * scale)
            prep.ingest(f"{name}.npz", output=f"{name}.h5", options=None)
            prep.write_report(f"{name}.h5", output=f"{name}.html")
        yield folder


def test_a_spectrum_is_that_of_numpy_and_its_table_and_caption_leave_out_the_same_rounding(scaled: Path):
    with h5py.File(scaled / "ordinary.h5") as file:
        shares = np.linalg.eigvalsh(file["x"][:64])[:, ::-1]
    second = shares[:, 1] / shares[:, 0]
    rounding = "≤ 1.33×10⁻¹⁵"
    told = " ".join(number(each, 3) for each in (second.min(), np.median(second), second.max()))
    for name in ("ordinary", "large"):
        text = words(scaled / f"{name}.html").replace("\xa0", " ")
        assert f"1 1 1 1 2 {told} 3 {rounding} {rounding} {rounding} x, sample by sample" in text
        assert "What is not above 1.33×10⁻¹⁵ is rounding" in text
        assert "positive semidefinite 64 of 64 rank 2" in text


def test_values_whose_squares_overflow_or_vanish_have_no_wrong_spread_and_no_wrong_share(scaled: Path):
    for name in ("large", "small"):
        text = words(scaled / f"{name}.html")
        assert "standard deviations whose squares float64 does not hold" in text
        assert re.search(r"share to scale y_ ?0 0 – .*y_ ?0 1 – ", text)
    assert "not known" not in words(scaled / "ordinary.html")


def test_every_picture_says_what_it_shows_and_of_which_field(pages: Path):
    text = (pages / "control.html").read_text()
    assert all('role="img"' in each or 'aria-hidden="true"' in each for each in re.findall("<svg[^>]*>", text))
    titles = {re.sub("[0-9].*", "", unescape(each)) for each in re.findall("<svg[^>]*><title>([^<]*)", text)}
    assert {
        "histogram of states, state ",
        "histogram of encoding, unchanged by normalisation: ",
        "standard deviations of controls in system ",
        "share of the loss by feature of controls, control ",
        "split train: ",
    } <= titles


def test_the_largest_numbers_are_drafted_drawn_and_reported_without_a_warning(tmp_path: Path):
    pytest.importorskip("matplotlib")
    with working_in(tmp_path):
        values = np.random.default_rng(1).uniform(-1, 1, (80, 4, 4))
        np.savez("most.npz", x=(values + values.transpose(0, 2, 1)) * 0.85e308, y=values[:, 0, :2] * 1.7e308)
        prep.ingest("most.npz", output="most.h5", options=None)
        prep.plot("most.h5", "x", output="most.png")
        prep.write_report("most.h5", output="most.html")
        assert "not known" in words(tmp_path / "most.html")

"""Two at once: builders of the same target, a builder and who certifies, two that pin in one lock."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from random import Random

from tests.torture.campaign import Order, Tally
from tests.torture.cases import ENDINGS, OTHER_CHECK, Names, hidden, make_project, state
from tests.torture.runner import Ended, Runner


def races(order: Order) -> Tally:
    """One wins, none corrupts: data, manifest and certificate belong to one another, and nothing is left behind."""
    tally, random = Tally(), order.random("races")
    kinds = [(kind, ending) for kind in (_same, _builders, _certified, _schemas) for ending in ENDINGS]
    with Runner() as runner:
        projects = {ending: _prepared(order.folder / ending / "project", ending, runner) for ending in ENDINGS}
        pair = _pair(order.folder / "pair" / "project", runner)
        while tally.runs < order.count and order.goes_on(tally):
            if random.random() < 0.2:
                tally.note(_pinned(pair, order.folder / "try", random, runner), refused=False)
                continue
            kind, ending = random.choice(kinds)
            folder = order.folder / "try"
            if folder.exists():
                shutil.rmtree(folder)
            project = Path(shutil.copytree(projects[ending], folder / "project"))
            finding = kind(project, Names(ending), random, runner)
            tally.note(finding and f"{kind.__name__} ({ending}): {finding}", refused=False)
    return tally


def _prepared(project: Path, ending: str, runner: Runner) -> Path:
    """Two raw datasets with their statistics, and what one of them gives, certified."""
    make_project(project)
    names = Names(ending)
    for seed in ("2", "1"):
        runner.good(*names.command("generate"), "--seed", seed, cwd=project)
        runner.good(*names.command("stats"), cwd=project)
        if seed == "2":
            for path in (*(project / "data/raw").iterdir(), project / names.stats):
                path.rename(path.with_name(path.name.replace("rows", "other")))
    runner.good(*names.command("normalize"), cwd=project)
    runner.good(*names.command("certify"), cwd=project)
    return project


def _pair(project: Path, runner: Runner) -> Path:
    """Two datasets of different names that share a lock, normalised."""
    make_project(project)
    config, schema = project / "config/config.yaml", project / "schemas/rows.yaml"
    text = config.read_text()
    config.write_text(text + text[text.index("  rows:") :].replace("  rows:", "  more:"))
    (project / "schemas/more.yaml").write_text(schema.read_text().replace("rows", "more"))
    for name in ("rows", "more"):
        for stage in ("generate", "stats", "normalize"):
            arguments = [each.replace("rows", name) for each in Names("h5").command(stage)]
            runner.good(*arguments, cwd=project)
    return project


def _together(
    first: tuple[str, ...], second: tuple[str, ...], project: Path, random: Random, runner: Runner
) -> list[Ended]:
    """Both, one a little later."""
    one = runner.start(*first, cwd=project, brief=True)
    time.sleep(random.choice((0.0, random.uniform(0.0, 0.1))))
    other = runner.start(*second, cwd=project, brief=True)
    return [one.wait(), other.wait()]


def _other(names: Names) -> tuple[str, ...]:
    """`normalize` of the other raw dataset to the same target."""
    *begin, output = names.command("normalize")
    return (*(each.replace("rows", "other") for each in begin), output)


def _same(project: Path, names: Names, random: Random, runner: Runner) -> str:
    command = names.command("normalize")
    ended = _together((*command, "--force"), (*command, "--force"), project, random, runner)
    return _bad_end(ended) or _inconsistent(project, names, runner)


def _builders(project: Path, names: Names, random: Random, runner: Runner) -> str:
    ended = _together((*names.command("normalize"), "--force"), _other(names), project, random, runner)
    return _bad_end(ended) or _inconsistent(project, names, runner)


def _certified(project: Path, names: Names, random: Random, runner: Runner) -> str:
    commands = [names.command("certify"), _other(names)]
    random.shuffle(commands)
    ended = _together(commands[0], commands[1], project, random, runner)
    # Whoever certifies may find that the dataset has changed under it: an integrity failure, or a part that is gone.
    return _bad_end(ended, 3, 4) or _inconsistent(project, names, runner)


def _schemas(project: Path, names: Names, random: Random, runner: Runner) -> str:
    other = project / "other.yaml"
    other.write_text((project / "schemas/rows.yaml").read_text().replace("prep:", OTHER_CHECK))
    certify = names.command("certify")
    ended = _together(certify, (*certify, "--schema", "other.yaml"), project, random, runner)
    if finding := _bad_end(ended) or _inconsistent(project, names, runner):
        other.replace(project / "schemas/rows.yaml")  # the one that was certified last, if all is well
        return _inconsistent(project, names, runner) and finding
    return ""


def _pinned(pair: Path, folder: Path, random: Random, runner: Runner) -> str:
    if folder.exists():
        shutil.rmtree(folder)
    project = Path(shutil.copytree(pair, folder / "project"))
    names = Names("h5")
    commands = [tuple(each.replace("rows", name) for each in names.command("certify")) for name in ("rows", "more")]
    if finding := _bad_end(_together(commands[0], commands[1], project, random, runner)):
        return finding
    return "".join(_verified(project, names.data.replace("rows", name), runner) for name in ("rows", "more"))


def _bad_end(ended: list[Ended], *allowed: int) -> str:
    return "; ".join(filter(None, (each.complaint(0, *allowed) for each in ended)))


def _inconsistent(project: Path, names: Names, runner: Runner) -> str:
    """What is wrong with the target: data beside another's manifest, a certificate that does not hold, leftovers."""
    if left := hidden(state(project)):
        return f"left behind: {left}"
    if (project / f"{names.data}.cert.json").exists():
        return _verified(project, names.data, runner)
    ended = runner.start("validate", names.data, cwd=project, brief=True).wait()
    return ended.complaint(0) and f"data and manifest do not belong together: {ended.out[-600:]}"


def _verified(project: Path, dataset: str, runner: Runner) -> str:
    return runner.start("verify", dataset, "--deep", cwd=project, brief=True).wait().complaint(0)

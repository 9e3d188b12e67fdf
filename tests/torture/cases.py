"""What is tried on every stage: the folder before, the command, the folder after it, and what must hold in between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.torture.runner import Runner

CONFIG = """
scale: smoke
seed: 1
data: data
datasets:
  rows:
    recipe: regression
    version: 1.0.0
    format: hdf5
    parameters:
      {samples: 120, features: 3, target_scales: [1.0e+3, 1.0e+5], target_offsets: [1.0e+4, -1.0e+5], task_rows: 32}
"""
SCHEMA = """
schema_type: dataset
version: 0.35.0
title: rows
description: rows
strict: true
sizes: {feature: 3, target: 2}
data_vars:
  inputs: {dtype: float32, dims: [sample, feature]}
  targets: {dtype: float32, dims: [sample, target]}
  split: {dtype: uint8, dims: [sample]}
checks:
- {var: inputs, options: {check_name: finite}}
- {var: targets, options: {check_name: finite}}
- {var: split, options: {check_name: split_flags}}
prep:
  dataset: rows
  fields:
    inputs: {role: input, units: "1", features: [feature], transform: {name: standardize, constant: error}}
    targets: {role: aux, units: "1", features: [target], transform: {name: standardize, constant: error}}
    split: {role: split}
"""
OTHER_CHECK = "- {var: inputs, low: -50.0, high: 50.0, options: {check_name: in_bounds}}\nprep:"
ENDINGS = ("h5", "zarr")
STAGES = ("generate", "stats", "normalize", "validate", "certify")

State = Mapping[str, str]


def state(project: Path) -> State:
    """Digest of every file of a project by its relative path."""
    found = {}
    for path in sorted(project.rglob("*")):
        if path.is_symlink() or path.is_file():
            found[str(path.relative_to(project))] = sha256(path.read_bytes()).hexdigest()
    return found


def hidden(found: State) -> list[str]:
    """Temporaries, locks and ledgers."""
    return [name for name in found if any(part.startswith(".") for part in Path(name).parts)]


def visible(found: State) -> State:
    """What a user sees."""
    return {name: digest for name, digest in found.items() if name not in hidden(found)}


@dataclass(frozen=True, slots=True)
class Case:
    """One stage on one format, with something there already or nothing.

    ``before`` is a folder to copy, ``after`` the state that one good run leads to; ``dataset`` what it writes or
    certifies, relative, or empty; ``calls`` how many calls change files in one good run, ``seconds`` what it takes.
    """

    name: str
    arguments: tuple[str, ...]
    before: Path
    after: State
    dataset: str
    calls: int
    seconds: float

    def fresh(self, folder: Path) -> Path:
        """A project to run it in, below ``folder``, with a cache beside it that is empty."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return Path(shutil.copytree(self.before, folder / "project"))

    def wrong(self, project: Path, runner: Runner) -> str:
        """What is wrong in a project after a run that did not end well; empty where nothing is."""
        found, before = visible(state(project)), visible(state(self.before))
        if found in (before, self.after):
            return ""
        own = [name for name in {*found, *before, *self.after} if before.get(name) != self.after.get(name)]
        others = [name for name in {*found, *before} if name not in own and found.get(name) != before.get(name)]
        if others and not all(_belongs(name, self.dataset) for name in others):
            return f"{self.name}: changed what is not its own: {others[:5]}"
        if not self.dataset:
            return f"{self.name}: a third state of {[name for name in own if found.get(name) != before.get(name)][:5]}"
        if f"{self.dataset}.cert.json" in found:
            ended = runner.start("verify", self.dataset, "--deep", cwd=project, brief=True).wait()
            if ended.code:
                return f"{self.name}: there is a certificate that does not verify: {ended.err}"
        if f"{self.dataset}.manifest" in found:
            pairs = [{name: at[name] for name in at if _described(name, self.dataset)} for at in (before, self.after)]
            if {name: found[name] for name in found if _described(name, self.dataset)} not in pairs:
                return f"{self.name}: a manifest lies beside data that it does not describe"
        return ""

    def settled(self, project: Path, runner: Runner) -> str:
        """What is `wrong` now, or after the same command has run again; empty where nothing is."""
        if state(project) == state(self.before) and not (project.parent / "cache").exists():
            return ""  # the next run is the good one that ``after`` is of
        return self.wrong(project, runner) or self.resumed(project, runner)

    def resumed(self, project: Path, runner: Runner) -> str:
        """What is wrong after the same command has run again, to a good end; empty where nothing is."""
        ended = runner.start(*self.arguments, cwd=project, brief=True).wait()
        if ended.code:
            return f"{self.name}: run again, {ended.command} ended with {ended.code}: {ended.err[-600:]}"
        found = state(project)
        if left := hidden(found):
            return f"{self.name}: left behind after a good run: {left[:5]}"
        if found != self.after:
            names = [name for name in {*found, *self.after} if found.get(name) != self.after.get(name)]
            return f"{self.name}: another result: {names[:5]}"
        return ""


def _belongs(name: str, dataset: str) -> bool:
    return bool(dataset) and (name.startswith((f"{dataset}.", f"{dataset}/")) or name == dataset)


def _described(name: str, dataset: str) -> bool:
    return name in (dataset, f"{dataset}.manifest") or name.startswith(f"{dataset}/")


def cases(
    folder: Path,
    runner: Runner,
    *,
    fresh: bool = True,
    endings: Sequence[str] = ENDINGS,
    stages: Sequence[str] = STAGES,
) -> list[Case]:
    """The stages on the formats, on top of an older state and, with ``fresh``, on nothing."""
    return [each for ending in endings for each in _cases_of(folder / ending, ending, runner, stages, fresh=fresh)]


def _cases_of(folder: Path, ending: str, runner: Runner, stages: Sequence[str], *, fresh: bool) -> Iterator[Case]:
    project = make_project(folder / "build" / "project")
    names = Names(ending)
    snapshots = {}

    def snap(name: str) -> None:
        snapshots[name] = Path(shutil.copytree(project, folder / "before" / name))

    def run(stage: str, *more: str) -> None:
        runner.good(*names.command(stage), *more, cwd=project)

    snap("generate on nothing")
    run("generate", "--seed", "1")
    snap("generate")
    run("stats")
    run("normalize")
    run("certify")
    run("validate")
    run("generate", "--seed", "2")
    snap("stats")
    run("stats")
    snap("normalize")
    run("normalize")
    snap("validate")
    run("certify")
    schema = project / "schemas/rows.yaml"
    schema.write_text(schema.read_text().replace("prep:", OTHER_CHECK))
    snap("certify")
    for stage, gone in (("stats", names.stats), ("normalize", names.data), ("validate", names.report)):
        place = Path(shutil.copytree(snapshots[stage], folder / "before" / f"{stage} on nothing"))
        snapshots[f"{stage} on nothing"] = place
        for each in place.glob(f"{gone}*"):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    snapshots["certify on nothing"] = snapshots["validate"]
    for name, before in snapshots.items():
        stage = name.split()[0]
        if (not fresh and "nothing" in name) or stage not in stages:
            continue
        arguments = (*names.command(stage), *(("--seed", "2") if stage == "generate" else ()))
        place = Path(shutil.copytree(before, folder / f"{name}, good" / "project"))
        ended = runner.good(*arguments, cwd=place)
        dataset = {"generate": names.raw, "normalize": names.data, "certify": names.data}.get(stage, "")
        yield Case(f"{name} ({ending})", arguments, before, state(place), dataset, ended.counted.calls, ended.seconds)


@dataclass(frozen=True, slots=True)
class Names:
    """Where things lie in a project, and the command of each stage."""

    ending: str

    @property
    def raw(self) -> str:
        return f"data/raw/rows.{self.ending}"

    @property
    def data(self) -> str:
        return f"data/normalized/rows.{self.ending}"

    @property
    def stats(self) -> str:
        return "data/stats/rows.json"

    @property
    def report(self) -> str:
        return "data/reports/rows.json"

    def command(self, stage: str) -> tuple[str, ...]:
        """The command line of a stage."""
        return {
            "generate": ("generate", "rows", "-o", self.raw),
            "stats": ("stats", self.raw, "-o", self.stats),
            "normalize": ("normalize", self.raw, "--stats", self.stats, "-o", self.data),
            "validate": ("validate", self.data, "--json", self.report),
            "certify": ("certify", self.data),
        }[stage]


def make_project(project: Path) -> Path:
    """A project with one small dataset, nothing built."""
    for name, text in (("config/config.yaml", CONFIG), ("schemas/rows.yaml", SCHEMA)):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text(text)
    return project

"""`prep compare`: the same model on the data as a project had them and on the certified data, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.engine import Progress, silent
from prep.errors import UsageError, Where
from prep.formats.commit import write_atomically
from prep.gate import admit
from prep.mutations import MUTATIONS, story
from prep.transforms.pipeline import bound_transforms
from prep.verbs.mutate import good_path, specimen_of

# The data as each project had them.
HISTORIC = {
    "control": "unapplied_statistics",
    "covariance": "raw_target",
    "peptide": "angstrom",
    "regression": "raw",
    "tones": "random_phase",
}
STEPS = 300
LABELS = ("as the project had it", "certified")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two traces of one model, as `prep.training.compare.Trace.to_dict` gives them, and where they were written.

    ``root`` is that of the certified dataset, ``options`` what was asked for beyond the system's name.
    """

    system: str
    failure: str
    story: str
    root: str
    options: Mapping[str, Any]
    traces: tuple[Mapping[str, Any], ...]
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "system": self.system,
            "failure": self.failure,
            "story": self.story,
            "root": self.root,
            "options": dict(self.options),
            "traces": [dict(each) for each in self.traces],
        }

    def rows(self) -> list[list[str]]:
        """The table: a measure, what it was, what it is."""
        first, second = self.traces
        return [
            ["range of the target", *(f"{each['low']:.4g} … {each['high']:.4g}" for each in (first, second))],
            ["loss of predicting zero", *(_shown(each["zero"], "-") for each in (first, second))],
            ["first loss", *(_shown(each["step0"]) for each in (first, second))],
            [f"training loss after {second['steps']} steps", *(_shown(each["final"]) for each in (first, second))],
            ["gradient norm (median)", *(_shown(each["gradient_norm"]) for each in (first, second))],
            ["clip factor", *(_shown(each["clip_factor"]) for each in (first, second))],
        ]


def compare(
    system: str,
    *,
    failure: str | None = None,
    steps: int = STEPS,
    seed: int = 0,
    output: str | Path | None = None,
    data: str | Path | None = None,
    config: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Train ``system`` for ``steps`` steps from the same weights on a mutated and on the certified dataset.

    ``failure`` is by default what the system's project had; ``data`` the configuration's dataset of that name. Writes
    ``compare.json`` and ``compare.png`` to ``output`` (default ``runs/compare/<system>``). Nothing that was trained is
    kept. Raises what `prep.mutate` raises.
    """
    _demand_folder(Path(output) if output else None)
    if failure is None and system not in HISTORIC:
        raise UsageError(
            "nobody knows what this system's data were like",
            where=Where(key=system),
            measured=system,
            allowed=", ".join(HISTORIC),
            remedy="name a failure of `prep mutate --list`, or one of the systems",
        )
    try:
        from prep.training.compare import AsPlanted, draw, trace
    except ImportError as error:
        raise UsageError(
            "comparing needs libraries that are not installed",
            measured=f"no {error.name}",
            allowed="the extra `train`: torch, Lightning, matplotlib",
            remedy="pip install 'prep-certified[train]'",
        ) from error
    chosen = failure or HISTORIC[system]
    mutation = MUTATIONS.load(f"{system}/{chosen}")
    good = admit(good_path(system, data, config), lock_path=lock_path, trust_path=trust_path)
    if good.id != system:
        raise UsageError(
            "this is not the dataset of that system",
            where=Where(path=str(good.path), dataset=good.id),
            measured=good.id,
            allowed=system,
            remedy=f"leave out --data, or name a certified dataset of {system}",
        )
    specimen = specimen_of(good)
    certified = dict(specimen.arrays)
    specimen.arrays = {name: array.copy() for name, array in certified.items()}
    mutation(specimen)

    def shown(place: int) -> Progress:
        return lambda done, total, text="": progress(place * total + done, 2 * total, text)

    planted = AsPlanted(good, specimen.arrays, bound_transforms(json.loads(specimen.spec.documents["transforms"])))
    sides = (planted, AsPlanted(good, certified, good.transforms))
    traces = tuple(
        trace(data, system, label=label, steps=steps, seed=seed, progress=shown(place))
        for place, (label, data) in enumerate(zip(LABELS, sides, strict=True))
    )
    folder = Path(output) if output else Path("runs/compare") / system
    options = {"failure": failure, "steps": steps if steps != STEPS else None, "seed": seed or None}
    asked = {name: value for name, value in options.items() if value is not None}
    dicts = tuple(each.to_dict() for each in traces)
    result = Comparison(system, chosen, story(mutation), good.root, asked, dicts, folder)
    write_atomically(folder / "compare.json", (json.dumps(result.to_dict(), indent=1) + "\n").encode())
    write_atomically(folder / "compare.png", draw(traces, f"{system}: {chosen}"))
    return result


def _demand_folder(folder: Path | None) -> None:
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(
            "a comparison is written to a folder",
            where=Where(path=str(folder)),
            measured="a file",
            allowed="a folder, or a name that is free",
            remedy="name another with -o",
        )


def _shown(value: float | None, missing: str = "not finite") -> str:
    return missing if value is None else f"{value:.4g}"

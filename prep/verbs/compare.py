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
from prep.verbs.mutate import good_path, specimen_of

# The data as each project had them.
HISTORIC = {
    "control": "unapplied_statistics",
    "covariance": "raw_target",
    "peptide": "unaligned",
    "regression": "raw",
    "tones": "random_phase",
}
LABELS = ("as the project had it", "certified")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two traces of one model, as `prep.training.compare.Trace.to_dict` gives them, and where they were written."""

    system: str
    failure: str
    story: str
    traces: tuple[Mapping[str, Any], ...]
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "system": self.system,
            "failure": self.failure,
            "story": self.story,
            "traces": [dict(each) for each in self.traces],
        }

    def rows(self) -> list[list[str]]:
        """The table: a measure, what it was, what it is."""
        first, second = self.traces
        return [
            ["range of the target", *(f"{each['low']:.4g} … {each['high']:.4g}" for each in (first, second))],
            ["loss of predicting zero", *(_shown(each["zero"], "-") for each in (first, second))],
            ["first loss", *(_shown(each["step0"]) for each in (first, second))],
            [f"loss after {second['steps']} steps", *(_shown(each["final"]) for each in (first, second))],
            ["gradient norm (median)", *(_shown(each["gradient_norm"]) for each in (first, second))],
            ["clip factor", *(_shown(each["clip_factor"]) for each in (first, second))],
        ]


def compare(
    system: str,
    *,
    failure: str | None = None,
    steps: int = 300,
    seed: int = 0,
    output: str | Path | None = None,
    data: str | Path | None = None,
    config: str | Path | None = None,
    lock_path: str | Path | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Train ``system`` for ``steps`` steps from the same weights on a mutated and on the certified dataset.

    ``failure`` is by default what the system's project had; ``data`` the configuration's dataset of that name. Writes
    ``compare.json`` and ``compare.png`` to ``output`` (default ``runs/compare/<system>``). Nothing that was trained is
    kept. Raises what `prep.mutate` raises.
    """
    if failure is None and system not in HISTORIC:
        raise UsageError(
            "nobody knows what this system's data were like",
            where=Where(key=system),
            measured=system,
            allowed=", ".join(HISTORIC),
            remedy="name a failure of `prep mutate --list`, or one of the systems",
        )
    try:
        from prep.training.compare import draw, trace
    except ImportError as error:
        raise UsageError(
            "comparing needs libraries that are not installed",
            measured=f"no {error.name}",
            allowed="the extra `train`: torch, Lightning, matplotlib",
            remedy="pip install 'prep-certified[train]'",
        ) from error
    chosen = failure or HISTORIC[system]
    mutation = MUTATIONS.load(f"{system}/{chosen}")
    good = admit(good_path(system, data, config), lock_path=Path(lock_path) if lock_path else None)
    specimen = specimen_of(good)
    certified = dict(specimen.arrays)
    specimen.arrays = {name: array.copy() for name, array in certified.items()}
    mutation(specimen)

    def shown(place: int) -> Progress:
        return lambda done, total: progress(place * total + done, 2 * total)

    traces = tuple(
        trace(good, system, arrays, label=label, steps=steps, seed=seed, progress=shown(place))
        for place, (label, arrays) in enumerate(zip(LABELS, (specimen.arrays, certified), strict=True))
    )
    folder = Path(output) if output else Path("runs/compare") / system
    result = Comparison(system, chosen, story(mutation), tuple(each.to_dict() for each in traces), folder)
    write_atomically(folder / "compare.json", (json.dumps(result.to_dict(), indent=1) + "\n").encode())
    write_atomically(folder / "compare.png", draw(traces, f"{system}: {chosen}"))
    return result


def _shown(value: float | None, missing: str = "not finite") -> str:
    return missing if value is None else f"{value:.4g}"

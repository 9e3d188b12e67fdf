"""A page about one system: what went wrong, what refuses it now, both trainings side by side, what is reached.

A page is made of its ``<system>.json`` alone, so that a test can make it again and compare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prep.errors import UsageError, Where
from prep.formats.commit import write_atomically
from prep.schema import load_schema
from prep.verbs.compare import LABELS, Comparison
from prep.verbs.config import load_config
from prep.verbs.mutate import failures
from prep.verbs.runs import RESULT, runs


def demand_page(place: Path) -> None:
    """`UsageError` unless a page can be written there."""
    if place.suffix != ".md" or place.is_dir():
        raise UsageError(
            "a page is a Markdown file",
            where=Where(path=str(place)),
            measured="a folder" if place.is_dir() else place.suffix or "no ending",
            allowed="a file that ends in .md",
            remedy="name it --page docs/systems/SYSTEM.md",
        )


def write_page(place: Path, found: Comparison, about: str, result: Mapping[str, Any] | None) -> Path:
    """Write ``place`` (``….md``) with its numbers (``.json``) and picture (``.png``) beside it; the page's path.

    ``about`` says what the data are, ``result`` is what `prep.train` returned for the system, if it was trained.
    """
    body = found.to_dict()
    for each in body["traces"]:
        del each["losses"], each["norms"], each["seconds"]
    body |= {"about": about, "rows": found.rows(), "result": None if result is None else dict(result)}
    write_atomically(place.with_suffix(".json"), (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(place.with_suffix(".png"), (found.folder / "compare.png").read_bytes())
    write_atomically(place, page(body).encode())
    return place


def about(system: str, config: str | Path | None = None) -> str:
    """What the schema of the system's dataset says of it, in one paragraph."""
    entry = load_config(config).dataset(system)
    body = load_schema(entry.schema, verify=False).body
    return " ".join(str(body.get("description", body["title"])).split())


def finished_run(system: str, root: str) -> Mapping[str, Any] | None:
    """The result in ``runs/<system>``, if a run of that system ended there; `UsageError` if on other data."""
    folder = Path("runs") / system
    if not (folder / RESULT).is_file():
        return None
    (result,) = runs(folder)
    if (result["system"], result["root"]) != (system, root):
        raise UsageError(
            "the run beside the comparison is of other data",
            where=Where(path=str(folder)),
            measured=f"{result['system']} on {result['root']}",
            allowed=f"{system} on {root}",
            remedy=f"train it again (`prep train {system}`), or move {folder} away for a page without it",
        )
    return result


def page(body: Mapping[str, Any]) -> str:
    """The Markdown text of a page from its numbers."""
    system = body["system"]
    lines = [
        f"# `{system}`",
        "",
        body["about"],
        "",
        "## What went wrong",
        "",
        f"{body['story']} The same network from the same weights, on those data and on the certified ones:",
        "",
        *_table(["", *LABELS], body["rows"]),
        "",
        f"![loss and gradient norm of each step]({system}.png)",
        "",
        f"`prep compare {system}{_options(body['options'])}` makes this table and the picture again, from data of root "
        f"`{body['root']}`.",
        "",
        "## What is refused",
        "",
        f"`prep mutate {system} FAILURE OUT` plants each of these on a good dataset; `prep validate OUT`, or the "
        "training, names it.",
        "",
        *_table(["failure", "what happened"], [[f"`{each.name}`", each.story] for each in failures(system)]),
    ]
    if body["result"] is not None:
        lines += ["", "## What is reached", "", *_result(body["result"])]
    return "\n".join(lines) + "\n"


def _options(options: Mapping[str, Any]) -> str:
    return "".join(f" --{name} {value}" for name, value in options.items())


def _result(result: Mapping[str, Any]) -> list[str]:
    metric = result["metric"]
    beside = ", ".join(f"{name} {value:.4g}" for name, value in result["references"].items())
    target = "no target" if result["target"] is None else f"target < {result['target']:g}"
    verdict = {True: "reached", False: "missed", None: ""}[result["reached"]]
    rows = [
        ["first loss", f"{result['step0']:.4g} (baseline {result['baseline']:.4g})"],
        [f"test {metric}, frozen weights", f"{result['test'][metric]:.4g} ({target}: {verdict})"],
        [f"train {metric}, frozen weights", f"{result['train'][metric]:.4g}{_ratio(result, metric)}"],
        ["beside it", beside],
        *([["better than the model", ", ".join(result["better"])]] if result["better"] else []),
        *([name, f"{value:.4g}"] for name, value in result["test"].items() if name != metric),
        ["time", f"{result['seconds']:.0f} s of {result['epochs']} epochs on {result['device']}"],
        ["data", f"`{result['root']}`"],
    ]
    return _table(["", f"`prep train {result['dataset']}`"], rows)


def _ratio(result: Mapping[str, Any], metric: str) -> str:
    test, train = result["test"][metric], result["train"][metric]
    return f" (test/train {test / train:.3g})" if test > 0 and train > 0 else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]

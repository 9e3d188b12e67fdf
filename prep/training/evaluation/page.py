"""An evaluation on paper: the verdict first, figures beside baselines and references, groups, pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prep.formats.commit import write_atomically
from prep.training.evaluation.measure import Measured
from prep.training.evaluation.pictures import pictures

_WORST = 40  # groups that are listed
_FEATURES = 32


def written(folder: Path, body: Mapping[str, Any], found: Measured) -> dict[str, str]:
    """Write ``evaluation.json``, ``evaluation.md`` and the pictures into ``folder``; returns what each shows."""
    shown = {}
    for name, what, picture in pictures(found):
        write_atomically(folder / name, picture)
        shown[name] = what
    full = {**body, "pictures": shown}
    text = json.dumps(_json(full), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(folder / "evaluation.json", text.encode())
    write_atomically(folder / "evaluation.md", page(full).encode())
    return shown


def page(body: Mapping[str, Any]) -> str:
    """The Markdown page of an evaluation."""
    verdict = body["verdict"]
    lines = [
        f"# {body['system']} on {body['dataset']} {body['version']}, {body['split']} split: {verdict['verdict']}",
        "",
        f"{verdict['reason'][0].upper()}{verdict['reason'][1:]}. {body['rows']} samples, weights frozen "
        f"(`{body['checkpoint']}`, epoch {body['epoch']}).",
        "",
        f"Data `{body['root']}`, certificate `{body['certificate']}`.",
        "",
        *_table(
            ("criterion", "value", "below", ""),
            [
                (f"{each['kind']} {each['metric']}", _shown(each["value"]), _shown(each["below"]), _met(each["met"]))
                for each in verdict["criteria"]
            ],
        ),
        "## Metrics",
        "",
        *_table(
            ("metric", body["split"], "train"),
            [
                (f"`{name}`", _shown(value), _shown(body["train"].get(name, math.nan)))
                for name, value in body["metrics"].items()
            ],
        ),
        "Beside it, in "
        + f"`{body['metric']}`: certified baseline {_shown(body['baseline'])}; "
        + ", ".join(f"{name} {_shown(value)}" for name, value in body["references"].items())
        + ".",
        "",
    ]
    for name, field in body["fields"].items():
        lines += [f"## {name}", "", *_field(field)]
    if body["groups"]:
        lines += [f"## By {body['grouped_by']}", "", *_groups(body)]
    if body["pictures"]:
        lines += ["## Pictures", ""]
        for file, what in body["pictures"].items():
            lines += [f"{what[0].upper()}{what[1:]}:", "", f"![{what}]({file})", ""]
    return "\n".join(lines)


def _field(field: Mapping[str, Any]) -> list[str]:
    sides = field["normalised"], field["original"]
    units = "" if field["units"] == "1" else f" [{field['units']}]"
    labels = {
        "mse": "mean squared error",
        "rmse": "root mean squared error",
        "r2": "R², mean of the features",
        "nmse": "NMSE, mean of the samples",
        "nmse_of_sums": "NMSE, of the sums",
        "zero_mse": "mean squared error of predicting zero",
        "zero_rmse": "root mean squared error of predicting zero",
    }
    rows = [(label, *(_shown(side[key]) for side in sides)) for key, label in labels.items() if key in sides[0]]
    lines = _table(("", "normalised", f"original units{units}"), rows)
    if 1 < len(field["features"]) <= _FEATURES:
        names = ("rmse_normalised", "rmse_original", "zero_rmse_original", "r2_original")
        rows = [(str(each["feature"]), *(_shown(each[name]) for name in names)) for each in field["features"]]
        heads = ("feature", "RMSE, normalised", f"RMSE{units}", f"RMSE of zero{units}", "R², original units")
        lines += _table(heads, rows)
    return lines


def _groups(body: Mapping[str, Any]) -> list[str]:
    metric = body["metric"]
    ordered = sorted(body["groups"].items(), key=lambda each: -_number(each[1]["metrics"].get(metric)))
    names = [metric, *(name for name in ordered[0][1]["metrics"] if name != metric and "/" not in name)][:5]
    rows = [
        (str(group), str(each["rows"]), *(_shown(each["metrics"].get(name, math.nan)) for name in names))
        for group, each in ordered[:_WORST]
    ]
    more = [f"The worst {_WORST} of {len(ordered)}.", ""] if len(ordered) > _WORST else []
    return [*more, *_table((str(body["grouped_by"]), "samples", *(f"`{name}`" for name in names)), rows)]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [*(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)), ""]


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, float) and math.isfinite(value) else -math.inf


def _shown(value: Any) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

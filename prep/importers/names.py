"""What the name of an array says: its words, and the role, split or statistic that people mean by them.

The words are those of the layouts in use (Gymnasium, D4RL, robomimic, ManiSkill, LeRobot, Keras, scikit-learn, H5MD).
A name is taken apart at ``/``, ``_``, ``.``, ``-``, before capitals and at digits: ``obs/robot0_eefPos`` has the words
obs, robot, eef, pos.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


INPUTS = _set(
    "x input inputs feature features observation observations obs state states image images img pixels signal signals "
    "covariate covariates predictor predictors qpos qvel context condition"
)
TARGETS = _set(
    "y target targets label labels action actions control controls output outputs response responses class classes "
    "energy energies force forces"
)
MASKS = _set("mask masks padding pad valid")
GROUPS = _set("episode episodes trajectory traj session subject group run demo sequence system patient recording fold")
IDS = frozenset(GROUPS | _set("id ids index idx uid seed row sample"))
TIMES = _set("t time times timestamp timestamps step steps timestep timesteps frame frames tick ticks date datetime")
OUTCOMES = _set(
    "reward rewards return returns reset resets done dones terminal terminals termination terminations terminated "
    "truncation truncations truncated timeout timeouts discount success info infos cost costs weight weights"
)
CODES = _set(
    "id ids uid token tokens code codes index indices idx zip zipcode postcode label labels class classes category "
    "categories"
)
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
STATISTIC_WORDS = {
    **dict.fromkeys(("mean", "means", "mu", "avg", "average"), "mean"),
    **dict.fromkeys(("std", "stds", "stdev", "stddev", "sigma"), "std"),
    **dict.fromkeys(("min", "minimum"), "min"),
    **dict.fromkeys(("max", "maximum"), "max"),
}
# Folders of statistics; a word of the field may follow or come before.
STATISTIC_FOLDERS = _set("stats statistics stat normalizer normaliser normalization normalisation scaler")
_UNITS = _set("s ms us ns ps fs sec seconds min minutes h hours d days index idx stamp")
_PLAIN = _set("value values data array particles observables all")


def words(path: str) -> list[str]:
    """The words of a path or name, lower case, without numbers."""
    return [each.lower() for each in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", path)]


def role_of(path: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[str, str]:
    """(role, why) that the name of an array suggests, ``""`` where it says nothing; ``shape`` is without the rows.

    The last part of the path counts most, then the parts above it, then single words of the last part.
    """
    parts = [words(part) for part in path.split("/") if words(part)]
    while len(parts) > 1 and len(parts[-1]) == 1 and parts[-1][0] in _PLAIN:
        parts.pop()
    if not parts:
        return "", ""
    last, above = parts[-1], [word for part in parts[:-1] for word in part]
    ends = (last[-1], last[0])
    single = shape in ((), (1,))
    if "next" in (*last, *above):
        return "aux", "its name says that it follows (next)"
    if word := next((each for each in ends if each in MASKS), ""):
        return "mask", f"its name says {word}"
    if single and dtype.kind in "iu" and (last[-1] in IDS or (len(last) == 1 and last[0] in TIMES)):
        return "id", f"integers named {last[-1]}"
    if single and is_time(path):
        return "aux", "times, by its name"
    return _used_for(last, above)


def _used_for(last: list[str], above: list[str]) -> tuple[str, str]:
    if word := next((each for each in above if each in OUTCOMES), ""):
        return "aux", f"it lies below {word}"
    whole = "_".join(last)
    for role, known in (("aux", OUTCOMES), ("input", INPUTS), ("target", TARGETS)):
        if whole in known:
            return role, f"named {whole}"
    for candidates, how in ((above, "it lies below"), ((last[0], last[-1]), "its name says")):
        for word in candidates:
            for role, known in (("aux", OUTCOMES), ("target", TARGETS), ("input", INPUTS)):
                if word in known:
                    return role, f"{how} {word}"
    return "", ""


def is_time(path: str) -> bool:
    """Whether an array of one value a row holds times or step numbers, by its name."""
    last = words(path.rsplit("/", 1)[-1])
    return bool(last) and (last[-1] in TIMES or (len(last) == 2 and last[0] in TIMES and last[1] in _UNITS))


def is_group(path: str) -> bool:
    """Whether rows that share this id usually belong together (an episode, a session)."""
    last = words(path.rsplit("/", 1)[-1])
    if len(last) > 1 and last[-1] in ("id", "index", "idx"):
        last = last[:-1]
    return bool(last) and last[-1] in GROUPS


def is_code(path: str) -> bool:
    """Whether whole numbers of this name stand for something (a token, a class, a place) and measure nothing."""
    last = words(path.rsplit("/", 1)[-1])
    return bool(last) and last[-1] in CODES


def split_in(path: str) -> tuple[str, str]:
    """(split, path without the word) of an array whose name says that it is of one split; ``("", path)`` for others."""
    for match in re.finditer(r"[A-Za-z]+", path):
        split = SPLIT_WORDS.get(match[0].lower())
        before, after = path[: match.start()], path[match.end() :]
        bounded = (not before or before[-1] in "/_.-") and (not after or after[0] in "/_.-")
        if split and bounded:
            rest = f"{before.rstrip('_.-')}{after}" if not before.endswith("/") else f"{before}{after.lstrip('/_.-')}"
            return split, rest.strip("/_.-") or "values"
    return "", path


def statistic_in(path: str) -> tuple[str, str]:
    """(kind, field) of an array whose name says that it is a statistic of a field; ``("", path)`` for others."""
    parts = path.split("/")
    folders = [part for part in parts if part.lower() in STATISTIC_FOLDERS]
    rest = [part for part in parts if part.lower() not in STATISTIC_FOLDERS]
    if not rest:
        return "", path
    pieces = rest[-1].split("_")
    for place in (-1, 0):
        kind = STATISTIC_WORDS.get(pieces[place].lower())
        if kind:
            others = pieces[:-1] if place else pieces[1:]
            name = "_".join(each for each in others if each.lower() not in STATISTIC_FOLDERS)
            return kind, "/".join([*rest[:-1], name] if name else rest[:-1])
    kind = STATISTIC_WORDS.get(rest[0].lower()) if folders else None
    return (kind, "/".join(rest[1:])) if kind else ("", path)

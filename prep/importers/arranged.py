"""How the arrays of a foreign source belong together, found without a mapping: episodes, splits, the common rows.

Known by their form: one group an episode (Minari, robomimic, Isaac Lab, ManiSkill) or one file an episode (ACT), ends
of episodes in ``episode_ends`` (diffusion policy) or at flags (D4RL), arrays named after splits (``x_train``,
``train/x``), a column ``split``, demonstrations listed in ``mask/<split>`` (robomimic).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prep.blocks import SPLITS
from prep.importers import IngestOptions
from prep.importers.columns import Column, Source
from prep.importers.flagged import ends_at_flags
from prep.importers.joined import numbered, one_after_the_other, read_whole
from prep.importers.names import INPUTS, SPLIT_WORDS, TARGETS, split_in, statistic_in, words

_NUMBERED = re.compile(r"(.*?)[_-]?(\d+)")
_MOST_ENDS = 1 << 24
_MOST_LISTED = 1 << 20


@dataclass(frozen=True, slots=True)
class Arranged:
    """Columns of ``rows`` rows each, and what the source says about them.

    ``form`` says what was recognised, in words. ``splits`` are row ranges where the source is divided by place, and
    ``split`` is a column that divides it; neither where it is not. ``group`` is the path of the column that counts
    episodes. ``others`` are arrays without these rows, ``left_out`` arrays (or parts) that are not looked at, with the
    reason.
    """

    form: str
    rows: int
    columns: tuple[Column, ...]
    splits: Mapping[str, tuple[int, int]]
    split: Column | None
    group: str
    others: tuple[Column, ...]
    left_out: Mapping[str, str]


def arrange(found: Sequence[Column]) -> Arranged | None:
    """How ``found`` belong together; None where no array has a number in it."""
    left_out = {column.path: _what(column) for column in found if not _numeric(column) and not _tells_split(column)}
    left_out |= {column.path: "no values" for column in found if _numeric(column) and 0 in column.shape}
    columns = [column for column in found if column.path not in left_out]
    if not any(map(_numeric, columns)):
        return None
    return (
        _episodes(columns, left_out)
        or _ends(columns, left_out)
        or _by_name(columns, left_out)
        or _flagged(columns, left_out)
        or _common(columns, left_out, "arrays of equal length")
    )


def _what(column: Column) -> str:
    """What an array holds that is not numbers."""
    if column.dtype.kind == "O":
        return column.long_name or "references or objects"
    return f"{'text' if column.dtype.kind in 'SUT' else f'dtype {column.dtype}'}, not numbers"


def _numeric(column: Column) -> bool:
    return column.dtype.kind in "biufc" and column.dtype.itemsize <= (16 if column.dtype.kind == "c" else 8)


def _tells_split(column: Column) -> bool:
    last = column.path.rsplit("/", 1)[-1].lower()
    return last in ("split", "subset", "partition") or SPLIT_WORDS.get(last) is not None


def _common(columns: Sequence[Column], left_out: dict[str, str], form: str) -> Arranged | None:
    """Arrays that share the length which most of those with a telling name have, else most arrays."""
    candidates = [each for each in columns if _numeric(each) and each.shape and not statistic_in(each.path)[0]]
    known = [each for each in candidates if {*words(each.path)} & (INPUTS | TARGETS)]
    counts = Counter(each.shape[0] for each in known or candidates)
    if not counts:
        return None
    rows = max(counts, key=lambda length: (counts[length], length))
    taken = [each for each in columns if _numeric(each) and each.shape[:1] == (rows,)]
    split = next((each for each in columns if each.shape in ((rows,), (rows, 1)) and _is_split_column(each)), None)
    taken = [each for each in taken if each is not split]
    others = [each for each in columns if _numeric(each) and each not in taken and each is not split]
    return Arranged(form, rows, tuple(taken), {}, split, "", tuple(others), left_out)


def _is_split_column(column: Column) -> bool:
    return column.path.rsplit("/", 1)[-1].lower() in ("split", "subset", "partition") and column.dtype.kind in "iuSUTO"


def _episodes(columns: Sequence[Column], left_out: dict[str, str]) -> Arranged | None:
    """Groups ``<stem><number>`` with the same leaves, in the order of their numbers, split by split."""
    found: dict[tuple[str, str], dict[int, dict[str, Column]]] = {}
    for column in columns:
        parts = column.path.split("/")
        for depth, part in enumerate(parts[:-1]):
            if match := _NUMBERED.fullmatch(part):
                key = ("/".join([*parts[:depth], match[1]]), match[1])
                leaf = "/".join(parts[depth + 1 :])
                found.setdefault(key, {}).setdefault(int(match[2]), {})[leaf] = column
                break
    if not found:
        return None
    (_, stem), episodes = max(found.items(), key=lambda each: len(each[1]))
    if len(episodes) < 2 and stem.lower() not in ("episode", "demo", "traj", "trajectory", "rollout"):
        return None
    lengths = {number: _steps(leaves) for number, leaves in episodes.items()}
    episodes = {number: leaves for number, leaves in episodes.items() if lengths[number]}
    order = sorted(episodes)
    if not order:
        return None
    homes = _listed(columns, {number: f"{stem}_{number}" for number in order})
    order.sort(key=lambda number: (SPLITS.index(homes.get(number, "train")), number))
    ends = np.cumsum([lengths[number] for number in order])
    joined = []
    rows = [lengths[number] for number in order]
    for leaf in dict.fromkeys(leaf for number in order for leaf in episodes[number]):
        whole = [episodes[number][leaf] for number in order if leaf in episodes[number]]
        if reason := _unlike(whole, rows, len(order)):
            left_out[whole[0].path] = reason
            continue
        if whole[0].shape[0] == rows[0] + 1:
            left_out[f"{whole[0].path} (last row)"] = "one row more than steps: what followed the last of an episode"
        joined.append(one_after_the_other(leaf, list(zip(whole, rows, strict=True))))
    if not joined:
        return None
    taken = {column.path for leaves in episodes.values() for column in leaves.values()}
    others = [column for column in columns if column.path not in taken and _numeric(column)]
    group = "episode" if "episode" not in {each.path for each in joined} else "episode_number"
    counts = {name: sum(lengths[number] for number in order if homes.get(number) == name) for name in SPLITS}
    return Arranged(
        f"{len(order):,} episodes ({stem.rstrip('_-') or 'number'}_<n>), one after the other",
        int(ends[-1]),
        (*joined, numbered(group, ends)),
        _ranges(counts) if homes else {},
        None,
        group,
        tuple(others),
        left_out,
    )


def _steps(leaves: Mapping[str, Column]) -> int:
    """Steps of an episode: the most frequent length of its arrays, the shorter one of two."""
    counts = Counter(column.shape[0] for column in leaves.values() if column.shape and _numeric(column))
    return min(counts, key=lambda length: (-counts[length], length), default=0)


def _unlike(parts: Sequence[Column], rows: Sequence[int], episodes: int) -> str:
    """Why arrays of one name cannot be put one after the other; ``""`` where they can."""
    if len(parts) < episodes:
        return f"in {len(parts)} of {episodes} episodes only"
    first = parts[0]
    if any(part.dtype != first.dtype or part.shape[1:] != first.shape[1:] for part in parts):
        return "episodes differ in its type or shape"
    more = {part.shape[0] - count if part.shape else None for part, count in zip(parts, rows, strict=True)}
    return "" if more in ({0}, {1}) else "it has another length than the steps of its episode"


def _listed(columns: Sequence[Column], names: Mapping[int, str]) -> dict[int, str]:
    """Splits of episodes that lists of their names state (robomimic's ``mask/train``); {} unless each is in one."""
    homes: dict[int, str] = {}
    numbers = {name: number for number, name in names.items()}
    for column in columns:
        folder, _, last = column.path.rpartition("/")
        split = SPLIT_WORDS.get(last.lower())
        if folder != "mask" or split is None or column.dtype.kind not in "SUTO" or column.shape[0] > _MOST_LISTED:
            continue
        for text in read_whole(column).reshape(-1).tolist():
            name = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
            number = numbers.get(name)
            if number is None or homes.setdefault(number, split) != split:
                return {}
    return homes if len(homes) == len(names) else {}


def _ends(columns: Sequence[Column], left_out: dict[str, str]) -> Arranged | None:
    """Arrays of all steps, cut by an array of cumulative ends."""
    ends = next((each for each in columns if each.path.rsplit("/", 1)[-1] == "episode_ends"), None)
    if ends is None or len(ends.shape) != 1 or ends.dtype.kind not in "iu" or ends.shape[0] > _MOST_ENDS:
        return None
    last = read_whole(ends).astype(np.int64)
    if last[0] < 1 or (np.diff(last) < 1).any():
        left_out[ends.path] = "it does not rise, so it ends no episodes"
        return None
    rows = int(last[-1])
    taken = [
        one_after_the_other(each.path, [(each, rows)])
        for each in columns
        if _numeric(each) and each is not ends and each.shape and each.shape[0] >= rows
    ]
    kept = {each.path for each in taken} | {ends.path}
    if not taken:
        return None
    for each in columns:
        if each.path in kept and each is not ends and each.shape[0] > rows:
            left_out[f"{each.path} (from row {rows:,})"] = "after the end of the last episode"
    others = tuple(each for each in columns if _numeric(each) and each.path not in kept)
    form = f"{len(last):,} episodes, cut by {ends.path}"
    return Arranged(form, rows, (*taken, numbered("episode", last)), {}, None, "episode", others, left_out)


def _flagged(columns: Sequence[Column], left_out: dict[str, str]) -> Arranged | None:
    """Arrays of all steps, cut where flags among them end an episode."""
    whole = _common(columns, left_out, "")
    cut = ends_at_flags(whole.columns) if whole else None
    if whole is None or cut is None:
        return None
    ends, flags = cut
    group = "episode" if "episode" not in {each.path for each in whole.columns} else "episode_number"
    form = f"{len(ends):,} episodes, cut at {flags}"
    return replace(whole, form=form, columns=(*whole.columns, numbered(group, ends)), group=group)


def _by_name(columns: Sequence[Column], left_out: dict[str, str]) -> Arranged | None:
    """Arrays that are named after a split, put one split after the other."""
    found: dict[str, dict[str, Column]] = {}
    for column in columns:
        split, rest = split_in(column.path)
        if split and column.shape and _numeric(column):
            found.setdefault(rest, {})[split] = column
    splits = {split for parts in found.values() for split in parts}
    if "train" not in splits or len(splits) < 2:
        return None
    order = [split for split in SPLITS if split in splits]
    whole = {rest: [parts[split] for split in order] for rest, parts in found.items() if set(parts) == splits}
    lengths = Counter(tuple(part.shape[0] for part in parts) for parts in whole.values())
    if not lengths:
        return None
    counts = max(lengths, key=lambda each: (lengths[each], each))
    joined, taken, widened = [], set(), []
    for rest, parts in whole.items():
        types = {part.dtype for part in parts}
        kept = {each.kind for each in types} == {np.result_type(*types).kind}
        if kept and len({part.shape[1:] for part in parts}) == 1 and tuple(part.shape[0] for part in parts) == counts:
            joined.append(one_after_the_other(rest, list(zip(parts, counts, strict=True))))
            taken |= {part.path for part in parts}
            widened += [f"; {rest} is of several types and read as {np.result_type(*types)}"] if len(types) > 1 else []
    if not joined:
        return None
    others = [each for each in columns if _numeric(each) and each.path not in taken]
    ranges = _ranges(dict(zip(order, counts, strict=True)))
    form = f"arrays named after {', '.join(order)}, one split after the other{''.join(widened)}"
    return Arranged(form, sum(counts), tuple(joined), ranges, None, "", tuple(others), left_out)


def _ranges(counts: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    ranges, start = {}, 0
    for name in SPLITS:
        if counts.get(name):
            ranges[name] = (start, start + counts[name])
            start += counts[name]
    return ranges


def as_one(source: Source, options: IngestOptions) -> tuple[Source, IngestOptions] | None:
    """A source of episodes, or of arrays named after splits, as one of columns of equal length; None for any other.

    Its columns have the names of the parts; train, val and test are kept where all three are there. Raises what forbids
    reading one of its arrays.
    """
    if options.mapping:
        return None
    arranged = arrange(source.columns)
    if arranged is None or not (arranged.group or arranged.splits):
        return None
    warnings = [*source.warnings, *source.vet([each.path for each in source.columns if each not in arranged.others])]
    warnings += [f"{path} was left out: {why}" for path, why in arranged.left_out.items()]
    warnings += [f"{each.path} was left out: it has not one row a sample" for each in arranged.others]
    columns = arranged.columns
    if arranged.split is not None:
        columns = (*columns, replace(arranged.split, path="split"))
    elif len(arranged.splits) == len(SPLITS):
        ends = np.array([stop for _, stop in arranged.splits.values()], np.int64)
        columns = (*columns, numbered("split", ends))
    elif arranged.splits:
        named = ", ".join(arranged.splits)
        warnings.append(f"the source is divided into {named}: all of it was divided anew, into train, val and test")
    whole = replace(source, columns=columns, warnings=tuple(warnings), elsewhere=None, vet=lambda paths: ())
    return whole, replace(options, group=options.group or arranged.group)

"""A validation as lines for a terminal: a row for each check and field, what to mend first at the top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from prep.errors import counted, printable
from prep.report.outcomes import Outcome, by_dataset, tally

Line = tuple[str, str]
_WORDS = {"error": "ERROR", "failed": "FAIL", "warning": "WARN", "passed": "ok"}
_STYLES = {"error": "bad", "failed": "bad", "warning": "warn", "passed": "good"}
_HEADINGS = ("", "check", "field", "values", "failing", "worst", "samples", "allowed")
_NAMES, _NUMBERS, _FIRST = (1, 2), (3, 4, 5), 6
# What a row says beside verdict, check, field and worst value, from the most to the least that fits a line: the values
# examined, how many of the first failing samples, and their splits.
_FITS = ((True, 3, True), (True, 3, False), (False, 3, False), (False, 2, False), (False, 1, False))
_LONGEST = 28  # characters of a name that other rows are aligned to
_SHORTEST = 8  # and to which a name is cut where a line has no room; less room than this, and no limit is begun
_INDENT = " " * 8
_NARROW = 24  # less room than this beside the other columns, and the last one goes on below them


@dataclass(frozen=True, slots=True)
class _Block:
    """What is said of one dataset: its verdict, and the rows below it."""

    head: str
    style: str
    about: Mapping[str, Any]
    rows: tuple[Outcome, ...]

    @property
    def bad(self) -> tuple[Outcome, ...]:
        return tuple(row for row in self.rows if row.status != "passed")

    def lines(self, shown: int, told: int, *, verbose: bool = False, width: int | None) -> list[Line]:
        """The head and a line for each of the first ``shown`` rows that did not pass, of those the first ``told`` with
        all there is to say; with ``verbose`` also for the rows that passed.
        """
        rows = self.rows if verbose else self.bad[:shown]
        found = _wrapped(printable(self.head), self.style, width, "  ")
        heading, *aligned = _aligned(rows, width, whole=verbose)
        if any(row.examined for row in rows):
            found.append(("dim", _row(heading, width, cut=True)[0]))
        for place, (row, cells) in enumerate(zip(rows, aligned, strict=True)):
            full = verbose or place < told
            label = "" if _unexamined(row) else "allowed:  "
            found += [(_STYLES[row.status], text) for text in _row(cells, width, cut=not full, label=label)]
            if full and row.status != "passed":
                following = rows[place + 1 : None if verbose else told][:1]
                again = any((each.check, each.remedy) == (row.check, row.remedy) for each in following)
                found += _details(row, width, verbose=verbose, remedy=not again)
        return found


def lines(
    document: Mapping[str, Any], *, verbose: bool = False, width: int | None = None, height: int | None = None
) -> list[Line]:
    """(style, text) pairs of a validation document; style is one of ``verdict-good``, ``verdict-bad``, ``bad``,
    ``warn``, ``good``, ``dim``. Text is wrapped at ``width`` columns. Of what does not fit into ``height`` lines, the
    last of each dataset are left out or cut, and the end says how to see them; ``verbose`` shows everything.
    """
    several = len(document["datasets"]) > 1
    grouped = by_dataset(document)
    blocks = [_Block(*_head(each, rows, several), each, tuple(rows)) for each, rows in grouped]
    foot = _foot(document) if several else []
    most = max((len(each.rows) for each in blocks), default=0)
    if not several and not verbose:
        foot = _passed(blocks[0], width)
    if verbose or height is None or sum(len(each.bad) + 1 for each in blocks) <= height:
        whole = [line for each in blocks for line in each.lines(most, most, verbose=verbose, width=width)]
        if verbose or height is None or len(whole) + len(foot) <= height:
            return [*whole, *foot]
        if not several and not blocks[0].bad:
            return whole
    return _fitted(blocks, foot, width, height)


def _fitted(blocks: Sequence[_Block], foot: list[Line], width: int | None, height: int) -> list[Line]:
    """The heads of what did not pass; while there is room one more line of each dataset in turn: what to mend first
    with all there is to say, then a row for each of the others, then what there is to say of them.
    """
    bad, good = [each for each in blocks if each.bad], [each for each in blocks if not each.bad]
    foot = foot if len(blocks) > 1 else []
    room = height - len(foot) - 1
    heads = bad if len(bad) * 4 <= room else bad[: max(1, room // 4)]
    made = [each.lines(int(not place), int(not place), width=width) for place, each in enumerate(heads)]
    while len(made) > 1 and sum(map(len, made)) + 1 > room:
        made.pop()
    unsaid, heads = len(bad) - len(made), heads[: len(made)]
    rest = [("verdict-bad", f"{unsaid:,} more datasets did not pass")] if unsaid else []
    room -= len(rest)
    most = max((len(each.bad) for each in heads), default=0)
    shown, told = ([int(not place) for place in range(len(heads))] for _ in range(2))
    for grown, enough in ((shown, 1), (told, 1), (shown, most), (told, most)):
        for turn in range(enough):
            for place, each in enumerate(heads):
                if grown[place] != turn or turn >= (len(each.bad) if grown is shown else shown[place]):
                    continue
                grown[place] += 1
                longer = each.lines(shown[place], told[place], width=width)
                if sum(map(len, made)) - len(made[place]) + len(longer) <= room:
                    made[place] = longer
                else:
                    grown[place] -= 1
    passed = [line for each in good for line in each.lines(0, 0, width=width)]
    if sum(map(len, made)) + len(passed) <= room:
        rest += passed
    left = sum(len(each.bad) for each in bad) - sum(shown)
    hint = f"… {left:,} more (-v shows everything)" if left else "(-v shows everything)"
    return [line for part in (*made, rest, foot, [("", hint)]) for line in part]


def _head(about: Mapping[str, Any], rows: Sequence[Outcome], several: bool) -> tuple[str, str]:
    report, style = about.get("report"), "verdict-good" if about["exit_code"] == 0 else "verdict-bad"
    path = about["path"]
    if report is None:
        return f"{path}: {about['note']}" if "note" in about else f"{path}: not examined", style
    warned = " with warnings" if report["verdict"] == "warnings" else ""
    verdict = "FAILED" if about["exit_code"] else f"passed{warned}"
    same = ", as it was certified: every stored byte was hashed" if about["unchanged"] else ""
    counts = f"{report['checks_passed']} of {counted(len(rows), 'check')}, {counted(report['rows'], 'sample')}"
    if several:
        return f"{path}: {report['dataset']} {report['version']} {verdict}, {counts}{same}", style
    counts += f", {counted(report['values'], 'value')} examined"
    return f"{report['dataset']} {report['version']}: {verdict}, {counts}{same}", style


def _foot(document: Mapping[str, Any]) -> list[Line]:
    good = all(each["exit_code"] == 0 for each in document["datasets"])
    return [("verdict-good" if good else "verdict-bad", tally(document))]


def _passed(block: _Block, width: int | None) -> list[Line]:
    """The checks that passed, by name, each with how many fields it passed on."""
    counts = Counter(row.check for row in block.rows if row.status == "passed" and row.allowed)
    named = ", ".join(name if count == 1 else f"{name} {count}" for name, count in counts.items())
    return _wrapped(f"  ok    {named} (-v shows each)", "good", width, _INDENT) if counts else []


def _aligned(rows: Sequence[Outcome], width: int | None, *, whole: bool) -> list[list[str]]:
    """The cells of the heading and of each row, as wide as their columns, without columns that are empty; the last
    one is as long as it is. The others fit into ``width``, at the cost of what `_FITS` leaves out and of long names;
    not where all there is to say is told below the ``whole`` rows.
    """
    for fit in _FITS:
        table = [list(_HEADINGS), *(_cells(row, *fit) for row in rows)]
        widths = [max(map(len, column)) if any(column[1:]) else 0 for column in zip(*table, strict=True)][:-1]
        widths[0] = max(widths[0], 1)
        over = sum(each + 2 for each in widths if each) - (width or 0)
        if whole or width is None or over <= sum(max(widths[place] - _LONGEST, 0) for place in _NAMES):
            break
    while width is not None and not whole and over > 0 and max(widths[place] for place in _NAMES) > _SHORTEST:
        widths[max(_NAMES, key=widths.__getitem__)] -= 1
        over -= 1
    for cells in table:
        for place, widest in enumerate(widths):
            broad = widest if place == _FIRST else min(widest, _LONGEST)
            if len(cells[place]) > widest > 0:
                cells[place] = f"{cells[place][: widest - 1]}…"
            cells[place] = cells[place].rjust(broad) if place in _NUMBERS else cells[place].ljust(broad)
    return [[*(cell for cell, filled in zip(cells, widths, strict=False) if filled), cells[-1]] for cells in table]


def _cells(row: Outcome, values: bool, most: int, splits: bool) -> list[str]:
    if _unexamined(row):
        told = [row.check, row.field, "", "", "", "", row.message]
    else:
        examined = f"{row.examined:,}" if values and (row.examined or row.failing) else ""
        failing = f"{row.failing:,}" if row.failing else ""
        told = [row.check, row.field, examined, failing, row.worst, _first(row, most, splits), row.allowed]
    return [_WORDS[row.status], *map(printable, told)]


def _first(row: Outcome, most: int, splits: bool) -> str:
    """The first failing samples."""
    if not row.first:
        return ""
    more = ", …" if max(row.failing, len(row.first)) > most else ""
    return ", ".join(map(str, row.first[:most])) + more + (f" ({row.splits})" if splits and row.splits else "")


def _unexamined(row: Outcome) -> bool:
    return row.status == "error" and not row.examined


def _row(cells: Sequence[str], width: int | None, *, cut: bool, label: str = "") -> list[str]:
    """One line where there is room for it, or where what is too long is ``cut``; ``label`` says what goes on below."""
    *front, last = cells
    beside = "  " + "  ".join(front) + "  "
    whole = (beside + last).rstrip()
    if width is None or len(whole) <= width:
        return [whole]
    if cut and width - len(beside) < _SHORTEST:
        whole = beside.rstrip()
    if cut:
        return [whole if len(whole) <= width else whole[: width - 1] + "…"]
    if width - len(beside) >= _NARROW:
        return wrap(last, width, initial_indent=beside, subsequent_indent=" " * len(beside))
    below = wrap(label + last, width, initial_indent=_INDENT, subsequent_indent=_INDENT + "  ")
    return [*wrap(beside.rstrip(), width, subsequent_indent=_INDENT), *below]


def _details(row: Outcome, width: int | None, *, verbose: bool, remedy: bool) -> list[Line]:
    """What a row has no room for: the message; of data that were not examined also where; and the remedy."""
    place = f"{row.place}:{row.line}" if row.line else row.place
    if _unexamined(row):
        told = ["where:    " + ", ".join(filter(None, (place, row.samples)))]
        told += [f"measured: {row.measured}"] if row.measured else []
        told += [f"allowed:  {row.allowed}"] if row.allowed else []
    else:
        told = [row.message]
        if verbose:
            told.append(f"where:    {place}" + (f", {row.samples}" if row.samples else ""))
        if verbose or " of " in row.measured.rpartition(", ")[2]:  # a part of the values only
            told.append(f"measured: {row.measured}")
    told += [f"remedy:   {row.remedy}"] if remedy else []
    return [line for text in map(printable, told) for line in _wrapped(_INDENT + text, "dim", width, _INDENT + "  ")]


def _wrapped(text: str, style: str, width: int | None, indent: str) -> list[Line]:
    if width is None or len(text) <= width:
        return [(style, text)]
    return [(style, part) for part in wrap(text, width, subsequent_indent=indent)]

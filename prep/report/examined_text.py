"""What `prep doctor` found, as lines for a terminal: what it was taken for, then what hurts, worst first."""

from __future__ import annotations

from collections.abc import Iterator

from prep.report.examined import Examined
from prep.symptoms import SEVERITIES, Diagnostic

Line = tuple[str, str]
STYLES = {"harmful": "bad", "doubtful": "warn", "note": "dim"}
_FIELDS, _TOLD, _LEFT_OUT = 8, 5, 3
_NAME_WIDTH = 32


def lines(found: Examined, *, verbose: bool) -> Iterator[Line]:
    """(style, text) lines; without ``verbose`` so many that they fit a screen."""
    guess = found.guess
    count = len(guess.spec.fields)
    yield "bold", f"{found.path}: {guess.spec.rows:,} samples, {count} field{'s' * (count != 1)}; {found.form}"
    yield from _fields(found, verbose)
    if guess.divided:
        yield (
            "",
            "  " + ", ".join(f"{name} {start:,} … {stop - 1:,}" for name, (start, stop) in guess.spec.splits.items()),
        )
    else:
        yield "", "  no splits found: all samples are looked at as one"
    told = [f"{what} {name}" for what, name in (("time", guess.time), ("group", guess.group)) if name]
    if told:
        yield "", "  " + ", ".join(told)
    if guess.stored:
        kinds = dict.fromkeys(f"{each.kind} of {each.field} ({each.place})" for each in guess.stored)
        yield from _some("statistics", list(kinds), verbose)
    yield from _some("left out", [f"{name}: {why}" for name, why in found.left_out.items()], verbose)
    yield from _some("note", list(found.notes), verbose)
    yield _verdict(found)
    shown = found.diagnostics if verbose else [each for each in found.diagnostics if each.severity != "note"][:_TOLD]
    said: set[str] = set()
    for each in shown:
        yield from _diagnostic(each, said)
    if len(shown) < len(found.diagnostics):
        yield "", f"  and {_counted(found.diagnostics[len(shown) :] if not verbose else ())}: -v shows all"


def _fields(found: Examined, verbose: bool) -> Iterator[Line]:
    fields = found.guess.spec.fields
    shown = fields if verbose else fields[:_FIELDS]
    wide = min(max((len(each.name) for each in shown), default=0), _NAME_WIDTH)
    for each in shown:
        shape = " × ".join(map(str, each.shape)) or "1"
        mask = f", masked by {each.mask}" if each.mask else ""
        why = found.guess.why.get(each.name, "")
        yield (
            "",
            f"  {each.name:<{wide}}  {each.role:<6}  {each.dtype.name} {shape}{mask}" + (f"  ({why})" if why else ""),
        )
    if len(shown) < len(fields):
        more = len(fields) - len(shown)
        yield "", f"  and {more} more field{'s' * (more != 1)}"


def _some(title: str, texts: list[str], verbose: bool) -> Iterator[Line]:
    shown = texts if verbose else texts[:_LEFT_OUT]
    for text in shown:
        yield "", f"  {title}: {text}"
    if len(shown) < len(texts):
        yield "", f"  {title}: {len(texts) - len(shown)} more"


def _verdict(found: Examined) -> Line:
    looked = f"{len(found.looked_for)} symptoms looked for, {found.values:,} values read"
    looked += f", {found.checks} checks of its schema judged" if found.checks else ""
    counts = _counted(found.diagnostics)
    if found.count("harmful") or found.damaged:
        return "verdict-bad", f"{counts}; {looked}"
    if found.count("doubtful"):
        return "warn", f"nothing harmful; {counts}; {looked}"
    return "verdict-good", f"nothing found that would hurt a training{'; ' + counts if counts else ''}; {looked}"


def _counted(found: tuple[Diagnostic, ...]) -> str:
    counts = {severity: sum(each.severity == severity for each in found) for severity in SEVERITIES}
    words = {"harmful": "harmful", "doubtful": "doubtful", "note": "notes" if counts["note"] != 1 else "note"}
    return ", ".join(f"{count} {words[severity]}" for severity, count in counts.items() if count)


def _diagnostic(each: Diagnostic, said: set[str]) -> Iterator[Line]:
    about = f" of {each.field}" if each.field else ""
    yield STYLES[each.severity], f"{each.severity.upper()}  {each.code}{about}: {each.evidence}"
    yield "", f"  would do: {each.consequence}"
    yield "", f"  remedy:   {each.remedy}"
    if each.command and each.command not in said:
        yield "", f"  run:      {each.command}"
        said.add(each.command)

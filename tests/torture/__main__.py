"""`make torture`: the long run of every campaign, its summary as JSON and as the table of docs/reliability.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.torture.campaign import Attack, Campaign, Order, Tally, Unable, scratch
from tests.torture.runner import ROOT
from tests.torture.shim import NoCompilerError
from tests.torture.table import CAMPAIGNS

PAGE = ROOT / "docs/reliability.md"
_BEGIN, _END = "<!-- torture: begin -->", "<!-- torture: end -->"
_INTERVAL = 15.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 where anything is wrong, else 0."""
    asked = _parser().parse_args(arguments)
    chosen = [each for each in CAMPAIGNS if not asked.only or each.name.replace(" ", "-") in asked.only]
    tallies: dict[str, Tally] = {}
    for campaign in chosen:
        count = asked.count if asked.count is not None else campaign.quick if asked.quick else campaign.long
        tallies[campaign.name] = attack(campaign, count, asked.seed, asked.minutes)
    rows = [_row(campaign, tallies[campaign.name]) for campaign in chosen]
    summary = {"machine": machine(), "seed": asked.seed, "campaigns": rows}
    if asked.json:
        Path(asked.json).write_text(json.dumps(summary, indent=2) + "\n")
    if asked.page:
        write_page(Path(asked.page), rows)
    print("\n" + "\n".join(table(rows)))
    for name, tally in tallies.items():
        for finding in tally.findings:
            print(f"\n{name}: {finding}")
    return int(any(tally.wrong for tally in tallies.values()))


def attack(campaign: Campaign, count: int, seed: int, minutes: float | None) -> Tally:
    """One campaign, in a folder of its own; what keeps it from running is in its tally."""
    module, name = campaign.attack.split(":")
    function: Attack = getattr(import_module(module), name)
    begin = time.monotonic()
    told = [begin]

    def say(done: int) -> None:
        if time.monotonic() - told[0] > _INTERVAL:
            told[0] = time.monotonic()
            print(f"{campaign.name}: {done}{f' of {count}' if count else ''}, {told[0] - begin:.0f} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="torture-", dir=scratch()) as folder:
        deadline = begin + 60 * minutes if minutes else float("inf")
        order = Order(count, Path(folder), seed, deadline, say)
        try:
            tally = function(order)
        except (Unable, NoCompilerError) as reason:
            tally = Tally(unable=str(reason))
    tally.seconds = time.monotonic() - begin
    outcome = tally.unable or f"{tally.runs} tries, {tally.wrong} wrong"
    print(f"{campaign.name}: {outcome}, {tally.seconds:.0f} s", flush=True)
    return tally


def table(rows: Sequence[dict[str, object]]) -> list[str]:
    """The rows as a table in Markdown."""
    heads = ("campaign", "tries", "accepted wrongly", "refused", "harmless", "seconds", "passes when")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        if row["unable"]:
            lines.append(f"| {row['name']} | not run: {row['unable']} | – | – | – | – | {row['passes']} |")
            continue
        tries = f"{row['runs']:,}, then time was up" if row["cut"] else row["runs"]
        cells = [row["name"], tries, *(row[key] for key in ("wrong", "refused", "harmless", "seconds", "passes"))]
        lines.append("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |")
    return lines


def machine() -> str:
    """What it ran on, without a date or a name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{system}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def write_page(page: Path, rows: Sequence[dict[str, object]]) -> None:
    """Put the table between the marks of the page; campaigns that did not run now keep their rows."""
    text = page.read_text()
    before, rest = text.split(_BEGIN)
    old, after = rest.split(_END)
    new = table(rows)
    names = {line.split("|")[1].strip() for line in new}
    kept = [line for line in old.splitlines() if line.startswith("| ") and line.split("|")[1].strip() not in names]
    order = [each.name for each in CAMPAIGNS]
    lines = sorted([*new[2:], *kept], key=lambda line: order.index(line.split("|")[1].strip()))
    body = "\n".join(["", f"Machine: {machine()}.", "", *new[:2], *lines, ""])
    page.write_text(f"{before}{_BEGIN}{body}{_END}{after}")


def _row(campaign: Campaign, tally: Tally) -> dict[str, object]:
    told = {key: value for key, value in asdict(tally).items() if key != "findings"}
    about = {"name": campaign.name, "runs": tally.runs, "passes": campaign.passes}
    return {**about, **told, "seconds": round(tally.seconds)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    names = [each.name.replace(" ", "-") for each in CAMPAIGNS]
    parser.add_argument("--only", action="append", choices=names, help="this campaign; may be repeated")
    parser.add_argument("--quick", action="store_true", help="the counts of the test suite")
    parser.add_argument("--count", type=int, help="this many tries of each campaign (0: all there are)")
    parser.add_argument("--minutes", type=float, help="at most this long for each campaign")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the summary")
    parser.add_argument("--page", metavar="FILE", nargs="?", const=str(PAGE), help=f"update {PAGE.relative_to(ROOT)}")
    return parser


if __name__ == "__main__":
    sys.exit(main())

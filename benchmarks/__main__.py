"""``python -m benchmarks``: run the comparisons, print the table, and write results.json and the picture."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.comparisons import Comparison
    from benchmarks.data import Datasets
    from benchmarks.results import Result

ROWS = 1 << 24
FEWEST = 1 << 10  # with fewer there are datasets of no row at all
_ROW_BYTES = 64
_MOST = 7  # times the table's bytes that lie on the disk at once


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything was measured, whatever the ratios are; 1 where two sides disagree, 2 for wrong usage, 130 after
    Ctrl-C.
    """
    try:
        return _run(_options(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(options: argparse.Namespace) -> int:
    # Imported here, where Ctrl-C is heard: it takes a second.
    from benchmarks.comparisons import COMPARISONS, LARGE
    from benchmarks.data import Datasets
    from benchmarks.measure import machine
    from benchmarks.picture import draw
    from benchmarks.results import show

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    size = options.rows * _ROW_BYTES
    chosen = [each for each in COMPARISONS if options.only in each.name]
    large = [each for each in LARGE if options.large and options.only in each.name]
    if not chosen and not large:
        print(f"no comparison has {options.only!r} in its name; there are:", file=sys.stderr)
        print(*(f"  {each.name}" for each in (*COMPARISONS, *LARGE)), sep="\n", file=sys.stderr)
        return 2
    chosen += _those_that_fit(large, size, options.folder)
    free, needed = shutil.disk_usage(options.folder or tempfile.gettempdir()).free, _MOST * size
    if free < needed:
        print(f"{needed >> 20} MiB of disk are needed and {free >> 20} are free: see --folder, --rows", file=sys.stderr)
        return 2
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}")
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    if options.rows != ROWS:
        print(f"sizes in the names are those of {ROWS:,} rows; this run takes {options.rows:,}")
    with tempfile.TemporaryDirectory(prefix="prep-bench-", dir=options.folder) as folder:
        results = _measure(chosen, Datasets(Path(folder), size))
    show(results)
    output = options.output
    if output is None and not options.only and options.rows == ROWS:
        output = Path(__file__).parent
    if output is not None and results:
        output.mkdir(parents=True, exist_ok=True)
        _write(output / "results.json", [each.to_dict() for each in results])
        _write(output / "machine.json", about)
        draw(results, about, output / "results.svg")
    return 0 if len(results) == len(chosen) else 1


def _measure(chosen: Sequence[Comparison], datasets: Datasets) -> list[Result]:
    from benchmarks.results import measured

    results = []
    for place, comparison in enumerate(chosen):
        print(f"[{place + 1}/{len(chosen)}] {comparison.name}", file=sys.stderr, flush=True)
        datasets.keep(recipe for each in chosen[place:] for recipe in each.recipes)
        try:
            results.append(measured(comparison, datasets))
        except AssertionError as error:
            print(f"the two sides disagree, so their times mean nothing: {error}", file=sys.stderr)
    return results


def _those_that_fit(large: Sequence[Comparison], size: int, folder: Path | None) -> list[Comparison]:
    """Those for whose datasets there is room on the disk; says which there is none for."""
    free = shutil.disk_usage(folder or tempfile.gettempdir()).free
    fitting = []
    for each in large:
        needed = int(size * (each.data.share + 1))
        if needed <= free:
            fitting.append(each)
        else:
            print(f"skipped: {each.name} needs {needed >> 30} GiB of disk, {free >> 30} are free", file=sys.stderr)
    return fitting


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="prep beside its peers, in one run")
    parser.add_argument("--only", default="", metavar="TEXT", help="comparisons with TEXT in their name")
    parser.add_argument(
        "--rows",
        type=_rows,
        default=ROWS,
        help=f"rows of 16 float32 in the largest table, {FEWEST} or more; the rest is scaled alike",
    )
    parser.add_argument("--large", action="store_true", help="also memory on 32 GiB, which takes 33 GiB of disk")
    parser.add_argument("--folder", type=_folder, help="where the datasets lie meanwhile (the temporary folder)")
    parser.add_argument(
        "--output", type=Path, help="where results go; a whole run of full size writes beside this file"
    )
    return parser.parse_args(arguments)


def _rows(text: str) -> int:
    if not text.isdecimal() or int(text) < FEWEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not {FEWEST} rows or more")
    return int(text)


def _folder(text: str) -> Path:
    if not (os.path.isdir(text) and os.access(text, os.W_OK | os.X_OK)):
        raise argparse.ArgumentTypeError(f"{text!r} is no folder that can be written to")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())

"""Peak memory of one verb in a process of its own: ``python -m benchmarks.memory VERB FOLDER DATASET`` prints MiB."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.data import WINDOWS_SCHEMA, Made, Windows
from benchmarks.measure import WORKERS


def extra_mebibytes(verb: str, made: Made) -> float:
    """How much more a verb needs for ``made`` than for 4 MiB of the like: imports and compiled code aside."""
    folder = made.folder / "small"
    raw = not made.statistics.exists()
    if not folder.exists():
        folder.mkdir()
        Windows(raw=raw).make(folder, 4 << 20)
    return _peak(verb, made.folder, made.path) - _peak(verb, folder, folder / made.path.name)


def _peak(verb: str, folder: Path, path: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", verb, str(folder), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    if done.returncode:
        raise RuntimeError(f"{verb} did not finish:\n{done.stderr}")
    return float(json.loads(done.stdout))


def _run(verb: str, folder: Path, path: Path) -> None:
    if verb == "validate":
        from prep.verbs.validate import examine

        examine(path, schema=WINDOWS_SCHEMA, workers=WORKERS)
    elif verb == "stats":
        from prep.verbs.stats import stats

        output = folder / "memory.json"
        stats(folder / "raw.h5", output=output, schema=WINDOWS_SCHEMA, force=True, workers=WORKERS)
    else:
        from prep.verbs.normalize import normalize

        output, fitted = folder / "memory.h5", folder / "statistics.json"
        normalize(folder / "raw.h5", stats=fitted, output=output, schema=WINDOWS_SCHEMA, force=True, workers=WORKERS)
        output.unlink()


def _high_water() -> float:
    """Of this program alone: getrusage on Linux also counts what the process that started it held."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    _run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps(_high_water()))

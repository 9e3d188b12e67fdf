"""Words that diagnostics share: numbers, places, and the commands that mend."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from prep.symptoms import Guess

KEEP = 10


def number(value: float) -> str:
    """Four digits at most: 0.25, 15780, 8.5e+14."""
    size = abs(value)
    return f"{value:.4g}" if 1e-3 <= size < 1e5 or size == 0 else f"{value:.2g}"


def square(value: float) -> float:
    """value², at most 1e300."""
    return min(float(value) * float(value), 1e300)


def times(value: float) -> str:
    """A factor: "72 times"."""
    return f"{number(value)} times"


def verb(count: int, plural: str) -> str:
    """The form of have, are, do, equal, … that goes with so many."""
    return {"have": "has", "are": "is", "do": "does"}.get(plural, f"{plural}s") if count == 1 else plural


def places(guess: Guess, samples: Sequence[int], count: int | None = None, *, later: bool = False) -> str:
    """Where: "samples 3, 7 (train), 9 (test) and 12 more"; "and later ones" where nobody counted them (``later``)."""
    first = list(samples[:5])
    words, last = [], ""
    for place, row in enumerate(first):
        split = guess.spec.split_of(row) if guess.divided else ""
        after = guess.spec.split_of(first[place + 1]) if guess.divided and place + 1 < len(first) else None
        words.append(f"{row} ({split})" if split and split != after else str(row))
    more = (len(samples) if count is None else count) - len(first)
    last = f" and {more} more" if more > 0 else ""
    last = " and later ones" if later else last
    return f"sample{'s' if len(first) != 1 else ''} {', '.join(words)}{last}"


def argument(path: str) -> str:
    """A path as commands take it: what begins with a dash is no option (``./-x.npz``)."""
    return f"./{path}" if path.startswith("-") else path


def look(guess: Guess, field: str) -> str:
    """The command that shows the values of a field; ``""`` for a foreign file, of which nothing is drawn."""
    return f"prep plot {shlex.quote(argument(guess.source))} {shlex.quote(field)}" if guess.layout == "prep" else ""


def ingest(guess: Guess) -> str:
    """The command that takes a foreign file into the pipeline, with the roles that the user stated and the group."""
    if guess.unplain:
        return f"prep doctor {shlex.quote(argument(guess.source))} --write-schema"
    stated = [name for name, why in guess.why.items() if why == "stated by you" and name in guess.spec]
    options = "".join(f" --role {shlex.quote(f'{name}={guess.spec[name].role}')}" for name in stated)
    options += f" --group {shlex.quote(guess.group)}" if guess.group and not guess.divided else ""
    return f"prep ingest {shlex.quote(argument(guess.source))} -o {_raw(guess)}{options}"


def normalise(guess: Guess) -> str:
    """The commands that normalise with train's statistics, masks and groups."""
    name, raw = guess.spec.name or "data", _raw(guess)
    if guess.layout == "prep" and all(field.transform_state == "raw" for field in guess.spec.fields):
        raw = shlex.quote(argument(guess.source))
    line = (
        f"prep stats {raw} -o data/stats/{shlex.quote(name)}.json && prep normalize {raw} "
        f"--stats data/stats/{shlex.quote(name)}.json -o data/normalized/{shlex.quote(name)}.h5"
    )
    if guess.unplain:
        return ingest(guess)
    return line if guess.layout == "prep" else f"{ingest(guess)} && {line}"


def rebuild(guess: Guess) -> str:
    """What brings corrected raw data in again; ``""`` for a foreign file: no command corrects what is in it."""
    return normalise(guess) if guess.layout == "prep" else ""


def regenerate(guess: Guess) -> str:
    """What makes raw data again by their recipe, and all that follows; ``""`` for data that came otherwise, of which
    the same command would make the same again.
    """
    name = guess.spec.name
    if guess.spec.attributes.get("source", "") != f"prep recipe {name}":
        return ""
    return f"prep generate {shlex.quote(name)} -o data/raw/{shlex.quote(name)}.h5 && {normalise(guess)}"


def _raw(guess: Guess) -> str:
    return f"data/raw/{shlex.quote(guess.spec.name or 'data')}.h5"

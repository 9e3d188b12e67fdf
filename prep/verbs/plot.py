"""`prep plot`: one field as a picture or for a terminal: its histograms, and a few samples over time or as matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prep.blocks import Array, FieldSpec, expand_mask
from prep.engine import Progress, Workers, silent
from prep.errors import DataError, UsageError, Where
from prep.formats.commit import write_atomically
from prep.report.looked import FieldLook, Sample, is_matrix
from prep.verbs import extras
from prep.verbs.look import NO_ORIGINALS, measure
from prep.verbs.subject import Subject, demand_rows, subject

KINDS = ("auto", "histogram", "series", "matrix")
MOST_SAMPLES = 16
_ENDINGS = (".png", ".svg")
_TIMES = frozenset({"time", "t", "step", "timestep", "time_step", "frame", "tick"})


@dataclass(frozen=True, slots=True)
class Plot:
    """What is to be seen: ``kinds`` of pictures (histogram, series, matrix) of ``look``, which holds one split, the
    values that were asked for, and samples.
    """

    look: FieldLook
    kinds: tuple[str, ...]


def plot(
    dataset: str | Path,
    field: str,
    *,
    output: str | Path | None = None,
    split: str = "",
    samples: int = 3,
    kind: str = "auto",
    original: bool = False,
    schema: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> Plot:
    """Measure ``field`` in one split (default train) and read ``samples`` of it, evenly spaced; with ``output`` also
    draw a PNG or SVG there.

    ``kind`` is histogram, series (needs a time-like dimension, or takes the last), matrix (needs two last dimensions of
    one size), or auto: the histograms and whichever of the two the field has. With ``original`` the values are those in
    original units. Raises as `prep.verbs.look.look`; `UsageError` for a kind the field does not have, another ending of
    ``output``, or where matplotlib is missing.
    """
    place = _picture(output)
    if not 1 <= samples <= MOST_SAMPLES:
        raise UsageError(
            "a picture shows a few samples",
            where=Where(key="--samples"),
            measured=samples,
            allowed=f"1 to {MOST_SAMPLES}",
            remedy="ask for fewer samples; the histograms count all of them",
        )
    with subject(dataset, field, schema=schema, lock_path=lock_path, trust_path=trust_path) as found:
        chosen = split or next((name for name, (start, stop) in found.spec.splits.items() if stop > start), "train")
        _ = demand_rows(found, chosen)
        kinds, time = _kinds(found, kind)
        look = measure(
            found if original else found.stored_only(found.unread), (chosen,), workers=workers, progress=progress
        )
        wanted = _wanted(look, original)
        look = replace(look, panels=tuple(panel for panel in look.panels if panel.values == wanted))
        if kinds != ("histogram",):
            label = _time_label(found, time)
            taken = samples_of(found, chosen, samples, original=original and wanted == "original", time=time)
            look = replace(look, samples=taken, time=time, time_label=label)
    result = Plot(look, kinds)
    if place is not None:
        from prep.report.figure import draw

        write_atomically(place, draw(look, kinds, place.suffix[1:].lower()))
    return result


def _picture(output: str | Path | None) -> Path | None:
    """Where the picture goes; `UsageError` unless one can be drawn there."""
    if output is None:
        return None
    place = Path(output)
    if place.suffix.lower() not in _ENDINGS or place.is_dir():
        raise UsageError(
            "a picture is a PNG or an SVG file",
            where=Where(path=str(place), key="--output"),
            measured="a folder" if place.is_dir() else place.suffix or "no ending",
            allowed=" or ".join(_ENDINGS),
            remedy="name a file that ends in .png or .svg, or leave -o out to see it in the terminal",
        )
    extras.drawing()
    return place


def _kinds(found: Subject, kind: str) -> tuple[tuple[str, ...], str]:
    """What is drawn, and the dimension that series run along."""
    field = found.field
    where = Where(path=str(found.path), dataset=found.spec.name, field=field.name, key="--kind")
    time = time_dim(field)
    if kind == "auto":
        return ("histogram", *(["series"] if time else ["matrix"] if is_matrix(field) else [])), time
    if kind not in KINDS:
        raise UsageError(
            "there is no such kind of picture", where=where, measured=kind, allowed=", ".join(KINDS), remedy="name one"
        )
    if kind == "series" and not field.shape:
        raise UsageError(
            "a field of single values has no series",
            where=where,
            measured=f"dims {field.dims}",
            allowed="a dimension beside 'sample'",
            remedy="leave --kind out, or name a field that is measured over time",
        )
    if kind == "matrix" and not is_matrix(field):
        raise UsageError(
            "this field holds no square matrices",
            where=where,
            measured=f"dims {field.dims}, sizes {field.shape}",
            allowed="two last dimensions of one size above 1",
            remedy="leave --kind out, or name a field of matrices",
        )
    return (kind,), time or (field.dims[-1] if kind == "series" else "")


def time_dim(field: FieldSpec) -> str:
    """The dimension of a field that is time by its name, ``""`` for none."""
    return next((name for name in field.dims[1:] if name.lower() in _TIMES), "")


def _wanted(look: FieldLook, original: bool) -> str:
    """Which of the values measured are shown; `DataError` where original ones are asked for and cannot be had."""
    stored = look.panels[0].values
    if not original or stored == "raw":
        return stored
    if any(panel.values == "original" for panel in look.panels):
        return "original"
    if missing := [note for note in look.notes if note.startswith(NO_ORIGINALS)]:
        raise DataError(
            "there are no original values to show",
            where=Where(path=str(look.path), dataset=look.dataset, field=look.field.name),
            measured="; ".join(missing),
            allowed="transforms that can be undone",
            remedy="leave --original out, or normalise the raw dataset again",
        )
    return stored  # the identity changed nothing


def samples_of(found: Subject, split: str, count: int, *, original: bool = False, time: str = "") -> tuple[Sample, ...]:
    """At most ``count`` samples of a split, evenly spaced, as stored or in original units; with their places along the
    dimension ``time``, where one is named.
    """
    start, stop = found.spec.splits[split]
    view = next(each for each in found.views() if not each.part and (each.values == "original") == original)
    clock = _clock(found, time)
    source = found.narrowed(clock)
    names = frozenset(each.name for each in source.spec.fields)
    values = found.values() if original else None
    taken = []
    for row in np.unique(np.linspace(start, stop - 1, min(count, stop - start)).round().astype(int)).tolist():
        block, _ = source.read(row, row + 1, names, False)
        arrays = values(block.arrays) if values else block.arrays
        array = arrays[view.spec.name]
        counted = np.ones(array.shape, bool)
        if found.mask is not None:
            counted = expand_mask(block[found.mask.name], found.mask, found.field)
        at: Array = np.zeros(0)
        if time:
            size = found.field.shape[found.field.dims.index(time) - 1]
            step = _step(found) if time_dim(found.field) else 1.0
            at = block[clock][0].astype(np.float64) if clock else np.arange(size) * step
        taken.append(Sample(row, np.array(array[0]), np.array(counted[0]), at))
    return tuple(taken)


def _clock(found: Subject, time: str) -> str:
    """The field that says when along ``time``, where the dataset has one."""
    clocks = (each for each in found.spec.fields if each.name.lower() in ("time", "t") and each.dtype.kind in "iuf")
    own = found.field.name
    return next((each.name for each in clocks if time and each.dims == ("sample", time) and each.name != own), "")


def _time_label(found: Subject, time: str) -> str:
    if clock := _clock(found, time):
        units = found.spec[clock].units
        return f"{clock} ({units})" if units != "1" else clock
    return f"{time} (s)" if time_dim(found.field) and _step(found) != 1.0 else f"{time} (index)"


def _step(found: Subject) -> float:
    """Seconds between values, of the attribute ``dt_s``; 1 without."""
    try:
        step = float(found.spec.attributes.get("dt_s", "1"))
    except ValueError:
        return 1.0
    return step if np.isfinite(step) and step > 0 else 1.0

"""`prep diagnose`: what a run, or anybody's log, says of learning rate, model and data, and what to do next."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from prep.canonical import parse_json
from prep.checks import CHECKS
from prep.engine import Progress, Workers, silent
from prep.errors import IntegrityError, UsageError, Where
from prep.report import CheckResult, Report
from prep.training.advice import STEP0_FACTOR, advise
from prep.training.course import NOTHING_LEARNED
from prep.training.diagnosis import curves_of_run, stopped
from prep.training.learning_curves import Column, Curves, finite
from prep.training.logs.columns import Series, guess, series
from prep.training.logs.foreign import read_log
from prep.training.logs.record import RECORD, read_record
from prep.training.next_step import Advice
from prep.verbs.runs import RESULT
from prep.verbs.validate import examine

_METRICS = "metrics.csv"
_LISTED = 5
_SETTLED, _ENOUGH = 3, 10  # epochs
_BAD = ("warn", "stop")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the decision table says of a log, the most important first.

    ``kind`` says what was read, ``columns`` what each was taken for, ``rows`` how many there are and ``unit`` what one
    stands for. ``baseline`` and ``target`` are what the run was judged by, ``measured`` says whether the data
    were: by `prep diagnose` itself, or before a run of ours.
    """

    path: str
    kind: str
    columns: Mapping[str, str]
    rows: int
    unit: str
    baseline: float | None
    target: float | None
    measured: bool
    advice: tuple[Advice, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not any(each.level in _BAD for each in self.advice)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "good": self.good}


def diagnose(
    source: str | Path,
    *,
    data: str | Path | None = None,
    baseline: float | None = None,
    target: float | None = None,
    clip: float | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Apply the decision table to a run folder of `prep train`, or to any CSV, trainer_state.json or TensorBoard log.

    ``data`` is the dataset that was trained on, certified or not: it is measured, and what its schema finds wrong comes
    before everything else, for no learning rate mends data. ``baseline`` is what predicting nothing scores in the loss
    of the log, ``target`` what is to be reached, ``clip`` the norm that gradients were clipped to; those that a run of
    ours has written down are taken from it. Raises `UsageError` where there is no log with a column of losses, or for a
    baseline or target that is no number, and `IntegrityError` where the files of a run of ours are damaged.
    """
    for name, value in (("baseline", baseline), ("target", target), ("clip", clip)):
        _demand_finite(name, value)
    path = Path(source)
    record = read_record(path) if path.is_dir() else {}
    kind, columns, found, curves = _of_run(path, record) if record else _of_log(path, clip)
    report = examine(Path(data), workers=workers, progress=progress) if data is not None else None
    if report is not None and curves.baseline is None and baseline is None:
        zero = report.baselines.get("zero")
        baseline = None if zero is None else float(zero)
    curves = replace(
        curves,
        baseline=curves.baseline if baseline is None else baseline,
        target=curves.target if target is None else target,
    )
    if not record:
        curves = _with_first(curves)
    _demand_reachable(curves)
    return Diagnosis(
        path=str(path),
        kind=kind,
        columns=columns,
        rows=max(len(curves.train), len(curves.val)),
        unit=found.unit,
        baseline=curves.baseline,
        target=curves.target,
        measured=report is not None or bool(record),
        advice=_advice(curves, report, stopped(record)),
    )


def _of_run(path: Path, record: Mapping[str, Any]) -> tuple[str, dict[str, str], Series, Curves]:
    place = path / _METRICS
    try:
        history = [] if stopped(record) and not place.exists() else _epochs(place)
        result = parse_json((path / RESULT).read_bytes(), path=str(path / RESULT)) if (path / RESULT).exists() else None
        curves = curves_of_run(record, history, result)
    except FileNotFoundError as error:
        raise UsageError(
            "this run has not finished an epoch",
            where=Where(path=str(path)),
            measured=f"{RECORD}, but no {_METRICS}",
            allowed="one epoch or more",
            remedy="what stopped it stands at the end of its log.txt; train on, then diagnose it",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise IntegrityError(
            "the files of this run cannot be read",
            where=Where(path=str(path)),
            measured=f"{type(error).__name__}: {error}",
            allowed=f"{RECORD}, {_METRICS} and {RESULT} as `prep train` writes them",
            remedy="go on with --resume, which writes them again",
        ) from error
    columns = {"train": "train_loss", "val": str(record["metric"])}
    return "a run of prep", columns, Series("epoch"), curves


def _epochs(place: Path) -> list[dict[str, float]]:
    with place.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _of_log(path: Path, clip: float | None) -> tuple[str, dict[str, str], Series, Curves]:
    kind, rows = read_log(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = guess(names)
    if not (columns.train or columns.held):
        raise UsageError(
            "no column of this log is a loss",
            where=Where(path=str(path)),
            measured=", ".join(names[:12]) + (" …" if len(names) > 12 else ""),
            allowed="a column such as loss, train_loss, val_loss, eval_loss, train/mse",
            remedy="name the column of the training loss train_loss, and that of the validation val_loss",
        )
    found = series(rows, columns)
    norms = found.of("gradient_norm")
    factors: Column = found.of("clip_factor")
    if not factors and clip:
        factors = tuple(None if norm is None else norm / clip for norm in norms)
    train, test = found.of("train"), found.of("test")
    curves = Curves(
        train=train,
        val=found.of("val") or test,
        learning_rate=found.of("learning_rate"),
        clip_factor=factors,
        unit=found.unit,
        seen=_settled(train) if len(train) >= _SETTLED else None,
        test=_settled(test),
    )
    return kind, columns.named(), found, curves


def _settled(column: Column) -> float | None:
    """What a column has come to: the median of its last three values."""
    known = [value for value in column if value is not None][-_SETTLED:]
    return median(known) if len(finite(known)) == len(known) > 0 else next(iter(known[-1:]), None)


def _demand_finite(name: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise UsageError(
            f"a {name} is a number", measured=str(value), allowed="a finite number", remedy=f"leave --{name} out"
        )


def _demand_reachable(curves: Curves) -> None:
    """A loss that is never negative has no baseline below 0."""
    if curves.baseline is not None and curves.baseline < 0 < min((*curves.losses, *curves.held), default=0.0):
        raise UsageError(
            "the baseline is not one of this loss",
            measured=f"--baseline {curves.baseline:g}",
            allowed="above 0, as every loss of the log",
            remedy="say what predicting nothing scores in the loss of the log, or leave --baseline out",
        )


def _with_first(curves: Curves) -> Curves:
    """A log's first loss is the mean of some steps, which only bounds the very first one from below."""
    if curves.baseline is None or curves.baseline <= 0 or not curves.losses:
        return curves
    first = curves.losses[0]
    return replace(curves, first=first, first_range=(min(0.0, first), STEP0_FACTOR * curves.baseline))


def _advice(curves: Curves, report: Report | None, guard: Advice | None) -> tuple[Advice, ...]:
    said = advise(curves)
    if guard is not None:
        said = (guard, *(each for each in said if each.level in _BAD and each.cause != guard.cause))
    wrong = () if report is None else _of_data(report)
    if any(each.rule == "unlearnable" for each in wrong):
        said = ()  # whatever the curves do, it is chance
    elif wrong:
        said = tuple(each for each in said if each.level in _BAD)
    if wrong or said:
        return (*wrong, *said)
    losses = curves.losses
    evidence = f"{len(losses)} losses, {losses[0]:.4g} to {losses[-1]:.4g}" if losses else "no finite loss"
    if len(losses) >= _ENOUGH:
        return (Advice("unclear", "note", "the loss neither falls nor stands still", evidence, "train on"),)
    return (
        Advice(
            "too_short",
            "note",
            "there is too little to say more",
            evidence,
            "train for ten epochs or more, and diagnose again",
        ),
    )


def _of_data(report: Report) -> tuple[Advice, ...]:
    """What a schema finds wrong with the data: that nothing can be learned of them before all else."""
    failed = [each for each in report.results if not each.passed and each.severity == "error"]
    probes = [each for each in failed if each.check in CHECKS and getattr(CHECKS.load(each.check), "probe", False)]
    hopeless = [each for each in probes if each.finding.measured.get("nmse", 0.0) >= NOTHING_LEARNED]
    others = [each for each in failed if each not in hopeless]
    found = []
    if hopeless:
        first = hopeless[0]
        found.append(
            Advice(
                "unlearnable",
                "stop",
                "the data cannot be learned",
                f"{first.finding.message}; predicting zero scores NMSE 1",
                f"mend the data, no learning rate helps: {first.finding.remedy}",
                field=first.field,
            )
        )
    return (*found, *map(_failed, others[:_LISTED]), *_more(others[_LISTED:]))


def _failed(result: CheckResult) -> Advice:
    finding = result.finding
    return Advice(
        "data",
        "stop",
        f"the data are not what their schema says: {result.check} on {result.field}",
        finding.message,
        finding.remedy,
        field=result.field,
    )


def _more(results: Sequence[CheckResult]) -> tuple[Advice, ...]:
    if not results:
        return ()
    named = ", ".join(f"{each.check} on {each.field}" for each in results)
    return (
        Advice(
            "data", "stop", f"{len(results)} more checks of the data fail", named, "run `prep validate` on the data"
        ),
    )

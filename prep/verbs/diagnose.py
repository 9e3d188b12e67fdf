"""`prep diagnose`: what a run, or anybody's log, says of learning rate, model and data, and what to do next."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prep.canonical import parse_json
from prep.checks import CHECKS
from prep.engine import Progress, Workers, silent
from prep.errors import IntegrityError, UsageError, Where
from prep.report import CheckResult, Report
from prep.training.advice import NOTHING_LEARNED, STEP0_FACTOR, Advice, advise
from prep.training.diagnosis import curves_of_run
from prep.training.learning_curves import Curves
from prep.training.logs.columns import Series, guess, series
from prep.training.logs.foreign import read_log
from prep.training.logs.record import RECORD, read_record
from prep.verbs.runs import RESULT
from prep.verbs.validate import examine

_METRICS = "metrics.csv"
_LISTED = 5
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
    ours has written down are taken from it. Raises `UsageError` where there is no log with a column of losses.
    """
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
    return Diagnosis(
        path=str(path),
        kind=kind,
        columns=columns,
        rows=max(len(curves.train), len(curves.val)),
        unit=found.unit,
        baseline=curves.baseline,
        target=curves.target,
        measured=report is not None or bool(record),
        advice=_advice(curves, report),
    )


def _of_run(path: Path, record: Mapping[str, Any]) -> tuple[str, dict[str, str], Series, Curves]:
    place = path / _METRICS
    try:
        with place.open(newline="", encoding="utf-8") as file:
            history = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
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


def _of_log(path: Path, clip: float | None) -> tuple[str, dict[str, str], Series, Curves]:
    kind, rows = read_log(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = guess(names)
    if not (columns.train or columns.val):
        raise UsageError(
            "no column of this log is a loss",
            where=Where(path=str(path)),
            measured=", ".join(names[:12]) + (" …" if len(names) > 12 else ""),
            allowed="a column such as loss, train_loss, val_loss, eval_loss, train/mse",
            remedy="name the column of the training loss train_loss, and that of the validation val_loss",
        )
    found = series(rows, columns)
    norms = found.of("gradient_norm")
    factors = found.of("clip_factor") or (tuple(norm / clip for norm in norms) if clip else ())
    curves = Curves(
        train=found.of("train"), val=found.of("val"), learning_rate=found.of("learning_rate"), clip_factor=factors
    )
    return kind, columns.named(), found, curves


def _with_first(curves: Curves) -> Curves:
    """A log's first loss is the mean of some steps, which only bounds the very first one from below."""
    if curves.baseline is None or curves.baseline <= 0 or not curves.losses:
        return curves
    first = curves.losses[0]
    return replace(curves, first=first, first_range=(min(0.0, first), STEP0_FACTOR * curves.baseline))


def _advice(curves: Curves, report: Report | None) -> tuple[Advice, ...]:
    said = advise(curves)
    wrong = () if report is None else _of_data(report)
    if any(each.rule == "unlearnable" for each in wrong):
        said = ()  # whatever the curves do, it is chance
    elif wrong:
        said = tuple(each for each in said if each.level in _BAD)
    if wrong or said:
        return (*wrong, *said)
    losses = curves.losses
    return (
        Advice(
            "too_short",
            "note",
            "there is too little to say more",
            f"{len(losses)} losses, {losses[0]:.4g} to {losses[-1]:.4g}" if losses else "no finite loss",
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

"""`prep doctor`: what in a file would hurt a training, without a schema or a configuration, in one pass over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from prep.engine import DatasetSource, Progress, Workers, one_of, run, silent
from prep.errors import PrepError, UnfinishedError, Where
from prep.folds import Fold
from prep.formats import SIDECARS
from prep.importers import IMPORTERS
from prep.importers.sources import existing
from prep.report import CheckResult
from prep.report.examined import Examination, Examined
from prep.report.outcomes import precedence
from prep.schema import load_schema
from prep.symptoms import SEVERITIES, SYMPTOMS, Diagnostic, Guess, Severity
from prep.symptoms.consequences import consequence
from prep.symptoms.explained import explained
from prep.verbs.judged import Judged
from prep.verbs.published import unreplaced
from prep.verbs.taken_for import Taken, foreign, is_ours, ours


def doctor(
    path: str | Path,
    *,
    roles: Mapping[str, str] | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> tuple[Examination, ...]:
    """Examine a file or a folder: HDF5, Zarr, NPZ, NPY, CSV, Parquet, Minari, or a dataset of prep.

    What the arrays are is guessed and told with the reason; ``roles`` overrule the guess (field → input, target, mask,
    id, aux or time). A folder that is not one dataset stands for every file below it that can be read, each examined
    for itself; of those, one that cannot be examined gives its error and does not keep the others from it. One pass
    over the values, in bounded memory. Raises `UsageError` for what is not there or a role that cannot be, and of a
    single file what its reader raises.
    """
    place = existing(Path(path))
    files = find_files(place)
    if files == [place]:
        return (Examination(place, examine(place, roles or {}, workers=workers, progress=progress)),)
    found = []
    for index, each in enumerate(files):
        show = one_of(progress, index, len(files), each.name)
        try:
            found.append(Examination(each, examine(each, roles or {}, workers=workers, progress=show)))
        except PrepError as error:
            found.append(Examination(each, error=error))
    return tuple(found)


def examine(path: Path, roles: Mapping[str, str], *, workers: Workers, progress: Progress) -> Examined:
    """What one dataset is taken for, and what was found in it."""
    if is_ours(path):
        with unreplaced(path), DatasetSource.open(path) as source:
            taken = ours(path, source, roles)
            return _examined(path, taken, _judged(source, roles), workers, progress)
    taken = foreign(path, roles)
    found = _examined(path, taken, None, workers, progress)
    taken.unchanged()
    return found


def _judged(source: DatasetSource, roles: Mapping[str, str]) -> Judged | None:
    """The schema that a normalised dataset carries judges it too; not where the user says that it is wrong."""
    text = source.spec.documents.get("schema")
    if not text or roles or "transforms" not in source.spec.documents:
        return None
    return Judged.of(source, load_schema(text, name=f"{source.spec.name} (embedded)", verify=False))


def _examined(path: Path, taken: Taken, judged: Judged | None, workers: Workers, progress: Progress) -> Examined:
    guess = taken.guess
    symptoms = {name: SYMPTOMS.load(name)() for name in SYMPTOMS}
    planned: dict[str, tuple[Fold, ...]] = {name: tuple(each.folds(guess)) for name, each in symptoms.items()}
    folds = [fold for each in planned.values() for fold in each]
    applies = tuple(name for name, each in planned.items() if each)
    if not applies:
        raise UnfinishedError(
            "nothing to examine: no symptom applies to what this file was taken for",
            where=Where(path=str(path)),
            measured=", ".join(f"{each.name} {each.role} {each.dtype.name}" for each in guess.spec.fields)[:300],
            allowed="an input, a target, ids, times or a mask",
            remedy="say what the fields are, with --role FIELD=ROLE",
        )
    if judged is None:
        measured = run(taken.source, folds, workers=workers, progress=progress)
        report = None
    else:
        measured = judged.measure(folds, workers=workers, progress=progress)
        report = judged.report(measured)
    told = [each for name in applies for each in symptoms[name].diagnose(guess, measured.results)]
    found = sorted(explained(told), key=_named)
    if report is not None:
        failed = (each for each in report.results if not each.passed)
        found += [_failed(result, guess) for result in sorted(failed, key=lambda each: precedence(each.check))]
    read = frozenset[str]().union(*(fold.fields for fold in folds))
    return Examined(
        path=path,
        bytes=taken.bytes,
        form=taken.form,
        guess=guess,
        left_out=taken.left_out,
        notes=taken.notes,
        looked_for=applies,
        values=guess.spec.rows * sum(each.row_values for each in guess.spec.fields if judged or each.name in read),
        diagnostics=tuple(sorted(found, key=_worst)),
        checks=len(report.results) if report is not None else 0,
        damaged=report is not None and any(each.kind == "integrity" and not each.passed for each in report.results),
    )


def _failed(result: CheckResult, guess: Guess) -> Diagnostic:
    """A failed check of the dataset's own schema as a diagnostic; its code is ``check-`` and the check's name."""
    finding = result.finding
    means, command = consequence(result.check, guess)
    severity: Severity = "harmful" if result.severity == "error" else "doubtful"
    if result.check == "unique_rows" and severity == "doubtful":
        # Where the schema expects equal rows by chance, `repeated_rows` says which are more than that.
        severity, means = "note", "nothing where rows are equal by chance, as the schema expects of coarse values"
    return Diagnostic(
        code=f"check-{result.check.replace('_', '-')}",
        severity=severity,
        field=result.field,
        evidence=finding.message,
        consequence=means,
        remedy=finding.remedy,
        command=command,
        samples=finding.samples[:10],
        measured={"worst": finding.worst, "limit": finding.limit, "failing": finding.failing},
    )


def _named(each: Diagnostic) -> tuple[str, str]:
    return each.code, each.field


def _worst(each: Diagnostic) -> tuple[int, float]:
    return SEVERITIES.index(each.severity), -each.harm


def find_files(place: Path) -> list[Path]:
    """The datasets that a path stands for: itself, or below a folder every file or store that can be read, by name."""
    if not place.is_dir() or _known(place):
        return [place]
    found = sorted(_below(place))
    if not found:
        raise UnfinishedError(
            "nothing to examine: this folder holds no file that prep reads",
            where=Where(path=str(place)),
            allowed=", ".join(IMPORTERS.names()),
            remedy="give the path of a file",
        )
    return found


def _below(folder: Path) -> Iterator[Path]:
    for each in sorted(folder.iterdir()):
        if each.name.startswith(".") or each.is_symlink() or each.name.endswith(SIDECARS):
            continue
        if each.is_dir() and not _known(each):
            yield from _below(each)
        elif each.is_dir() or _known(each):
            yield each


def _known(path: Path) -> bool:
    return any(IMPORTERS.load(name)().recognises(str(path)) for name in IMPORTERS)

"""`prep report`: a dataset judged, its fields measured, and all of it on one page that opens anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prep.engine import Progress, Workers, one_of, silent
from prep.errors import PrepError, UsageError, Where
from prep.formats.commit import write_atomically
from prep.gate import CertifiedDataset
from prep.report.looked import is_matrix
from prep.report.sheet import Certification, Matrices, Measured, Sheet
from prep.report.validation import Validation, document
from prep.verbs.inspect import Inspection, certified_here, inspect
from prep.verbs.look import measure
from prep.verbs.plot import samples_of
from prep.verbs.schemas import schema_for
from prep.verbs.subject import Subject, subject
from prep.verbs.validate import validate

MOST_DATASETS = 8
MOST_FIELDS = 12
MOST_SAMPLES = 64
_MATRIX_WORK = 1 << 30  # multiplications that the spectra of one field may take


def write_report(
    *paths: str | Path,
    output: str | Path,
    schema: str | Path | None = None,
    strict: bool = False,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> tuple[Validation, ...]:
    """Write the page of a dataset to ``output`` (``.html``), whatever the verdict is; what `validate` found.

    A certified dataset whose bytes, schema and checks are as they were is hashed and not judged again. The same data
    give the same bytes. Raises `UsageError` for an output of another kind and for paths that stand for no dataset.
    """
    place = demand_page(output)
    found = validate(*paths, schema=schema, changed_only=True, workers=workers, progress=progress)
    made = sheets(found, schema=schema, lock_path=lock_path, trust_path=trust_path, workers=workers, progress=progress)
    write_atomically(place, render(found, made, strict=strict).encode())
    return found


def render(found: Sequence[Validation], made: Sequence[Sheet], *, strict: bool = False) -> str:
    """The page as text."""
    from prep.report.html import page

    return page(document(found, strict=strict), made)


def demand_page(output: str | Path) -> Path:
    """Where the page goes; `UsageError` unless that is an HTML file."""
    place = Path(output)
    if place.suffix.lower() not in (".html", ".htm") or place.is_dir():
        raise UsageError(
            "a report is an HTML file",
            where=Where(path=str(place), key="--output"),
            measured="a folder" if place.is_dir() else place.suffix or "no ending",
            allowed=".html",
            remedy="name a file that ends in .html, or - for stdout",
        )
    return place


def sheets(
    found: Sequence[Validation],
    *,
    schema: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> tuple[Sheet, ...]:
    """What the page needs beside the verdicts; the fields of the first few datasets are measured, as a page with more
    pictures would be too large to open.
    """
    return tuple(
        _sheet(
            each,
            schema=schema,
            lock_path=lock_path,
            trust_path=trust_path,
            drawn=index < MOST_DATASETS,
            workers=workers,
            progress=one_of(progress, index, len(found), each.path.name),
        )
        for index, each in enumerate(found)
    )


def _sheet(
    found: Validation,
    *,
    schema: str | Path | None,
    lock_path: str | Path | None,
    trust_path: str | Path | None,
    drawn: bool,
    workers: Workers,
    progress: Progress,
) -> Sheet:
    if found.note:
        return Sheet(found)
    try:
        about = inspect(found.path, lock_path=lock_path, trust_path=trust_path)
        certificate, admitted = certified_here(found.path, lock_path=lock_path, trust_path=trust_path)
    except PrepError as error:
        return Sheet(found, closed=error.what)
    spec = about.spec
    split = next((name for name, (start, stop) in spec.splits.items() if stop > start), "")
    why = "" if drawn else f"a page shows the fields of {MOST_DATASETS} datasets; write a page of this one alone"
    wanted = [each for each in spec.fields if each.role in ("input", "target")] if split and drawn else []
    says, loss = _schema_says(about, schema)
    measured = []
    for field in wanted[:MOST_FIELDS]:
        try:
            with subject(found.path, field.name, schema=schema, lock_path=lock_path, trust_path=trust_path) as opened:
                measured.append(_measured(opened, split, workers, progress))
        except PrepError as error:
            measured.append(Measured(field, problems=(_said(error),)))
    return Sheet(
        found=found,
        spec=spec,
        format=about.format,
        size=about.size,
        root=about.root,
        about=says,
        documents=about.documents,
        certification=_certification(certificate, admitted),
        split=split if wanted else "",
        unmeasured=why,
        measured=tuple(measured),
        left_out=len(wanted) - len(measured),
        loss=loss,
    )


def _schema_says(about: Inspection, schema: str | Path | None) -> tuple[str, dict[str, object]]:
    """What the schema says that the data are, and what the loss is; nothing where there is none that loads."""
    try:
        judging = schema_for(about.spec, schema)
    except PrepError:
        return "", {}
    return " ".join(str(judging.body.get("description", "")).split()), dict(judging.loss or {})


def _certification(certificate: str, admitted: CertifiedDataset | None) -> Certification:
    if admitted is None:
        return Certification(why_not=certificate)
    standing = admitted.standing
    return Certification(
        digest=certificate,
        level=standing.level,
        pinned=standing.pinned,
        signers=tuple((each.owner, each.key) for each in standing.signers),
        created=admitted.statement.created,
        expires=admitted.statement.expires,
    )


def _measured(opened: Subject, split: str, workers: Workers, progress: Progress) -> Measured:
    """Distributions of every feature, scales of every group of the transform, and a few matrices."""
    problems: list[str] = []
    look, grouped, matrices = None, None, None
    try:
        look = measure(opened, (split,), workers=workers, progress=progress)
        problems += look.notes
        if opened.scaled_by:
            grouped = measure(opened, (split,), by=opened.scaled_by, workers=workers, progress=progress)
        if is_matrix(opened.field):
            restored = any(each.values == "original" for each in look.panels)
            matrices = _matrices(opened, split, restored=restored)
    except PrepError as error:
        problems.append(_said(error))
    return Measured(opened.field, look, grouped, matrices, tuple(problems))


def _matrices(opened: Subject, split: str, *, restored: bool) -> Matrices | None:
    """A few matrices that are covariances, or by the names of their dimensions (element, element_) should be."""
    count = max(1, min(MOST_SAMPLES, _MATRIX_WORK // opened.field.shape[-1] ** 3))
    stored = samples_of(opened, split, count)
    units = next((each.units for each in opened.views() if each.values == "original"), "")
    originals = samples_of(opened, split, count, original=True) if restored else ()
    found = Matrices.of(stored, opened.field.dtype, originals, units)
    rows, columns = (name.rstrip("_") for name in opened.field.dims[-2:])
    return found if rows == columns or found.hermitian.any() else None


def _said(error: PrepError) -> str:
    return f"{error.what} ({error.measured})" if error.measured else error.what

"""`prep validate`: re-measure a dataset from its stored bytes in one pass and judge it by its schema; trust nothing
the writer said.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prep.engine import DatasetSource, Journal, Progress, Workers, one_of, silent
from prep.errors import IntegrityError, PrepError, UnfinishedError, UsageError, Where
from prep.formats import ENDINGS, SIDECARS, format_of, no_such_dataset, open_container
from prep.report import Report
from prep.report.validation import Validation
from prep.schema import load_schema
from prep.verbs.config import DEFAULT_PATH, load_config
from prep.verbs.judged import Judged, registry_digest
from prep.verbs.published import unreplaced
from prep.verbs.schemas import in_project, schema_for
from prep.verbs.unchanged import certified_report

DATASET_ENDINGS = tuple(ENDINGS)
_SCHEMA_ENDINGS = (".yaml", ".yml")


def validate(
    *paths: str | Path,
    schema: str | Path | None = None,
    changed_only: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> tuple[Validation, ...]:
    """Validate datasets; a folder stands for every normalised dataset below it, a sidecar or a file inside a dataset
    for the dataset, a schema for the dataset of the configuration that it judges (without one, only the schema is).

    Each dataset is read once, whole; every check of its schema is judged on what was measured, structure and embedded
    statistics are compared, and every chunk is hashed against the manifest. A dataset that cannot be examined gives
    its error and does not keep the others from being examined. With ``changed_only`` a certified dataset whose bytes,
    schema and checks are as they were is hashed and not measured again; its report is the certified one. Raises
    `UsageError` for a path that does not exist or a folder without datasets.
    """
    found = []
    places = find_datasets(paths)
    for place, path in enumerate(places):
        show = one_of(progress, place, len(places), path.name)
        if path.suffix.lower() in _SCHEMA_ENDINGS:
            found.append(_schema_alone(path))
            continue
        if not path.exists():
            found.append(Validation(path, None, _gone(path)))
            continue
        try:
            if changed_only and (
                known := certified_report(path, schema, registry_digest(), workers=workers, progress=show)
            ):
                found.append(Validation(path, known, unchanged=True))
                continue
            found.append(Validation(path, examine(path, schema=schema, workers=workers, progress=show)))
        except PrepError as error:
            found.append(Validation(path, None, error))
    return tuple(found)


def find_datasets(paths: Iterable[str | Path]) -> list[Path]:
    """The datasets that paths stand for: itself, or below a folder every one, in name order, and those whose sidecars
    are there without them. Raw ones count unless they lie in a folder ``raw``.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise no_such_dataset(
                path, "there is no such file or folder", "give the path of a dataset or of a folder that holds some"
            )
        known = {each.resolve() for each in found}
        if (whole := _dataset_of(path)) is not None:
            found.extend(each for each in _built_by(whole) if each.resolve() not in known)
            continue
        names = {each.with_name(each.name.removesuffix(end)) for end in SIDECARS for each in path.rglob(f"*{end}")}
        names |= {each for each in path.rglob("*") if each.suffix.lower() in DATASET_ENDINGS}
        below = sorted(each for each in names if not each.name.startswith("."))
        normalised = [each for each in below if not (each.parent.name == "raw" and (_is_raw(each)))]
        if not normalised:
            raise UnfinishedError(
                "nothing to examine: this folder holds no normalised dataset",
                where=Where(path=str(path)),
                measured=f"{len(below)} raw datasets" if below else "no dataset",
                allowed="one normalised .h5 or .zarr or more",
                remedy="build them (`snakemake all`) or give another path",
            )
        found.extend(each for each in normalised if each.resolve() not in known)
    if not found:
        raise UsageError("no path was given", remedy="name a dataset or a folder: prep validate data/")
    return found


def _built_by(path: Path) -> list[Path]:
    """A schema stands for the datasets of the configuration that it judges, where they are built; else for itself."""
    if path.suffix.lower() not in _SCHEMA_ENDINGS or not in_project(DEFAULT_PATH).exists():
        return [path]
    settings = load_config(in_project(DEFAULT_PATH))
    places = [
        in_project(settings.normalized_path(entry))
        for entry in settings.datasets.values()
        if in_project(entry.schema).resolve() == path.resolve()
    ]
    return [each for each in places if each.exists()] or [path]


def _schema_alone(path: Path) -> Validation:
    try:
        schema = load_schema(path, verify=True)
    except PrepError as error:
        return Validation(path, None, error)
    note = f"the schema of {schema.name} loads: {len(schema.variables)} variables, {len(schema.checks)} checks"
    return Validation(path, None, note=f"{note}; no dataset of it is built here")


def _dataset_of(path: Path) -> Path | None:
    """The dataset that a path names or is a part of (a sidecar, a file inside a folder); None for other folders."""
    for folder in (path, *path.parents):
        if folder.suffix.lower() == ".zarr" and (folder / "zarr.json").exists():
            return folder
    if path.is_dir():
        return path if (path / "zarr.json").exists() else None
    for end in SIDECARS:
        if path.name.endswith(end):
            return path.with_name(path.name.removesuffix(end))
    return path


def _gone(path: Path) -> IntegrityError:
    """Why nothing is at the path of a dataset that was found: only sidecars or a link are, or nothing any more."""
    left = [path.name + end for end in SIDECARS if path.with_name(path.name + end).exists()]
    if path.is_symlink():
        what, left = "this link leads to nothing", [f"a link to {path.readlink()}", *left]
        remedy = "restore what it leads to, or remove the link"
    elif left:
        what = "there are sidecars of a dataset that is gone"
        remedy = "restore or rebuild the dataset, or remove what is left of it"
    else:
        what, remedy = "the dataset disappeared while others were read", "restore or rebuild it, then run this again"
    return IntegrityError(
        what,
        where=Where(path=str(path)),
        measured=", ".join(left) or "nothing",
        allowed="a dataset beside its manifest and certificate",
        remedy=remedy,
    )


def _is_raw(path: Path) -> bool:
    """Whether the dataset says that it is raw; what is gone was no loss."""
    if not path.exists():
        return True
    try:
        return "transforms" not in open_container(path).spec.documents
    except PrepError:
        return False


def examine(
    path: Path,
    *,
    schema: str | Path | None = None,
    recall: bool = True,
    workers: Workers = None,
    progress: Progress = silent,
) -> Report:
    """The report of one dataset, from one pass over its stored bytes; raises where it cannot be examined, or was
    replaced meanwhile.

    Without ``recall`` every value is measured now, whatever an interrupted pass has measured of the same bytes.
    """
    with unreplaced(path):
        return _examine(path, schema, recall, workers, progress)


def _examine(path: Path, schema: str | Path | None, recall: bool, workers: Workers, progress: Progress) -> Report:
    _ = format_of(path)
    with DatasetSource.open(path) as source:
        judged = Judged.of(source, schema_for(source.spec, schema, verify=True))
        journal = Journal.of(path, "validate", judged.journal_key) if recall else None
        measured = judged.measure((), workers=workers, progress=progress, journal=journal)
        return judged.report(measured)

"""`prep predict`: a checkpoint asked about raw values in original units; answers in original units."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.canonical import canonical_json
from prep.certificate import manifest
from prep.certificate.policy import Level, Policy
from prep.engine import DatasetSource, Progress, silent
from prep.errors import DataError, UsageError, Where
from prep.formats.commit import write_atomically
from prep.formats.replace import demand_no_input
from prep.gate import admit
from prep.importers import IngestOptions, Opened
from prep.importers.mapping import load_mapping
from prep.verbs.extras import training
from prep.verbs.ingest import open_source
from prep.verbs.rawdata import Rows, demand_output, read_manifest, versions, write_dataset
from prep.verbs.schemas import demand_name

if TYPE_CHECKING:
    from prep.training.predict import Predictor
    from prep.training.remembered import Trained

_ENDINGS = (".npz", ".h5", ".zarr")
_WHERE_ROWS_ARE = "test"  # a dataset has splits, and nobody may train on predictions


@dataclass(frozen=True, slots=True)
class Predicted:
    """What `predict` wrote: ``units`` by predicted field, and what a person has to know of it."""

    path: Path
    rows: int
    units: Mapping[str, str]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"path": str(self.path), "rows": self.rows, "units": dict(self.units), "remarks": list(self.remarks)}


@dataclass(frozen=True, slots=True)
class _Input:
    """Raw rows to predict from: ``given`` fields, how many, and bounded blocks of some of them in their order."""

    given: frozenset[str]
    rows: int
    blocks: Callable[[frozenset[str]], Iterator[Mapping[str, Array]]]


def predict(
    checkpoint: str | Path,
    source: str | Path,
    *,
    output: str | Path,
    data: str | Path | None = None,
    mapping: str | Path | None = None,
    split: str = "",
    device: str = "cpu",
    require: Level = "sealed",
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Predicted:
    """Predict from ``source`` with the model and the transforms of ``checkpoint``, and write ``output``, row by row in
    the order of the source.

    ``source`` is a raw dataset of prep (.h5, .zarr; ``split`` chooses one of its splits), or .npz, .npy, HDF5 or Zarr
    with the model's raw fields by name (``mapping``: a mapping file as for `prep.ingest`). ``output`` ends in .npz,
    .h5 or .zarr (raw datasets of prep). Of ``data``, a certified dataset, it is demanded that they are the ones that
    the model was trained on. Raises `UsageError` for missing fields, wrong shapes and an output that exists (unless
    ``force``), `DataError` for values that are not finite, groups that were not trained on and data that are
    normalised already, `CertificateError` for other ``data``.
    """
    checkpoint, path, source = Path(checkpoint), Path(output), str(source)
    _demand_new(path, [checkpoint, Path(source)], force)
    trained = load_trained(checkpoint, data, require, lock_path, trust_path)
    from prep.training.predict import Predictor

    predictor = Predictor(trained, device)
    wanted = frozenset(spec.name for spec in (*predictor.needed, *predictor.scales))
    found = _prep_rows(Path(source), split) if _is_ours(Path(source)) else _foreign_rows(source, split, mapping, wanted)
    predictor.demand(found.given)
    given = wanted & found.given
    outputs = predictor.outputs(given)

    def answers() -> Iterator[Mapping[str, Array]]:
        done = 0
        for block in found.blocks(given):
            result = predictor(block, done)
            done += len(next(iter(block.values())))
            yield result
            progress(done, found.rows)

    if path.suffix == ".npz":
        parts = list(answers())
        buffer = io.BytesIO()
        whole: dict[str, Any] = {spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in outputs}
        np.savez(buffer, **whole)
        write_atomically(path, buffer.getvalue())
    else:
        name = path.name.split(".")[0]
        record = trained.record
        about = {key: record[key] for key in ("dataset", "version", "root", "certificate", "system")}
        spec = DatasetSpec(
            name=name,
            fields=outputs,
            splits={},
            attributes={"title": name, "source": f"prep predict, {record['system']} on {record['dataset']}"},
            documents={"recipe": canonical_json({"predict": about}).decode()},
        )
        provenance = {"stage": "predict", "checkpoint": about, "versions": versions()}
        rows = (Rows(_WHERE_ROWS_ARE, part, {}) for part in answers())
        write_dataset(path, spec, (), rows, provenance, compression="none")
    return Predicted(path, found.rows, {each.name: each.units for each in outputs}, tuple(_remarks(predictor, given)))


def load_trained(
    checkpoint: Path,
    data: str | Path | None,
    require: Level,
    lock_path: str | Path | None,
    trust_path: str | Path | None,
) -> Trained:
    """The model of a checkpoint; `CertificateError` where ``data`` are given and not the ones it was trained on."""
    training()
    from prep.training.checkpoint import KEY, demand_data, identity, read_checkpoint
    from prep.training.remembered import Trained

    if data is None:
        return Trained(checkpoint)
    admitted = admit(data, Policy(require), lock_path=lock_path, trust_path=trust_path)
    demand_data(
        checkpoint,
        read_checkpoint(checkpoint)[KEY],
        identity(admitted),
        what="this model was trained on other data than are named here",
        remedy="name the dataset that it was trained on, or a checkpoint that was trained on these",
    )
    return Trained(checkpoint, admitted)


def _demand_new(path: Path, inputs: list[Path], force: bool) -> None:
    if path.suffix not in _ENDINGS:
        raise UsageError(
            "predictions are written as .npz, .h5 or .zarr",
            where=Where(path=str(path)),
            measured=path.suffix or "no ending",
            allowed=", ".join(_ENDINGS),
            remedy="end the output in one of these",
        )
    if path.suffix == ".npz":
        demand_no_input(path, inputs)
    else:
        demand_output(path, inputs)
        demand_name(path.name.split(".")[0], path)
    if path.exists() and (not force or path.is_dir() != (path.suffix == ".zarr")):
        raise UsageError(
            "the output is there already",
            where=Where(path=str(path)),
            remedy="name another, or replace it with --force",
        )


def _is_ours(path: Path) -> bool:
    return path.exists() and manifest.path_of(path).exists()


def _prep_rows(path: Path, split: str) -> _Input:
    contents = read_manifest(path)
    done = [field.name for field in contents.spec.fields if field.transform_state == "normalized"]
    if done:
        raise DataError(
            "the input is normalised already, and a prediction begins with values in original units",
            where=Where(path=str(path), dataset=contents.spec.name, field=", ".join(done)),
            measured="transform_state normalized",
            allowed="a raw dataset",
            remedy="name the raw dataset; `prep evaluate` takes the normalised one",
        )
    low, high = 0, contents.spec.rows
    if split:
        if split not in contents.spec.splits:
            raise UsageError(
                "the input has no such split",
                where=Where(path=str(path), split=split),
                measured=split,
                allowed=", ".join(contents.spec.splits),
                remedy="name one of its splits",
            )
        low, high = contents.spec.splits[split]

    def blocks(names: frozenset[str]) -> Iterator[Mapping[str, Array]]:
        with DatasetSource.open(path, contents.digests) as source:
            for start, stop in source.segments(names):
                if start < high and stop > low:
                    block, _ = source.read(start, stop, names, False)
                    kept = slice(max(low - start, 0), min(high, stop) - start)
                    yield {name: block.arrays[name][kept] for name in names}

    given = frozenset(field.name for field in contents.spec.fields)
    return _Input(given, high - low, blocks)


def _foreign_rows(source: str, split: str, mapping: str | Path | None, wanted: frozenset[str]) -> _Input:
    if split:
        raise UsageError(
            "only a raw dataset of prep has splits to choose from",
            where=Where(path=source, key="--split"),
            measured=split,
            allowed="nothing",
            remedy="leave --split out: every row is predicted",
        )
    named = dict(load_mapping(Path(mapping))) if mapping else {}
    named.pop("split", None)  # rows keep their order, whatever they were once divided into
    named.pop("group", None)
    found = _whole(source, named)
    columns: Mapping[str, str] = found.notes["columns"]
    given = frozenset(columns)
    if not mapping and (chosen := wanted & given):
        # Other arrays may be of any length or kind, and `split` would change the order.
        found = _whole(source, {"fields": {name: columns[name] for name in sorted(chosen)}})

    def blocks(names: frozenset[str]) -> Iterator[Mapping[str, Array]]:
        for _, arrays in found.blocks():
            yield {name: arrays[name] for name in names}

    return _Input(given, sum(found.rows.values()), blocks)


def _whole(source: str, mapping: Mapping[str, Any]) -> Opened:
    return open_source(source, None, IngestOptions(mapping=mapping, whole=True))


def _remarks(predictor: Predictor, given: frozenset[str]) -> Iterator[str]:
    for spec in predictor.scales:
        if spec.name not in given:
            yield (
                f"note: {spec.name} is predicted without its scale, which this model does not say: it is written as "
                f"{spec.name}_normalized (an input that has {spec.name} gets it back in {spec.units})"
            )

"""`prep export`: model and transforms of a checkpoint as one program that runs without prep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.certificate.policy import Level
from prep.errors import UsageError, Where
from prep.formats.commit import write_atomically
from prep.formats.replace import demand_no_input
from prep.verbs.predict import load_trained

_ENDING = ".pt2"


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export` wrote: the file and the metadata in it."""

    path: Path
    metadata: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"path": str(self.path), **self.metadata}


def export(
    checkpoint: str | Path,
    *,
    output: str | Path,
    data: str | Path | None = None,
    require: Level = "sealed",
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    force: bool = False,
) -> Exported:
    """Write ``output`` (.pt2), which `torch.export.load` reads where there is no prep: a mapping of raw fields in
    original units in, one of predictions in original units out, as `prep.predict` gives them; the first dimension is
    free. Certificate digest, root, fields and units are in its extra file ``prep.json``.

    Raises `UsageError` for an output that exists (unless ``force``) and a model that is no single program,
    `CertificateError` for other ``data`` than it was trained on.
    """
    path, checkpoint = Path(output), Path(checkpoint)
    if path.suffix != _ENDING:
        raise UsageError(
            "a program is written as .pt2",
            where=Where(path=str(path)),
            measured=path.suffix or "no ending",
            allowed=_ENDING,
            remedy="end the output in .pt2",
        )
    demand_no_input(path, [checkpoint])
    if path.is_dir() or (path.exists() and not force):
        raise UsageError(
            "the output is there already",
            where=Where(path=str(path)),
            remedy="name another, or replace it with --force",
        )
    trained = load_trained(checkpoint, data, require, lock_path, trust_path)
    from prep.training.export import exported

    content, about = exported(trained)
    write_atomically(path, content)
    return Exported(path, about)

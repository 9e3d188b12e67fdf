"""What a child process answers about a Minari file: its episodes, all surveyed, and the transitions of some."""

from __future__ import annotations

from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import Where
from prep.importers.columns import storable
from prep.importers.hdf5_answers import opened
from prep.importers.hdf5tree import Hdf5Tree
from prep.importers.minari_episodes import survey
from prep.importers.minari_leaves import METADATA, Leaf
from prep.isolation.child import Held


def episodes(held: Held, path: str, arguments: Any) -> tuple[dict[str, Any], list[Any]]:
    """The survey of all episodes; ``arguments`` is their metadata, or None where it is in the file.

    The part is the steps of each (int64).
    """
    tree = opened(held, path)
    metadata = tree.attributes(tree.root, METADATA) if arguments is None else arguments
    found = survey(tree, metadata)
    value = {
        "episodes": len(found.steps),
        "leaves": [{"path": leaf.path, "dtype": leaf.dtype.str, "shape": leaf.shape} for leaf in found.leaves],
        "warnings": found.warnings,
        "left_out": found.left_out,
        "metadata": {key: str(text) for key, text in metadata.items()},
    }
    return value, [found.steps]


def transitions(held: Held, path: str, arguments: Any) -> tuple[None, list[Array]]:
    """The rows of ``pieces`` (episode, first step, end), one after the other: a part for each of ``leaves``, and one of
    what followed after each leaf that has a row more than there are steps.
    """
    tree = opened(held, path)
    parts = []
    for place in arguments["leaves"]:
        parts += _rows(tree, arguments["pieces"], place)
    return None, parts


def _rows(tree: Hdf5Tree, pieces: list[tuple[int, int, int]], place: str) -> list[Array]:
    """Observations are read with one row more, which ends the last transition."""
    extra = Leaf(place, np.dtype(np.float64), ()).extra
    here, following = [], []
    for number, start, stop in pieces:
        dataset = tree.dataset(f"episode_{number}/{place}")
        assert dataset is not None, "the survey saw it, and the file has not changed"
        values = tree.read(dataset, start, stop + extra)
        here.append(values[: stop - start])
        following.append(values[1:])
    joined = [np.concatenate(each) for each in ((here, following) if extra else (here,))]
    return [np.ascontiguousarray(each, storable(each.dtype, Where(field=place))) for each in joined]

"""The logical root: one digest over all values of a dataset and what they mean, whatever container holds them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from prep.blocks import DatasetSpec
from prep.canonical import canonical_json, framed_digest, value_digest
from prep.formats.digests import ChunkDigests
from prep.formats.layout import FieldLayout


def meaning(spec: DatasetSpec) -> str:
    """What the root leaves out of what values mean: the transforms and statistics that lead back to original units, and
    the attributes of the dataset.

    Values that differ by a power of two are equal when they are standardised: only their transforms tell them apart.
    """
    documents = {name: spec.documents.get(name, "") for name in ("transforms", "statistics")}
    return value_digest("meaning", {**documents, "attributes": dict(spec.attributes)})


def logical_root(spec: DatasetSpec, layouts: Mapping[str, FieldLayout], digests: Mapping[str, ChunkDigests]) -> str:
    """Root over all values and their meaning, the same for HDF5 and Zarr and for any codec.

    Leaf, node and root are hashed in separate BLAKE3 contexts; an odd node is promoted; each leaf binds the chunk's
    digest to its array and place; the root binds the number of leaves, the dataset's name and its splits.
    """
    leaves: list[bytes] = []
    for item in (*spec.fields, *spec.constants):
        layout = layouts[item.name]
        meaning = canonical_json({**item.to_dict(), "rows": layout.rows, "chunk_rows": layout.chunk_rows})
        frame = framed_digest("array", meaning)
        leaves.extend(
            framed_digest("leaf", frame, struct.pack("<Q", index), digest)
            for index, digest in enumerate(digests[item.name].logical)
        )
    level = leaves
    while len(level) > 1:
        paired = [framed_digest("node", level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    about = canonical_json({"dataset": spec.name, "splits": [[name, *bounds] for name, bounds in spec.splits.items()]})
    return "blake3:" + framed_digest("root", about, struct.pack("<Q", len(leaves)), *level).hex()

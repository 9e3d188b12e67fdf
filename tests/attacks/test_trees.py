"""Hash trees that two different datasets share, and ours, which they do not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prep.canonical import framed_digest
from prep.certificate.manifest import Manifest
from prep.certificate.tree import logical_root
from prep.formats.digests import ChunkDigests, Digests


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def bitcoin(leaves: list[bytes]) -> bytes:
    """A tree in the manner of Bitcoin: the last node of an odd level is doubled."""
    while len(leaves) > 1:
        leaves = [*leaves, leaves[-1]] if len(leaves) % 2 else leaves
        leaves = [sha256(leaves[place] + leaves[place + 1]) for place in range(0, len(leaves), 2)]
    return leaves[0]


def undivided(leaves: list[bytes]) -> bytes:
    """A tree whose leaves and nodes are hashed alike; an odd node is promoted."""
    while len(leaves) > 1:
        pairs = [sha256(leaves[place] + leaves[place + 1]) for place in range(0, len(leaves) - 1, 2)]
        leaves = pairs + leaves[len(pairs) * 2 :]
    return leaves[0]


def root_of(contents: Manifest, field: str, leaves: list[bytes], **changes: Any) -> str:
    """Our root, with other chunks of one field."""
    layout = contents.layouts[field]
    fields: dict[str, Any] = {"rows": layout.chunk_rows * len(leaves), **changes}
    layouts = {**contents.layouts, field: replace(layout, **fields)}
    digests = ChunkDigests(contents.digests[field].stored, Digests.of(leaves))
    return logical_root(contents.spec, layouts, {**contents.digests, field: digests})


def test_a_doubled_last_chunk_is_another_root(make):
    """Row 22: CVE-2012-2459: a list and the list with its last entry twice share one root."""
    contents = make("hdf5").contents
    leaves = list(contents.digests["episode"].logical)
    assert len(leaves) == 3
    assert bitcoin(leaves) == bitcoin([*leaves, leaves[-1]])

    roots = {root_of(contents, "episode", found) for found in (leaves, [*leaves, leaves[-1]])}
    roots.add(root_of(contents, "episode", [*leaves, leaves[-1]], rows=contents.layouts["episode"].rows))
    assert len(roots) == 3


def test_a_node_does_not_pass_as_a_leaf(make):
    """Row 22: four chunks and the two nodes above them share one root where leaves and nodes are hashed alike."""
    contents = make("hdf5").contents
    four = list(contents.digests["inputs"].logical)[:4]
    two = [sha256(four[0] + four[1]), sha256(four[2] + four[3])]
    assert undivided(four) == undivided(two)

    own = [framed_digest("node", four[0], four[1]), framed_digest("node", four[2], four[3])]
    assert len({root_of(contents, "inputs", found) for found in (four, two, own)}) == 3


def test_names_and_places_are_part_of_the_root(make):
    """Row 22: where leaves have no names, fields that are exchanged leave the root as it is."""
    contents = make("hdf5").contents
    fields = {"inputs": list(contents.digests["inputs"].logical), "visible": list(contents.digests["visible"].logical)}
    flat = [digest for name in sorted(fields) for digest in fields[name]]
    assert undivided(flat) == undivided([*fields["inputs"], *fields["visible"]])

    swapped = list(contents.digests["inputs"].logical)
    swapped[0], swapped[1] = swapped[1], swapped[0]
    spec = contents.spec
    renamed = spec.with_fields(
        tuple(replace(each, name="outputs") if each.name == "inputs" else each for each in spec.fields)
    )
    layouts = {**contents.layouts, "outputs": replace(contents.layouts["inputs"], spec=renamed["outputs"])}
    digests = {**contents.digests, "outputs": contents.digests["inputs"]}
    roots = {
        contents.root,
        root_of(contents, "inputs", swapped, rows=contents.layouts["inputs"].rows),
        logical_root(renamed, layouts, digests),
        logical_root(replace(spec, name="tinY"), contents.layouts, contents.digests),
        logical_root(replace(spec, splits={**spec.splits, "val": (76, 87)}), contents.layouts, contents.digests),
    }
    assert len(roots) == 5


FRAMES: list[Callable[[], tuple[bytes, bytes]]] = [
    lambda: (framed_digest("x", b"ab", b"c"), framed_digest("x", b"a", b"bc")),
    lambda: (framed_digest("x", b"ab"), framed_digest("x", b"a", b"b")),
    lambda: (framed_digest("x", b""), framed_digest("x")),
    lambda: (framed_digest("x", b"", b""), framed_digest("x", b"")),
    lambda: (framed_digest("leaf", b"a"), framed_digest("node", b"a")),
    lambda: (framed_digest("x", (1).to_bytes(8, "little") + b"a"), framed_digest("x", b"a")),
]


@pytest.mark.parametrize("pair", FRAMES, ids=range(len(FRAMES)))
def test_no_two_lists_of_parts_share_a_digest(pair: Callable[[], tuple[bytes, bytes]]):
    """Row 22: joined without lengths, they would."""
    assert b"".join([b"ab", b"c"]) == b"".join([b"a", b"bc"])
    first, second = pair()
    assert first != second


def test_every_number_of_chunks_has_a_root_of_its_own(make):
    """Row 22: for one to seventy equal chunks; and no root is that of the list turned round."""
    contents = make("hdf5").contents
    same = [bytes(32)] * 70
    roots = [root_of(contents, "inputs", same[:count]) for count in range(1, 71)]
    rng = np.random.default_rng(0)
    turned = [rng.bytes(32) for _ in range(7)]
    roots += [root_of(contents, "inputs", turned), root_of(contents, "inputs", turned[::-1])]
    assert len(set(roots)) == 72

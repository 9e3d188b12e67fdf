"""The next block is read while the last one is being written: a child process would wait for its parent otherwise."""

from __future__ import annotations

from collections.abc import Callable

from prep.importers import Blocks
from prep.memory import thread_pool


def read_ahead(blocks: Blocks, abandon: Callable[[], None]) -> Blocks:
    """The same blocks, one of them in advance; ``abandon`` ends what reads where nobody wants the rest."""
    pool = thread_pool(1, "prep-ahead")
    whole = False
    try:
        waiting = pool.submit(next, blocks, None)
        while (block := waiting.result()) is not None:
            waiting = pool.submit(next, blocks, None)
            yield block
        whole = True
    finally:
        if not whole:
            abandon()
        pool.shutdown()

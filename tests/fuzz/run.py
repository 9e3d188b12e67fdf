"""Fuzzing without help: inputs mutated by a seeded generator, and the rule that every target has to keep."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from prep.errors import PrepError
from tests.fuzz.targets import TARGETS, Target
from tests.torture.campaign import Order, Tally, Unable

ROOT = Path(__file__).parents[2]
SECONDS = 10.0
_GROWTH = 512 << 20
_FEW = 50_000
_NUMBERS = (b"0", b"-1", b"1", b"255", b"65536", b"2147483648", b"4294967295", b"9223372036854775808", b"1e400")


def keeps_the_rule(target: Target, data: bytes) -> tuple[str, bool]:
    """What is wrong with how ``target`` takes ``data``, and whether it refused it.

    Only errors of prep may come out, with a remedy and a message that can be shown, in time.
    """
    begin, refused = time.monotonic(), False
    try:
        target.use(data)
    except PrepError as error:
        refused = True
        if not error.remedy or not str(error):
            return f"an error without remedy: {error.what}", True
    except Exception as error:
        return f"{type(error).__name__}: {error}", True
    taken = time.monotonic() - begin
    return (f"{taken:.0f} s" if taken > SECONDS else ""), refused


def inputs(target: Target, name: str, chance: random.Random) -> Iterator[bytes]:
    """First the corpus, then mutations of it without end."""
    seeds = target.corpus(name)
    yield from seeds
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
            mutate(data, target, chance, seeds)
        yield bytes(data)


def mutate(data: bytearray, target: Target, chance: random.Random, seeds: list[bytes]) -> None:
    """One change in place: bits, bytes, blocks, tokens, numbers, and parts of other seeds."""
    place = chance.randrange(len(data) + 1)
    size = chance.choice([1, 2, 4, 8, 64, 512])
    kind = chance.randrange(9)
    if kind <= 1 and data:
        data[place % len(data)] ^= 1 << chance.randrange(8)
    elif kind == 2:
        data[place : place + size] = chance.randbytes(size)
    elif kind == 3:
        del data[place : place + size]
    elif kind == 4:
        data[place:place] = data[place : place + size] * chance.choice([1, 1, 2, 50])
    elif kind == 5 and target.tokens:
        data[place:place] = chance.choice(target.tokens)
    elif kind == 6:
        other = chance.choice(seeds)
        start = chance.randrange(len(other) + 1)
        data[place : place + size] = other[start : start + size]
    elif kind == 7:
        digits = [index for index, byte in enumerate(data) if 48 <= byte <= 57]
        if digits:
            start = chance.choice(digits)
            stop = next((index for index in range(start, len(data)) if not 48 <= data[index] <= 57), len(data))
            data[start:stop] = chance.choice(_NUMBERS)
    else:
        value = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        data[place : place + 8] = bytes([value]) * len(data[place : place + 8])


def fuzz(name: str, order: Order) -> Tally:
    """``count`` inputs of one target; what memory the process takes may not grow without bound."""
    tally, target = Tally(), TARGETS[name]
    chance = order.random("fuzz", name)
    begin = resident()
    for data in inputs(target, name, chance):
        if tally.runs >= order.count or not order.goes_on(tally):
            break
        finding, refused = keeps_the_rule(target, data)
        tally.note(finding and f"{name}: {finding}: {data[:200]!r}", refused=refused)
    if resident() - begin > _GROWTH:
        tally.note(f"{name}: memory grew by {(resident() - begin) >> 20} MiB", refused=False)
    return tally


def resident() -> int:
    """The most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def every_target(order: Order) -> Tally:
    """``count`` inputs of each target, by mutation."""
    return _together(order, fuzz)


def guided(order: Order) -> Tally:
    """``count`` inputs guided by the code that they reach (atheris): of each target in a process of its own, or of all
    in one where they are few.
    """
    if find_spec("atheris") is None:
        raise Unable("atheris is not installed")
    return _guided("all", order) if order.count < _FEW else _together(order, _guided)


def _together(order: Order, each: Callable[[str, Order], Tally]) -> Tally:
    whole = Tally()
    for name in TARGETS:
        tally = each(name, order)
        whole.refused += tally.refused
        whole.harmless += tally.harmless
        whole.wrong += tally.wrong
        whole.findings += tally.findings
        if not order.goes_on(whole):
            break
    return whole


def _guided(name: str, order: Order) -> Tally:
    folder = order.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, (own, target) in enumerate(TARGETS.items()):
        for index, data in enumerate(target.corpus(own) if name in (own, "all") else ()):
            (folder / f"{own}-{index}").write_bytes(bytes([number]) + data if name == "all" else data)
    still = 1 if name == "all" else len(TARGETS) - list(TARGETS).index(name)
    left = (order.deadline - time.monotonic()) / still
    limit = [f"-max_total_time={max(1, int(left))}"] if left < float("inf") else []
    command = [sys.executable, "-m", "tests.fuzz", name, f"-runs={order.count}", f"-seed={order.seed + 1}", *limit]
    command += ["-rss_limit_mb=2048", f"-timeout={int(SECONDS)}", "-max_len=65536", str(folder)]
    command += [f"-artifact_prefix={order.folder}/{name}-crash-", "-verbosity=0"]
    # Linux counts into the peak memory of a program that of the process that became it, and the shell has little.
    command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    tally, kept = Tally(), sorted(order.folder.glob(f"{name}-crash-*"))
    if done.returncode and not kept:
        raise Unable(f"fuzzing {name} was not finished (exit code {done.returncode}): {done.stderr[-300:]}")
    if kept:
        tally.note(f"{name}: {_said(done.stderr)}: {kept[0].name}: {kept[0].read_bytes()[:400]!r}", refused=False)
    else:
        tally.harmless += order.count
    return tally


def _said(stderr: str) -> str:
    """What libFuzzer says was wrong, without the bytes that it prints after it."""
    begin = max(stderr.find("Uncaught Python exception"), stderr.find("ERROR: libFuzzer"), 0)
    return stderr[begin : begin + 1500]

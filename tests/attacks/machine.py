"""A stateful model: write, tamper, certify, read in any order; what is handed out was certified last, or nothing is."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import prep
from prep.blocks import Array
from prep.errors import PrepError, UsageError
from prep.gate import CertifiedDataset
from tests.attacks.campaigns import remove
from tests.attacks.tiny import VARIANTS as WAYS
from tests.attacks.tiny import Tiny, admitted, build, everything, plain_values, same, small_chunks
from tests.torture.campaign import Order, Tally

VARIANTS = ("hdf5", "hdf5-gzip", "zarr", "zarr-files")
_LONG_RUN = 200


class Model(RuleBasedStateMachine):
    """One project. ``certified`` are the values that may be handed out; none where there is no certificate."""

    projects: ClassVar[Mapping[str, tuple[Tiny, Tiny]]]
    folder: ClassVar[Path]
    tally: ClassVar[Tally]
    count: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.tiny: Tiny | None = None
        self.certified: Mapping[str, Array] | None = None
        self.opened: tuple[CertifiedDataset, Mapping[str, Array]] | None = None

    @precondition(lambda self: self.tiny is None)
    @rule(variant=st.sampled_from(VARIANTS))
    def begin(self, variant: str) -> None:
        """A certified project of this variant, and one of other values beside it."""
        self.variant = variant
        first, self.other = self.projects[variant]
        self.tiny = first.copied(self.folder / str(next(self.count)))
        self.certified = first.values

    @precondition(lambda self: self.tiny is not None)
    @rule(sidecar=st.integers(0, 9), place=st.integers(0, 1 << 30), bit=st.integers(0, 7))
    def flip(self, sidecar: int, place: int, bit: int) -> None:
        """Turn a bit over, most often one of the data."""
        path = self.file(sidecar, place)
        if path is None:
            return
        data = bytearray(path.read_bytes())
        if data:
            data[place % len(data)] ^= 1 << bit
            path.write_bytes(data)

    @precondition(lambda self: self.tiny is not None)
    @rule(sidecar=st.integers(0, 9), place=st.integers(0, 1 << 30), size=st.sampled_from([1, 8, 512]))
    def zero(self, sidecar: int, place: int, size: int) -> None:
        """Overwrite a block with zeros."""
        path = self.file(sidecar, place)
        if path is None:
            return
        data = bytearray(path.read_bytes())
        start = place % max(len(data), 1)
        data[start : start + size] = bytes(len(data[start : start + size]))
        path.write_bytes(data)

    @precondition(lambda self: self.tiny is not None)
    @rule(sidecar=st.integers(0, 9), place=st.integers(0, 1 << 30), drop=st.booleans())
    def shorten(self, sidecar: int, place: int, drop: bool) -> None:
        """Cut a file, or delete it."""
        path = self.file(sidecar, place)
        if path is None:
            return
        if drop:
            path.unlink()
        else:
            os.truncate(path, place % (path.stat().st_size + 1))

    @precondition(lambda self: self.tiny is not None)
    @rule(which=st.sets(st.sampled_from(["dataset", "manifest", "certificate", "lock"]), min_size=1))
    def exchange(self, which: set[str]) -> None:
        """Put parts of the other dataset here, which the lock does not pin: all of it with the lock is trust."""
        assert self.tiny is not None
        if "dataset" in which:
            self.put(self.other.path, self.tiny.path)
        for name in which - {"dataset"}:
            self.put(getattr(self.other, name), getattr(self.tiny, name))
        if "lock" in which:
            self.certified = self.other.values

    @precondition(lambda self: self.tiny is not None)
    @rule()
    def write(self) -> None:
        """Normalise again: the same values as at first, and no certificate. What was damaged beyond recognition is not
        replaced; it is moved away, as the error says.
        """
        assert self.tiny is not None
        try:
            self.normalize(self.tiny)
        except UsageError as error:
            if "move it away" not in error.remedy:
                raise
            remove(self.tiny.path)
            self.normalize(self.tiny)

    def normalize(self, tiny: Tiny) -> None:
        stats = tiny.folder / "data/stats/tiny.json"
        _, compression, sharded = WAYS[self.variant]
        with small_chunks(sharded):
            prep.normalize(
                tiny.raw,
                stats=stats,
                output=tiny.path,
                schema=tiny.schema,
                compression=compression,
                force=True,
            )

    @precondition(lambda self: self.tiny is not None)
    @rule()
    def certify(self) -> None:
        """What passes is certified with the values that lie there; what does not leaves no new trust."""
        assert self.tiny is not None
        try:
            prep.certify(self.tiny.path, schema=self.tiny.schema, lock_path=self.tiny.lock)
        except PrepError as error:
            if error.exit_code not in (1, 2, 3):
                raise
            return
        self.certified = plain_values(self.tiny.path)
        assert same(everything(admitted(self.tiny)), self.certified)

    @precondition(lambda self: self.tiny is not None)
    @rule()
    def keep_open(self) -> None:
        """Admit the dataset and keep it while other things happen."""
        assert self.tiny is not None
        try:
            self.opened = admitted(self.tiny), self.certified or {}
        except PrepError:
            self.opened = None

    @invariant()
    def only_what_was_certified_is_handed_out(self) -> None:
        """Now and through what was opened before."""
        for data, values in self.handed_out():
            assert same(data, values), "other values were handed out"

    def handed_out(self) -> list[tuple[Mapping[str, Array], Mapping[str, Array]]]:
        """What a reader gets, and what was certified."""
        found = []
        if self.tiny is not None:
            try:
                found.append((everything(admitted(self.tiny)), self.certified or {}))
                self.tally.harmless += 1
            except PrepError:
                self.tally.refused += 1
        if self.opened is not None:
            try:
                found.append((everything(self.opened[0]), self.opened[1]))
            except PrepError:
                self.opened = None
        return found

    def teardown(self) -> None:
        """Leave nothing behind."""
        if self.tiny is not None:
            shutil.rmtree(self.tiny.folder)

    def file(self, sidecar: int, place: int) -> Path | None:
        """A file of the dataset, or one of its sidecars."""
        assert self.tiny is not None
        if sidecar < 2:
            path = (self.tiny.manifest, self.tiny.certificate)[sidecar]
            return path if path.is_file() else None
        if self.tiny.path.is_file():
            return self.tiny.path
        files = sorted(each for each in self.tiny.path.rglob("*") if each.is_file())
        return files[place % len(files)] if files else None

    def put(self, source: Path, target: Path) -> None:
        """A copy in place of what is there."""
        if target.exists():
            remove(target)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copy(source, target)


def states(order: Order) -> Tally:
    """``count`` runs of 50 steps (300 in a long run) each; after every step all that is certified is read."""
    projects = {}
    for variant in VARIANTS:
        pair = [build(order.folder / f"{variant}-{seed}", variant, seed=seed) for seed in (0, 1)]
        projects[variant] = (pair[0], pair[1])
    counter = itertools.count()
    model = type("States", (Model,), {"projects": projects, "folder": order.folder, "tally": Tally(), "count": counter})
    chosen = settings(
        max_examples=order.count,
        stateful_step_count=50 if order.count <= _LONG_RUN else 300,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        phases=[Phase.generate],  # what is found is repeated by its seed; to shorten it takes minutes
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(hypothesis.seed(order.seed)(model), settings=chosen)
    except Exception as error:
        model.tally.note(f"{type(error).__name__}: {error} {getattr(error, '__notes__', '')}", refused=False)
    return model.tally

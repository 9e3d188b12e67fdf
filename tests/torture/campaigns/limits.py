"""Too little: a limit on the size of files, on memory, and a small file system that others have filled."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.torture.campaign import Order, Tally, Unable, scratch
from tests.torture.cases import Case, cases
from tests.torture.runner import Ended, Faults, Runner

_LARGEST_FILE = 60_000
# What is said goes to a file too.
_LEAST = 2_000
_MEMORY = 1 << 30
_DISK = 2 << 20
_NOBODY = 65534


def file_sizes(order: Order) -> Tally:
    """RLIMIT_FSIZE: exit code 4 and the old state, or the work is done."""
    return _limited(order, "FSIZE", _LARGEST_FILE)


def memory(order: Order) -> Tally:
    """RLIMIT_DATA, little above what the process has when it begins: the same."""
    return _limited(order, "DATA", _MEMORY)


def _limited(order: Order, name: str, most: int) -> Tally:
    tally, random = Tally(), order.random(name)
    with Runner() as runner:
        tried = cases(order.folder, runner)
        while tally.runs < order.count and order.goes_on(tally):
            case = random.choice(tried)
            size = _LEAST + int(most * random.random() ** 3)
            project = case.fresh(order.folder / "try")
            ended = runner.run(*case.arguments, cwd=project, faults=Faults(limits={name: size}))
            finding = ended.complaint(0, 4) or case.settled(project, runner)
            tally.note(finding and f"{case.name}, RLIMIT_{name} {size}: {finding}", refused=ended.code != 0)
    return tally


def full_disk(order: Order) -> Tally:
    """A file system of 2 MiB that others have filled up to some level: the same."""
    tally, random = Tally(), order.random("disk")
    with Runner() as runner, mounted(order.folder / "disk", f"size={_DISK}") as disk:
        tried = cases(order.folder, runner)
        while tally.runs < order.count and order.goes_on(tally):
            case: Case = random.choice(tried)
            project = case.fresh(disk / "try")
            others = disk / "others"
            left = int((400 << 10) * random.random() ** 2)
            with others.open("wb") as file:
                file.write(bytes(max(0, shutil.disk_usage(disk).free - left)))
            ended = runner.run(*case.arguments, cwd=project)
            others.unlink()
            finding = ended.complaint(0, 4) or case.settled(project, runner)
            tally.note(finding and f"{case.name}, {left} bytes free: {finding}", refused=ended.code != 0)
            shutil.rmtree(disk / "try")
    return tally


def read_only(order: Order) -> Tally:
    """A read-only file system, and folders that the user may not write to: exit code 4, nothing changes.

    Root may write anywhere, so that folders are tried as another user then. Where mounting is not permitted only they
    are tried.
    """
    tally = Tally()
    ways = [_on_read_only_folders]
    with suppress(Unable), mounted(order.folder / "probe", "size=64k"):
        ways.append(_on_read_only_file_system)
    with Runner() as runner:
        for case in cases(order.folder, runner, fresh=order.count == 0):
            for way in ways:
                if not order.goes_on(tally):
                    return tally
                project = case.fresh(order.folder / "try")
                (project.parent / "cache").mkdir()
                finding = way(case, project, runner).complaint(4) or case.settled(project, runner)
                tally.note(finding and f"{case.name}, {way.__name__}: {finding}", refused=True)
    return tally


def _on_read_only_file_system(case: Case, project: Path, runner: Runner) -> Ended:
    with mounted(project.parent, "ro", bind=project.parent):
        return runner.run(*case.arguments, cwd=project)


def _on_read_only_folders(case: Case, project: Path, runner: Runner) -> Ended:
    user = _NOBODY if os.geteuid() == 0 else 0
    if user:
        _open_the_way(project)
    folders = [project.parent, *(each for each in project.parent.rglob("*") if each.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        return runner.run(*case.arguments, cwd=project, faults=Faults(uid=user))
    finally:
        for folder in folders:
            folder.chmod(0o755)


def _open_the_way(place: Path) -> None:
    """Let other users go to a temporary folder; `Unable` where what is closed to them is not temporary."""
    for folder in place.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            if not {Path(tempfile.gettempdir()), Path(scratch() or tempfile.gettempdir())} & {*folder.parents}:
                raise Unable(f"another user cannot go to {folder}")
            folder.chmod(mode | 0o011)


@contextmanager
def mounted(folder: Path, options: str, bind: Path | None = None) -> Iterator[Path]:
    """A tmpfs, or the same folder under other rules; `Unable` where this machine does not let us."""
    folder.mkdir(parents=True, exist_ok=True)
    commands = [["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]]
    if bind is not None:
        commands = [["mount", "--bind", str(bind), str(folder)]]
        commands += [["mount", "-o", f"remount,bind,{options}", str(folder)]]
    done = 0
    try:
        for command in commands:
            said = subprocess.run(command, capture_output=True, text=True, check=False)
            if said.returncode:
                raise Unable(f"mounting is not permitted here: {said.stderr.strip()}")
            done += 1
        yield folder
    finally:
        if done:
            subprocess.run(["umount", str(folder)], check=True)

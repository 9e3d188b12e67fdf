"""The parent's end of one child: started, asked, judged when it dies, ended with its parent."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from prep.errors import PrepError
from prep.isolation.answers import Answer
from prep.isolation.failures import from_data, printable
from prep.isolation.frames import receive, send
from prep.isolation.limits import MIB, Limits
from prep.isolation.refusals import defect, died, kills, nonsense, not_started
from prep.memory import thread_pool

START_SECONDS = 120.0
_END_SECONDS = 5.0
# Isolated (-I: no PYTHON* variables, no user site, no working directory), no site hooks, nothing written.
_FLAGS = ("-I", "-S", "-B", "-X", "utf8")
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from prep.isolation.child import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
# Where shared libraries lie is the one thing of the environment that a child may need to start.
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # libhdf5 looks for no plugins, whatever filter a file asks for
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
    # Memory of one block of rows is used again for the next (glibc): new pages cost more than the reading.
    "MALLOC_MMAP_THRESHOLD_": str(32 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
}


class Lost(Exception):  # noqa: N818 -- told to `sessions`, which decides what it means
    """The child died or was ended over a question; ``refusal`` is what that says about the file."""

    def __init__(self, refusal: PrepError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Child:
    """One child process, for one thread at a time, which starts while this one goes on.

    Raises `UnfinishedError` where it cannot be started; that it did not get ready shows with the first question.
    ``answered`` is how many questions it has answered, ``holds`` whose file it holds open.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.holds: object = None
        ours, its = socket.socketpair()
        self._channel = ours
        with its:
            try:
                self._process = _spawner().submit(_spawn, its).result()
            except (OSError, RuntimeError, ValueError, MemoryError) as error:
                ours.close()
                raise not_started(str(error) or "too little memory") from error
        self._release = weakref.finalize(self, _end, ours, self._process, os.getpid())
        _CHILDREN.add(self)
        self._ready = False
        self._started = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._release.alive and self._process.poll() is None

    def end(self) -> None:
        """Kill it and let go of it; nothing happens where that is done."""
        self._release()

    def kill(self) -> None:
        """Kill it, from any thread: the one that waits for its answer finds it dead."""
        if self._release.alive:
            self._process.kill()

    def ask(
        self, task: str, arguments: Any, *, path: Path, limits: Limits, file: int = -1, keep: bool = False, most: int
    ) -> Answer:
        """Its answer, with parts of at most ``most`` bytes, to a question about ``file``, or the file it holds.

        Raises the `PrepError` that it answers with, and `Lost` where it gives no answer that makes sense.
        """
        self._greet()
        until = time.monotonic() + limits.wall
        question = {
            "task": task,
            "arguments": arguments,
            "path": str(path),
            "keep": keep,
            "memory": limits.memory,
            "processor": limits.processor,
        }
        try:
            send(self._channel, question, file=file, until=until)
            value, parts = receive(self._channel, most=most, until=until)
            answer = Answer(value, parts)
            (kind, content) = answer.items()[0]
            failure = from_data(content.value) if kind == "error" else None
            if kind not in ("answer", "error", "exhausted", "defect"):
                raise ValueError("neither an answer nor an error")
            told = printable(content.text()) if kind == "defect" else ""
        except TimeoutError:
            self.end()
            raise Lost(kills(path, f"no answer within {limits.wall:.0f} s", limits)) from None
        except (EOFError, OSError):
            raise Lost(self._judged(path, limits)) from None
        except (ValueError, IndexError) as error:
            self.end()
            raise Lost(nonsense(path, error)) from error
        except BaseException:
            self.end()  # interrupted: the next answer would be the one to this question
            raise
        if failure is not None:
            self.answered += 1
            raise failure
        if kind == "answer":
            self.answered += 1
            return content
        self.end()
        if kind == "exhausted":
            raise Lost(kills(path, f"more than {limits.memory // MIB} MiB of memory asked for", limits))
        raise Lost(defect(path, told[:500]))

    def _greet(self) -> None:
        """Wait until it is ready; raises `UnfinishedError`."""
        if self._ready:
            return
        try:
            greeting, _ = receive(self._channel, most=0, until=self._started + START_SECONDS)
            if greeting != {"ready": self.pid}:
                raise ValueError("it does not say that it is ready")
        except TimeoutError as error:
            self.end()
            raise not_started(f"not ready within {START_SECONDS:.0f} s") from error
        except (EOFError, OSError, ValueError) as error:
            said = _last_words(self._process)
            self.end()
            raise not_started(said or str(error) or "it ended at once") from error
        except BaseException:
            self.end()
            raise
        if self._process.stderr:
            self._process.stderr.close()
        self._ready = True

    def _judged(self, path: Path, limits: Limits) -> PrepError:
        """What the end of the process says about the file."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        status = self._process.returncode
        self.end()
        return died(path, status, limits)


def command(channel: int) -> list[str]:
    """The command line of a child that serves the descriptor ``channel``."""
    own = str(Path(__file__).absolute().parents[2])
    places = [os.path.abspath(place) for place in sys.path if place]
    if own not in places:
        places.insert(0, own)
    return [sys.executable, *_FLAGS, "-c", _BOOT, str(channel), str(os.getpid()), json.dumps(places)]


def _spawn(channel: socket.socket) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return subprocess.Popen(
        command(channel.fileno()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**kept, **_ENVIRONMENT},
        cwd="/",
        pass_fds=(channel.fileno(),),
        process_group=0,  # Ctrl-C in a terminal goes to a process group
    )


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """The last line on stderr of a process that ends; empty where it said nothing, or still runs."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    if process.stderr is None:
        return ""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        text = os.read(process.stderr.fileno(), 1 << 16) if selector.select(0) else b""
    return next((line for line in reversed(text.decode(errors="replace").splitlines()) if line.strip()), "")


def _end(channel: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    channel.close()
    if process.stderr:
        process.stderr.close()
    if os.getpid() != owner:
        process.returncode = 0  # it is not ours to wait for
        return
    with suppress(OSError):
        process.kill()
    process.wait()


# Linux kills a child when the *thread* that started it ends, so that has to be one that lasts as long as the process.
_SPAWNERS: dict[int, ThreadPoolExecutor] = {}
_CHILDREN: weakref.WeakSet[Child] = weakref.WeakSet()


def _spawner() -> ThreadPoolExecutor:
    if os.getpid() not in _SPAWNERS:
        _SPAWNERS[os.getpid()] = thread_pool(1, "prep-isolation")
    return _SPAWNERS[os.getpid()]


def _forget() -> None:
    """After a fork: the children are those of the parent, and end when nobody but it has kept their sockets."""
    for child in list(_CHILDREN):
        child.end()
    _SPAWNERS.clear()


os.register_at_fork(after_in_child=_forget)

"""One tree of errors: a stable code, where it happened, measured against allowed, the remedy, the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

LONGEST = 2000  # characters that are shown of one value
EXIT_OK, EXIT_DATA, EXIT_USAGE, EXIT_INTEGRITY, EXIT_UNFINISHED, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130
EXIT_UNREAD = 141  # of the command line alone: who read its output stopped, as a shell tells of SIGPIPE
_PRECEDENCE = (EXIT_INTERRUPTED, EXIT_UNFINISHED, EXIT_INTEGRITY, EXIT_USAGE, EXIT_DATA)


@dataclass(frozen=True, slots=True)
class Where:
    """The place an error is about; every part is optional.

    ``samples`` are sample indices in stored order (the ``sample`` dimension of the file), ``rows`` the first and last
    of a range of them, ``line`` is 1-based.
    """

    path: str = ""
    dataset: str = ""
    field: str = ""
    split: str = ""
    samples: tuple[int, ...] = ()
    chunk: int | None = None
    key: str = ""
    line: int | None = None
    rows: tuple[int, int] | None = None

    def __str__(self) -> str:
        parts = [self.path] if self.path else []
        if self.line is not None:
            parts = [f"{self.path}:{self.line}"]
        for label in ("dataset", "field", "split", "key"):
            if value := getattr(self, label):
                parts.append(f"{label} {value}")
        if self.chunk is not None:
            parts.append(f"chunk {self.chunk}")
        if self.rows is not None:
            first, last = self.rows
            parts.append(f"samples {first} to {last}" if first < last else f"sample {first}")
        if self.samples:
            shown = ", ".join(str(index) for index in self.samples[:5])
            more = f" and {len(self.samples) - 5} more" if len(self.samples) > 5 else ""
            parts.append(f"sample{'s' if len(self.samples) > 1 else ''} {shown}{more}")
        return ", ".join(parts)


class PrepError(Exception):
    """Base of every error a user can cause; never raised itself.

    ``what`` is one sentence, ``measured`` and ``allowed`` the two sides of the comparison that failed, ``remedy`` what
    to do next. ``str()`` is the whole message as a person reads it.
    """

    code: ClassVar[str] = "prep"
    exit_code: ClassVar[int] = EXIT_UNFINISHED

    def __init__(
        self,
        what: str,
        *,
        where: Where | None = None,
        measured: object = None,
        allowed: object = None,
        remedy: str,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where or Where()
        self.measured = measured
        self.allowed = allowed
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.measured, self.allowed, self.remedy))

    def __str__(self) -> str:
        lines = [f"{self.code}: {self.what}"]
        if place := str(self.where):
            lines.append(f"  where:    {place}")
        if self.measured is not None:
            lines.append(f"  measured: {shortened(self.measured)}")
        if self.allowed is not None:
            lines.append(f"  allowed:  {shortened(self.allowed)}")
        lines.append(f"  remedy:   {self.remedy}")
        return "\n".join(map(printable, lines))

    def to_dict(self) -> dict[str, Any]:
        """The same content as a JSON-ready mapping (for ``--json``)."""
        where = {key: value for key, value in asdict(self.where).items() if value not in ("", (), None)}
        return {
            "code": self.code,
            "exit_code": self.exit_code,
            "what": self.what,
            "where": where,
            "measured": None if self.measured is None else shortened(self.measured),
            "allowed": None if self.allowed is None else shortened(self.allowed),
            "remedy": self.remedy,
        }


def shortened(value: object, longest: int = LONGEST) -> str:
    """What a stranger has written may be of any length."""
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 sample", "2,000 samples", "1 matrix"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    """Names of files and digests of strangers reach the terminal as text, never as commands or lines of their own."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _rebuild(
    kind: type[PrepError], what: str, where: Where, measured: object, allowed: object, remedy: str
) -> PrepError:
    return kind(what, where=where, measured=measured, allowed=allowed, remedy=remedy)


class DataError(PrepError):
    """The data failed a check or cannot be normalised as asked."""

    code, exit_code = "data", EXIT_DATA


class UsageError(PrepError):
    """A command or function was called with something it cannot take."""

    code, exit_code = "usage", EXIT_USAGE


class ConfigError(UsageError):
    """A configuration file is wrong."""

    code = "config"


class SchemaError(UsageError):
    """A dataset schema is wrong, incomplete, or asks for something that does not exist."""

    code = "schema"


class IntegrityError(PrepError):
    """Stored bytes are not what they should be: truncated, changed, or not a dataset at all."""

    code, exit_code = "integrity", EXIT_INTEGRITY


class CertificateError(IntegrityError):
    """A certificate is missing, does not hold, or does not satisfy the consumer's policy."""

    code = "certificate"


class UnfinishedError(PrepError):
    """The work could not be finished, so nothing was decided about the data."""

    code, exit_code = "unfinished", EXIT_UNFINISHED


class StorageError(UnfinishedError):
    """The file system refused: disk full, permission denied, I/O error."""

    code = "storage"


class InterruptedRunError(UnfinishedError):
    """The user stopped a run that can go on later."""

    code, exit_code = "interrupted", EXIT_INTERRUPTED


class Refusal(PrepError):  # noqa: N818 -- it is a list of errors
    """Several errors at once; its exit code is the most serious of them."""

    code = "refused"

    def __init__(self, errors: Iterable[PrepError]) -> None:
        self.errors: Sequence[PrepError] = tuple(errors)
        first = self.errors[0]
        super().__init__(
            f"{len(self.errors)} reasons", where=first.where, remedy="mend them in the order they are listed"
        )

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return worst_exit_code(error.exit_code for error in self.errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Refusal, (self.errors,))

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "exit_code": self.exit_code,
            "reasons": [error.to_dict() for error in self.errors],
        }


def worst_exit_code(codes: Iterable[int]) -> int:
    """The one exit code that stands for several: not finished before integrity before usage before data before
    success.
    """
    seen = set(codes)
    return next((code for code in _PRECEDENCE if code in seen), EXIT_OK)

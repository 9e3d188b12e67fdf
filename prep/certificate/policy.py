"""What a consumer demands of a certificate; nothing in the dataset or the environment can lower it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from prep.certificate import moments
from prep.certificate.statement import Statement
from prep.errors import CertificateError, PrepError, UsageError, Where

if TYPE_CHECKING:
    from packaging.version import Version

Level = Literal["sealed", "signed"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True)
class Policy:
    """What is demanded; everything that is left at its default is not.

    ``level`` ``sealed``: pinned in prep.lock, or signed; ``signed``: by ``threshold`` distinct trusted keys.
    ``dataset`` is the id that is expected, ``minimum_version`` the oldest version that will do (PEP 440), ``schema``
    and ``check_registry`` the digests (one, or several of which any will do) that the data have to have been judged by,
    ``max_age_days`` how long ago at most they were certified. ``strict`` refuses warnings too. Rules of trust.toml
    come on top; a `UsageError` is raised for what cannot be demanded.
    """

    level: Level = "sealed"
    dataset: str = ""
    strict: bool = False
    schema: str | tuple[str, ...] = ()
    threshold: int = 1
    minimum_version: str = ""
    check_registry: str | tuple[str, ...] = ()
    max_age_days: float | None = None

    def __post_init__(self) -> None:
        for name in ("dataset", "minimum_version"):
            if not isinstance(getattr(self, name), str):
                raise _no_policy("this is no text", name, getattr(self, name), "a text")
        for name in ("schema", "check_registry"):
            found = getattr(self, name)
            if not all(isinstance(each, str) for each in (found if isinstance(found, tuple) else (found,))):
                raise _no_policy("this is no digest", name, found, "blake3:<64 hex digits>, or a tuple of them")
        if not isinstance(self.strict, bool):
            raise _no_policy("this is neither yes nor no", "strict", self.strict, "True or False")
        if not isinstance(self.level, str) or self.level not in LEVELS:
            raise _no_policy("there is no such level", "level", self.level, ", ".join(LEVELS))
        if not isinstance(self.threshold, int) or isinstance(self.threshold, bool) or self.threshold < 1:
            raise _no_policy("a threshold counts keys", "threshold", self.threshold, "a whole number from 1")
        if self.minimum_version and version(self.minimum_version) is None:
            raise _no_policy("this is no version", "minimum_version", self.minimum_version, "PEP 440, such as 1.2.0")
        age = self.max_age_days
        if age is not None and (type(age) not in (int, float) or not 0 < age < 1_000_000):
            raise _no_policy("an age is a number of days", "max_age_days", self.max_age_days, "a number above 0")

    def judge(self, statement: Statement, path: str, at: datetime | None = None, source: str = "") -> list[PrepError]:
        """Every reason to refuse; empty where the statement satisfies the policy.

        ``at`` is the present where more is known of it than this machine's clock says, and ``source`` says by what.
        Signatures are not judged here.
        """
        where = Where(path=path, dataset=statement.dataset)
        at, known = at or moments.now(), f", {source}" if source else ""
        claims = (*self._content(statement), *self._judged_by(statement), *self._time(statement, at, known))
        return [
            CertificateError(what, where=where, measured=measured, allowed=allowed, remedy=remedy)
            for what, measured, allowed, remedy in claims
        ]

    def _content(self, statement: Statement) -> Iterator[tuple[str, str, str, str]]:
        allowed = ("passed",) if self.strict else ("passed", "warnings")
        if statement.verdict not in allowed:
            yield (
                "the certified report is not a pass",
                statement.verdict,
                " or ".join(allowed),
                "mend the data, then `prep validate` and `prep certify` again",
            )
        if self.dataset and statement.dataset != self.dataset:
            yield (
                "this is the certificate of another dataset",
                statement.dataset,
                self.dataset,
                "give the path of the dataset you mean",
            )
        if self.minimum_version:
            found, least = version(statement.version), version(self.minimum_version)
            if found is None or (least is not None and found < least):
                older = "is no version that can be compared" if found is None else "is older than the consumer allows"
                yield (
                    f"the version of this dataset {older}",
                    statement.version,
                    f"{self.minimum_version} or newer",
                    "get the current version of the data; an old one may have been put back on purpose",
                )

    def _judged_by(self, statement: Statement) -> Iterator[tuple[str, str, str, str]]:
        for demanded, found, noun in (
            (_several(self.schema), _digest(statement.claims, "schema"), "another schema"),
            (_several(self.check_registry), _digest(statement.claims, "check_registry"), "other checks"),
        ):
            if demanded and found not in demanded:
                yield (
                    f"the data were certified by {noun} than the project has now",
                    found,
                    " or ".join(demanded),
                    "run `prep validate` and `prep certify` on the dataset: it may not pass any more",
                )

    def _time(self, statement: Statement, at: datetime, known: str) -> Iterator[tuple[str, str, str, str]]:
        created = _moment(statement.created)
        clock = moments.now()
        if created is None or created > clock + moments.SKEW:
            yield (
                "the certificate says that it was made in the future"
                if created
                else "the certificate does not say when it was made",
                f"created {statement.created!r}",
                f"at most a day after this machine's clock, {_shown(clock)}",
                "set this machine's clock; if it is right, that of the certifier was not: have it certified again",
            )
        elif self.max_age_days is not None and created + timedelta(days=self.max_age_days) < at:
            yield (
                "the certificate is too old",
                f"created {_shown(created)}, {(at - created).days} days ago",
                f"{self.max_age_days:g} days{known}",
                "have the dataset certified again: prep certify --renew",
            )
        if statement.expires:
            until = _moment(statement.expires)
            if until is None or until <= at:
                yield (
                    "the certificate has expired",
                    f"valid until {statement.expires}",
                    f"a moment after {_shown(at)}{known}",
                    "have the dataset certified again: prep certify --expires 90d",
                )


def version(text: str) -> Version | None:
    """A version that can be compared (PEP 440), or nothing."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except (InvalidVersion, TypeError):
        return None


def _several(digests: str | tuple[str, ...]) -> tuple[str, ...]:
    return ((digests,) if digests else ()) if isinstance(digests, str) else digests


def _digest(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    return str(found.get("digest") if isinstance(found, Mapping) else found)


def _moment(text: str) -> datetime | None:
    try:
        return moments.parse(text)
    except ValueError:
        return None


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _no_policy(what: str, key: str, measured: object, allowed: str) -> UsageError:
    return UsageError(what, where=Where(key=key), measured=measured, allowed=allowed, remedy=f"mend {key}")

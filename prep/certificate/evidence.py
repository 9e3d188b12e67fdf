"""Whether somebody whom the consumer trusts stands behind an envelope: a lock that pins it, or keys that signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from prep.blocks import DatasetSpec
from prep.certificate import lock, moments
from prep.certificate.envelope import Envelope
from prep.certificate.policy import Level, Policy
from prep.certificate.statement import Statement
from prep.certificate.tree import meaning
from prep.certificate.trust import Trust, TrustedKey
from prep.errors import CertificateError, PrepError, Refusal, Where

_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody whose signature counted."""

    owner: str
    key: str

    def __str__(self) -> str:
        return f"{self.owner} (key {self.key[:_SHOWN]}…)"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an admitted dataset is trusted: the level that it reaches, who signed, whether prep.lock pins it."""

    level: Level
    signers: tuple[Signer, ...]
    pinned: bool

    def __str__(self) -> str:
        how = f"signed by {', '.join(map(str, self.signers))}" if self.signers else ""
        return " and ".join(filter(None, (how, "pinned in the lock" if self.pinned else "")))


@dataclass(frozen=True)
class Evidence:
    """What there is to trust the envelope at ``path`` by: the pins of ``lock_path`` and the keys of ``trust``."""

    sealed: Envelope
    pins: Mapping[str, lock.Pin]
    trust: Trust
    lock_path: Path
    path: Path | str

    @cached_property
    def _signatures(self) -> tuple[tuple[TrustedKey, ...], tuple[str, ...]]:
        """The trusted keys that signed, and what the other signatures call their keys."""
        owners = {each.key: each for each in self.trust.keys}
        found, rest = self.sealed.signers(owners) if self.sealed.signatures else ((), ())
        return tuple(owners[key] for key in found), tuple(dict.fromkeys(_hint(each.keyid) for each in rest))

    @property
    def now(self) -> datetime:
        """The present: not before the latest moment that the project has recorded, so that nothing that had expired by
        then comes to life again. A moment in the lock that is more than a day ahead of this machine's clock is not
        believed: it would end everything for good.
        """
        return self._present[0]

    @cached_property
    def _present(self) -> tuple[datetime, str]:
        """The present, and where it is recorded; nowhere, if this machine's clock says it."""
        clock = moments.now()
        known = [(each.revoked.at, f"as {self.trust.path} says of {each}") for each in self.trust.keys if each.revoked]
        for name, pin in self.pins.items():
            with suppress(ValueError):
                known.append((moments.parse(pin.created), f"as {self.lock_path} pins {name}"))
                if known[-1][0] > clock + moments.SKEW:
                    known.pop()
        return max(((clock, ""), *known))

    def demand_trust(self, policy: Policy) -> None:
        """Unless the lock pins the payload, or a trusted key that is valid signed it, a `CertificateError` or a
        `Refusal` that says why: the payload must not be parsed then.
        """
        if self.sealed.digest in {pin.certificate for pin in self.pins.values()} or self._counted(None):
            return
        if policy.level == "signed":
            _raise(self._unsigned(None, policy.threshold))
        raise self._unpinned(None)

    def judge(self, statement: Statement, policy: Policy) -> Standing:
        """How the dataset is trusted; otherwise every reason against it at once, those of the policy, of the rules of
        trust.toml, of the signatures and of the lock.
        """
        policies = (policy, *self.trust.policies(statement.dataset))
        threshold = max(each.threshold for each in policies)
        where = Where(path=str(self.path), dataset=statement.dataset)
        reasons = [
            *(reason for each in policies for reason in each.judge(statement, str(self.path), *self._present)),
            *self._withdrawn(statement, where),
        ]
        counted = self._counted(statement.dataset)
        signed = len(counted) >= threshold
        pin = self.pins.get(statement.dataset)
        pinned = pin is not None and pin.certificate == self.sealed.digest
        if any(each.level == "signed" for each in policies):
            reasons += [] if signed else self._unsigned(statement.dataset, threshold)
        elif not signed and not pinned:
            reasons.append(self._unpinned(statement.dataset, threshold))
        if pin is not None and (signed or pinned) and (pin.version, pin.root) != (statement.version, statement.root):
            reasons.append(self._moved_on(pin, statement, where))
        _raise(reasons)
        signers = tuple(Signer(each.owner, each.key.id) for each in counted)
        return Standing("signed" if signed else "sealed", signers, pinned)

    def demand_meaning(self, spec: DatasetSpec) -> None:
        """`CertificateError` unless another certificate than the pinned one speaks of data that also mean the same."""
        pin = self.pins.get(spec.name)
        if pin is None or pin.certificate == self.sealed.digest or pin.meaning == meaning(spec):
            return
        raise CertificateError(
            "the project's lock pins other data of this name",
            where=Where(path=str(self.path), dataset=spec.name),
            measured=f"the pinned values with other transforms, statistics or attributes, {meaning(spec)}"
            if pin.meaning
            else f"another certificate, {self.sealed.digest}, and a lock that does not say what the values mean",
            allowed=f"{pin.meaning or pin.certificate}, as {self.lock_path} pins",
            remedy=f"get the pinned data; to move on to these, run `prep certify {self.path}` and review the lock, "
            "or take the entry out of the lock",
        )

    def stands_behind(self, dataset: str, root: str) -> bool:
        """Whether the lock pins the payload for ``dataset``, or a trusted key that counts for it signed, and nobody
        withdrew it.
        """
        pin = self.pins.get(dataset)
        pinned = pin is not None and pin.certificate == self.sealed.digest
        return not self.trust.withdrawal(self.sealed.digest, root) and (pinned or bool(self._counted(dataset)))

    def _counted(self, dataset: str | None) -> tuple[TrustedKey, ...]:
        return tuple(each for each in self._signatures[0] if not each.objection(dataset, self.now))

    def _unsigned(self, dataset: str | None, threshold: int) -> list[PrepError]:
        """Why there are not ``threshold`` signatures that count."""
        where = Where(path=str(self.path), dataset=dataset or "")
        signed, unknown = self._signatures
        counted = self._counted(dataset)
        reasons: list[PrepError] = [
            CertificateError(
                f"this certificate is signed by a key that {objection.what}",
                where=where,
                measured=f"{each}, {objection.detail}",
                allowed=f"a key of {self.trust.path} that is valid {self._shown_now} and for this dataset",
                remedy="ask the owner of the data for a signature by a key that is valid, or mend trust.toml",
            )
            for each in signed
            if (objection := each.objection(dataset, self.now))
        ]
        if unknown:
            reasons.append(
                CertificateError(
                    "this certificate is signed by a key that is not trusted",
                    where=where,
                    measured=f"signed in the name of {', '.join(unknown)}",
                    allowed=self._known_keys(),
                    remedy="if you know whose key it is, ask for the public key and run `prep trust add`",
                )
            )
        if not self.sealed.signatures:
            reasons.append(
                CertificateError(
                    "the consumer demands a signature and this certificate has none",
                    where=where,
                    measured="no signature",
                    allowed="one by a trusted key" if threshold == 1 else f"{threshold} by distinct trusted keys",
                    remedy="ask the owner of the data to sign it: prep certify --key, or demand the sealed level",
                )
            )
        elif counted or threshold > 1:
            reasons.append(
                CertificateError(
                    f"this certificate has {len(counted)} of {threshold} signatures that are demanded",
                    where=where,
                    measured=", ".join(map(str, counted)) or "no key that counts",
                    allowed=f"{threshold} distinct trusted keys; a key counts once",
                    remedy="ask another trusted person to examine and sign it: prep certify --key",
                )
            )
        return reasons

    def _unpinned(self, dataset: str | None, threshold: int = 1) -> CertificateError:
        why = ""
        if self.sealed.signatures:
            why = "; " + "; ".join(f"{each.what}: {each.measured}" for each in self._unsigned(dataset, threshold))
        return CertificateError(
            "this certificate is not the one that the project's lock pins",
            where=Where(path=str(self.path), dataset=dataset or ""),
            measured=self.sealed.digest + why,
            allowed=f"a certificate pinned in {self.lock_path}, or signed by keys of {self.trust.path}",
            remedy=f"if you trust the data, run `prep certify {self.path}` to examine and pin it; "
            "else restore the original",
        )

    def _withdrawn(self, statement: Statement, where: Where) -> Iterable[PrepError]:
        if reason := self.trust.withdrawal(self.sealed.digest, statement.root):
            yield CertificateError(
                "this dataset has been withdrawn",
                where=where,
                measured=f"{statement.root}: {reason}",
                allowed=f"data that {self.trust.path} does not list as revoked",
                remedy="use another version of the data; nothing makes this one valid again",
            )

    def _moved_on(self, pin: lock.Pin, statement: Statement, where: Where) -> CertificateError:
        return CertificateError(
            "the project's lock pins other data of this name",
            where=where,
            measured=f"{statement.version} {statement.root}",
            allowed=f"{pin.version} {pin.root}, as {self.lock_path} pins",
            remedy=f"get the pinned data; to move on to these, run `prep certify {self.path}` and review the lock, "
            "or take the entry out of the lock",
        )

    @property
    def _shown_now(self) -> str:
        at, source = self._present
        return f"at {at:%Y-%m-%d %H:%M} UTC, {source}," if source else "now"

    def _known_keys(self) -> str:
        if not self.trust.keys:
            return f"a key of {self.trust.path}, which lists none"
        return f"one of the {len(self.trust.keys)} keys of {self.trust.path}"


def _hint(keyid: str) -> str:
    """What a signature calls its key, as far as it can be shown: anybody may have written it."""
    if not keyid:
        return "no key"
    plain = keyid if keyid.isprintable() and keyid.isascii() else ascii(keyid)
    return f"key {plain}" if len(plain) <= _SHOWN else f"key {plain[:_SHOWN]}…"


def _raise(reasons: Iterable[PrepError]) -> None:
    unique = {(each.what, str(each.measured), str(each.allowed)): each for each in reasons}
    if len(unique) == 1:
        raise next(iter(unique.values()))
    if unique:
        raise Refusal(unique.values())

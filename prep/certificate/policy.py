"""What a consumer demands of a certificate; nothing in the dataset or the environment can lower it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from prep.certificate.statement import Statement
from prep.errors import CertificateError, PrepError, Where

Level = Literal["sealed", "signed"]


@dataclass(frozen=True, slots=True)
class Policy:
    """``dataset`` (if given) is the id the consumer expects, ``schema`` the digest of the schema that its data have to
    have been judged by, ``strict`` refuses warnings too.
    """

    level: Level = "sealed"
    dataset: str = ""
    strict: bool = False
    schema: str = ""

    def judge(self, statement: Statement, *, path: str) -> list[PrepError]:
        """Every reason to refuse; empty where the statement satisfies the policy."""
        where = Where(path=path, dataset=statement.dataset)
        reasons: list[PrepError] = []
        allowed = ("passed",) if self.strict else ("passed", "warnings")
        if statement.verdict not in allowed:
            reasons.append(
                CertificateError(
                    "the certified report is not a pass",
                    where=where,
                    measured=statement.verdict,
                    allowed=" or ".join(allowed),
                    remedy="mend the data, then `prep validate` and `prep certify` again",
                )
            )
        if self.dataset and statement.dataset != self.dataset:
            reasons.append(
                CertificateError(
                    "this is the certificate of another dataset",
                    where=where,
                    measured=statement.dataset,
                    allowed=self.dataset,
                    remedy="give the path of the dataset you mean",
                )
            )
        judged_by = statement.claims["schema"]["digest"]
        if self.schema and judged_by != self.schema:
            reasons.append(
                CertificateError(
                    "the data were certified by another schema than the project has now",
                    where=where,
                    measured=judged_by,
                    allowed=self.schema,
                    remedy="run `prep validate` and `prep certify` on the dataset: it may not pass any more",
                )
            )
        if statement.expires and _passed(statement.expires):
            reasons.append(
                CertificateError(
                    "the certificate has expired",
                    where=where,
                    measured=statement.expires,
                    allowed="a moment in the future",
                    remedy="run `prep certify` again",
                )
            )
        return reasons


def _passed(moment: str) -> bool:
    try:
        return datetime.fromisoformat(moment) <= datetime.now(UTC)
    except (TypeError, ValueError):
        return True

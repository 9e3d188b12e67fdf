"""How an attack has to end: refused with the exit code of its kind and a text that names cause and place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import prep
from prep.errors import PrepError
from tests.attacks.tiny import Tiny, consume, forge_manifest, same
from tests.conftest import ROOT, working_in


def refused(action: Callable[[], object], cause: str, *codes: int, where: str = "") -> PrepError:
    """The error that ``action`` ends in: one of the exit codes (3), a remedy, a text that names cause and place."""
    with pytest.raises(PrepError) as caught:
        action()
    text = str(caught.value)
    assert caught.value.exit_code in (codes or (3,)), text
    assert caught.value.remedy
    assert cause in text, text
    assert where in text, text
    return caught.value


def refused_when_used(tiny: Tiny, *causes: str) -> PrepError:
    """Admitting the dataset or reading it is refused, with one of the causes in the text (any where none is given).

    So is verifying it deeply.
    """
    refusal: PrepError | None = None
    try:
        values = consume(tiny)
    except PrepError as error:
        refusal = error
    else:
        kept = "the certified values" if same(values, tiny.values) else "OTHER values"
    assert refusal is not None, f"the attacked dataset was accepted and handed out {kept}"
    assert refusal.exit_code == 3, str(refusal)
    assert not causes or any(cause in str(refusal) for cause in causes), str(refusal)
    refused(lambda: prep.verify(tiny.path, deep=True, lock_path=tiny.lock), "")
    return refusal


def refused_when_certified(tiny: Tiny, cause: str, *codes: int, certify: str | None = None) -> PrepError:
    """`prep validate` and `prep certify` (its cause may be another) refuse the dataset; it has no certificate then.

    The attacker has written a manifest that fits what was done to the container, where that is possible.
    """
    tiny.certificate.unlink(missing_ok=True)
    fits = forge_manifest(tiny)
    with working_in(tiny.folder):
        (outcome,) = prep.validate(tiny.path)
        assert outcome.exit_code() in (codes or (3,)), outcome
        said = (
            str(outcome.error)
            if outcome.error
            else "\n".join(
                f"{each.check} {each.finding.message} {each.finding.limit}" for each in outcome.report.failed
            )
        )
        assert cause in said, said
        error = refused(
            lambda: prep.certify(tiny.path), (cause if certify is None else certify) if fits else "", *codes
        )
    assert not tiny.certificate.exists()
    return error


def run(folder: Path, *arguments: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python with these arguments in ``folder`` and with these environment variables, as a user would start it."""
    places = [environment.pop("PYTHONPATH", ""), str(ROOT), os.environ.get("PYTHONPATH", "")]
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), **environment}
    if "HDF5_PLUGIN_PRELOAD" not in environment:
        known.pop("HDF5_PLUGIN_PRELOAD", None)  # `import prep` has set it here, and users have it from nowhere
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=known,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def command(folder: Path, *arguments: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """`prep` with these arguments."""
    return run(folder, "-m", "prep", *arguments, timeout=timeout, **environment)


def printed(folder: Path, code: str, timeout: float = 60, **environment: str) -> object:
    """What a Python program prints as JSON: how the plain library is shown to be fooled in a process of its own."""
    done = run(folder, "-c", code, timeout=timeout, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

"""Make the frozen datasets of this version once: `python -m tests.golden.make`. Those that exist are never replaced.

Each folder ``<format>-by-<version>/<storage>/`` is a project: a dataset with its sidecars, prep.lock, and trust.toml
with the public key that signed. The private key is forgotten.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import prep
from prep.certificate import envelope, lock, manifest
from tests.attacks.tiny import VARIANTS, build
from tests.conftest import working_in

HERE = Path(__file__).parent


def make(variant: str) -> Path:
    """One frozen dataset; returns its folder."""
    container, _, storage = variant.partition("-")
    target = HERE / f"{container}-by-{version('prep-certified')}" / (storage or "plain")
    if target.exists():
        return target
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        tiny = build(project, variant)
        with working_in(project):
            key = prep.new_key(project / "key.pem")
            prep.certify(tiny.path, keys=[project / "key.pem"], renew=True)
            prep.trust_key(key.key.text, owner="maker of the frozen datasets", datasets=["tiny"])
        target.mkdir(parents=True)
        for suffix in ("", envelope.SUFFIX, manifest.SUFFIX):
            shutil.move(f"{tiny.path}{suffix}", target)
        for name in (lock.NAME, lock.TRUST_NAME):
            shutil.move(project / name, target)
    return target


if __name__ == "__main__":
    for each in VARIANTS:
        print(make(each))

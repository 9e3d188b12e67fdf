"""Signed data from one project to another, by the command line alone: signed, moved, trusted, revoked, expired."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prep import cli
from prep.certificate import lock, moments
from tests.signing import NAME, build_tiny, moved

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command line in a folder."""

    def command(folder: Path, *arguments: object) -> int:
        monkeypatch.chdir(folder)
        return cli.run([str(each) for each in arguments])

    return command


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    """A project with a normalised dataset."""
    build_tiny(tmp_path / "owner")
    return tmp_path / "owner"


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    """Another project, which knows nothing yet."""
    folder = tmp_path / "consumer"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return folder


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_signed_data_go_from_one_project_to_another(
    run: Run, owner: Path, consumer: Path, capsys: pytest.CaptureFixture[str]
):
    made = owner / f"data/normalized/{NAME}.h5"
    assert run(owner, "key", "new", "ada.pem", "--json", "-") == 0
    ada = answer(capsys)
    assert run(owner, "certify", made, "--key", "ada.pem") == 0
    hint = next(line for line in capsys.readouterr().out.splitlines() if "prep trust add" in line)
    assert f"prep trust add {ada['public']} --owner NAME --dataset {NAME}" in hint

    there = moved(made, consumer / "elsewhere")
    assert not (consumer / lock.NAME).exists()
    assert run(consumer, "verify", there, "--require", "signed") == 3
    assert "signed by a key that is not trusted" in capsys.readouterr().err

    assert run(consumer, "trust", "add", ada["public"], "--owner", "Ada", "--dataset", "tiny-*") == 0
    capsys.readouterr()
    assert run(consumer, "verify", there, "--require", "signed", "--json", "-") == 0
    verified = answer(capsys)
    assert (verified["level"], verified["pinned"]) == ("signed", False)
    assert verified["signers"] == [{"owner": "Ada", "key": ada["id"]}]
    assert run(consumer, "verify", there) == 0
    assert "level signed: signed by Ada" in capsys.readouterr().out

    assert run(consumer, "trust", "revoke", "Ada", "--reason", "laptop stolen") == 0
    capsys.readouterr()
    assert run(consumer, "verify", there, "--require", "signed") == 3
    assert "laptop stolen" in capsys.readouterr().err
    assert run(consumer, "trust", "list", "--json", "-") == 0
    (listed,) = answer(capsys)["keys"]
    assert (listed["owner"], listed["counts"]) == ("Ada", False)
    assert run(consumer, "trust", "list") == 0
    assert "has been revoked" in capsys.readouterr().out


def test_an_expired_certificate_is_refused_until_it_is_renewed(
    run: Run, owner: Path, consumer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    made = owner / f"data/normalized/{NAME}.h5"
    assert run(owner, "key", "new", "ada.pem") == 0
    assert run(owner, "certify", made, "--key", "ada.pem", "--expires", "90d") == 0
    assert run(consumer, "trust", "add", owner / "ada.pem.pub", "--owner", "Ada") == 0
    assert run(consumer, "verify", moved(made, consumer), "--require", "signed") == 0

    later = datetime.now(UTC) + timedelta(days=91)
    monkeypatch.setattr(moments, "now", lambda: later)
    capsys.readouterr()
    assert run(consumer, "verify", consumer / "renamed.h5", "--require", "signed") == 3
    assert "the certificate has expired" in capsys.readouterr().err

    again = date.fromordinal(later.toordinal() + 5).isoformat()
    assert run(owner, "certify", made, "--key", "ada.pem", "--expires", again) == 0
    assert run(consumer, "verify", moved(made, consumer), "--require", "signed") == 0


def test_two_people_are_two_keys(run: Run, owner: Path, consumer: Path, capsys: pytest.CaptureFixture[str]):
    made = owner / f"data/normalized/{NAME}.h5"
    for name in ("ada", "bob"):
        assert run(owner, "key", "new", f"{name}.pem") == 0
        assert run(consumer, "trust", "add", owner / f"{name}.pem.pub", "--owner", name) == 0
    with (consumer / "trust.toml").open("a") as file:
        file.write(f'\n[[dataset]]\nname = "{NAME}"\nlevel = "signed"\nthreshold = 2\n')

    assert run(owner, "certify", made, "--key", "ada.pem", "--key", "ada.pem") == 0
    there = moved(made, consumer)
    body = json.loads(there.with_name(there.name + ".cert.json").read_text())
    assert len(body["signatures"]) == 1
    body["signatures"].append({**body["signatures"][0], "keyid": "somebody else"})
    there.with_name(there.name + ".cert.json").write_text(json.dumps(body))
    capsys.readouterr()
    assert run(consumer, "verify", there) == 3
    assert "1 of 2 signatures" in capsys.readouterr().err

    assert run(owner, "certify", made, "--key", "bob.pem") == 0
    assert run(consumer, "verify", moved(made, consumer)) == 0
    assert "signed by ada" in capsys.readouterr().out


def test_training_refuses_a_seal_where_a_signature_is_demanded(
    run: Run, owner: Path, capsys: pytest.CaptureFixture[str]
):
    made = owner / f"data/normalized/{NAME}.h5"
    assert run(owner, "certify", made) == 0
    assert run(owner, "train", made, "--require", "signed", "--epochs", "1", "--device", "cpu") == 3
    assert "the consumer demands a signature and this certificate has none" in capsys.readouterr().err
    assert not (owner / "runs").exists()

    assert run(owner, "key", "new", "ada.pem") == 0
    assert run(owner, "certify", made, "--key", "ada.pem") == 0
    assert run(owner, "trust", "add", "ada.pem.pub", "--owner", "Ada", "--trust", "mine.toml") == 0
    assert run(owner, "train", made, "--require", "signed", "--epochs", "1", "--device", "cpu") == 3
    assert (
        run(owner, "train", made, "--require", "signed", "--trust", "mine.toml", "--epochs", "1", "--device", "cpu")
        == 0
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "x.h5", "--require", "none"),
        ("certify", "x.h5", "--expires", "soon"),
        ("certify", "x.h5", "--key", "nowhere.pem"),
        ("key", "show", "nowhere.pem"),
        ("trust", "add", "nowhere.pem", "--owner", "Ada"),
        ("trust", "add", "ed25519:AAAA", "--owner", "Ada"),
        ("trust", "revoke", "Ada", "--reason", "x"),
        ("trust", "list", "--trust", "nowhere.toml"),
        ("trust",),
    ],
)
def test_a_mistake_is_a_usage_error(
    run: Run, consumer: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert run(consumer, *arguments) == 2
    shown = capsys.readouterr()
    assert "remedy" in shown.err or "Usage" in shown.out + shown.err
    assert "Traceback" not in shown.err
    assert os.listdir(consumer) == ["pyproject.toml"]

"""`keys rotate`: what is rotated, and when it is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.keys import rotate_keys
from cli.output import CommandError
from common.approval.signing import Signer
from common.approval.types import Decision, Verdict
from common.key_ring import rotate
from common.settings import Settings


def settings(folder: Path, **more: str) -> Settings:
    return Settings.read({"HIBERNAUT_DATA_DIR": str(folder), **more})


def test_both_key_files_gain_a_key_and_a_ring_at_work_takes_it_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the old one signed still counts, and a process that runs accepts what the new one signs."""
    found = settings(tmp_path)
    at_work = Signer.load(found, create=True)
    rotate(tmp_path / "payload.keys")
    now = datetime.now(UTC)
    decision = Decision(
        id="d", request_id="r", digest="0" * 64, verdict=Verdict.APPROVE, by="ann", through="cli", at=now
    )
    old = at_work.sign(decision, "a", now)
    rotate_keys(found, as_json=True)
    rotated = json.loads(capsys.readouterr().out)
    assert set(rotated) == {"payload", "approval"}
    assert (tmp_path / "payload.keys").read_text().startswith(rotated["payload"] + ":")
    new = Signer.load(found).sign(decision, "a", now)
    assert new.signature is not None
    assert new.signature.key_id == rotated["approval"]
    for signed in (old, new):
        assert at_work.flaw(signed, "a") is None
        assert Signer.load(found).flaw(signed, "a") is None


def test_it_does_not_turn_encryption_on(tmp_path: Path) -> None:
    """A first key is written only where encryption is asked for."""
    Signer.load(settings(tmp_path), create=True)
    rotate_keys(settings(tmp_path), as_json=False)
    assert not (tmp_path / "payload.keys").exists()
    rotate_keys(settings(tmp_path, HIBERNAUT_ENCRYPTION="migrate"), as_json=False)
    assert (tmp_path / "payload.keys").exists()


def test_it_is_refused_where_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    """Keys of the environment, and no key files."""
    with pytest.raises(CommandError, match="no key file"):
        rotate_keys(settings(tmp_path), as_json=False)
    for name in ("HIBERNAUT_PAYLOAD_KEYS", "HIBERNAUT_APPROVAL_KEYS"):
        with pytest.raises(CommandError, match=name):
            rotate_keys(settings(tmp_path, **{name: "k1:" + "ab" * 32}), as_json=False)

"""What people and browsers carry for the gateway: approval links, signed values, local tokens."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output import CommandError
from common.approval.link import ApprovalLink, BadLinkError, decision_id
from common.approval.signed import sign, verify
from common.approval.signing import Signer
from common.client.tokens import Scope, TokenFile, operator_token
from common.key_ring import KeyRing
from common.settings import Settings, SettingsError
from starter import app

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RING = Signer(KeyRing.of({"new": b"n" * 32, "old": b"o" * 32}))
LINK = ApprovalLink(
    agent="buyer-1",
    request_id="approval-1",
    digest="d" * 64,
    approver="ann",
    expires_at=NOW + timedelta(days=1),
)


def test_a_link_comes_back_as_it_was_made() -> None:
    """Also under a key that no longer signs, and with names of any script."""
    assert ApprovalLink.read(LINK.token(RING), RING, NOW) == LINK
    rotated = Signer(KeyRing.of({"newest": b"x" * 32, "new": b"n" * 32}))
    assert ApprovalLink.read(LINK.token(RING), rotated, NOW) == LINK
    other = LINK.model_copy(update={"approver": "Ångström 李"})
    assert ApprovalLink.read(other.token(RING), RING, NOW) == other


def test_a_link_ends_at_its_hour() -> None:
    """Not a moment later."""
    token = LINK.token(RING)
    ApprovalLink.read(token, RING, LINK.expires_at - timedelta(seconds=1))
    with pytest.raises(BadLinkError, match="expired at 2026-11-25 12:00 UTC"):
        ApprovalLink.read(token, RING, LINK.expires_at)


@given(st.data())
def test_a_link_changed_anywhere_is_no_link(data: st.DataObject) -> None:
    """One character more, less or other; so one link has one spelling, and one decision id."""
    token = LINK.token(RING)
    position = data.draw(st.integers(0, len(token) - 1))
    sign = data.draw(st.sampled_from("AZaz09-_.=%é"))
    for changed in (
        token[:position] + sign + token[position + 1 :],
        token[:position] + token[position + 1 :],
        token[:position] + sign + token[position:],
    ):
        if changed != token:
            with pytest.raises(BadLinkError):
                ApprovalLink.read(changed, RING, NOW)


def test_what_is_signed_for_one_purpose_is_nothing_for_another() -> None:
    """A session cannot be made of a link, nor a link of a form; and a foreign key signs nothing."""
    signed = sign(["ann"], "session", RING)
    assert verify(signed, "session", RING) == ["ann"]
    for purpose, signer in (
        ("approval link", RING),
        ("session", Signer(KeyRing.of({"new": b"f" * 32}))),
        ("", RING),
    ):
        with pytest.raises(ValueError, match="signature"):
            verify(signed, purpose, signer)
    with pytest.raises(SettingsError, match="HIBERNAUT_APPROVAL_KEYS"):
        sign([], "session", Signer(KeyRing.of({})))


def test_the_decision_of_a_link_has_one_id() -> None:
    """By the link and how often it was refused before."""
    token = LINK.token(RING)
    assert decision_id(token) == decision_id(token)
    assert len({decision_id(token), decision_id(token, 1), decision_id(token + "a")}) == 3


def test_the_token_file_keeps_no_token(tmp_path: Path) -> None:
    """Digests only, mode 0600, changes seen at once; one that others may read is not believed."""
    tokens = TokenFile(tmp_path / "tokens.json")
    assert tokens.find("guess") is None
    token = tokens.add("ann", [Scope.READ])
    assert token not in tokens.file.read_text()
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600
    reader = TokenFile(tokens.file)
    found = reader.find(token)
    assert found is not None
    assert (found.subject, found.scopes) == ("ann", {Scope.READ})
    tokens.file.write_text("{}")
    os.utime(tokens.file, ns=(1, 1))  # a file system with coarse times must not hide the change
    assert reader.find(token) is None
    tokens.file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        reader.find(token)


def test_the_stack_keeps_its_operator_token(tmp_path: Path) -> None:
    """The same over restarts, 0600, added again where the file was lost; other entries stay."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_USER": "me"})
    token = operator_token(settings)
    other = TokenFile.of(settings).add("ann", [Scope.READ])
    assert operator_token(settings) == token
    assert stat.S_IMODE((tmp_path / "operator.token").stat().st_mode) == 0o600
    assert TokenFile.of(settings).find(other) is not None
    (tmp_path / "tokens.json").unlink()
    assert operator_token(settings) == token
    entry = TokenFile.of(settings).find(token)
    assert entry is not None
    assert (entry.subject, entry.scopes) == ("me", {Scope.OPERATOR})


def test_tokens_are_made_and_revoked_at_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed once and alone on stdout; revoked are all of one person's; nobody has a group's name."""
    monkeypatch.setenv("HIBERNAUT_DATA_DIR", str(tmp_path))

    def starter(*words: str) -> tuple[str, str]:
        app(["tokens", *words], standalone_mode=False)
        said = capsys.readouterr()
        return said.out, said.err

    token, said = starter("add", "ann")
    assert "shown this once" in said
    reader = json.loads(starter("add", "ann", "--scope", "agents:read", "--json")[0])["token"]
    other, _ = starter("add", "bob", "--scope", "operator")
    tokens = TokenFile(tmp_path / "tokens.json")
    own, read, all = (tokens.find(each.strip()) for each in (token, reader, other))
    assert own is not None
    assert own.scopes == {Scope.READ, Scope.WRITE, Scope.DECIDE}
    assert read is not None
    assert (read.subject, read.scopes) == ("ann", {Scope.READ})
    assert json.loads(starter("revoke", "ann", "--json")[0]) == {"subject": "ann", "revoked": 2}
    assert tokens.find(token.strip()) is None
    assert tokens.find(other.strip()) == all
    for words in (("revoke", "ann"), ("add", "@desk"), ("add", " ann")):
        with pytest.raises(CommandError):
            starter(*words)


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080"])
def test_no_link_leads_to_every_interface(address: str) -> None:
    """Whoever listens everywhere says how people reach the gateway: a link to 0.0.0.0 leads nowhere."""
    with pytest.raises(SettingsError, match="set HIBERNAUT_PUBLIC_URL"):
        Settings.read({"HIBERNAUT_HTTP": address})
    public = "https://agents.example.com"
    read = Settings.read({"HIBERNAUT_HTTP": address, "HIBERNAUT_PUBLIC_URL": public})
    assert (read.http.port, read.http.public_url) == (8080, public)

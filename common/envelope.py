"""Signing and checking decisions: HMAC-SHA256 under a ring of keys.

The door that took a decision signs it for one agent, one request, one digest, one approver and a time;
the gate has it checked before it counts, and the destructive activity checks it once more.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from common import key_ring
from common.approval import Authorization, Decision, Signature, Verdict, Vote
from common.digest import canonical, digest
from common.directory import Directory
from common.errors import permanent
from common.settings import APPROVAL_KEYS, Settings

# Long enough for a worker that is down over a week of holidays; a buffered decision waits for it.
ENVELOPE_LIFETIME = timedelta(days=14)


class KeyRing:
    """Named keys: the first signs, all verify."""

    def __init__(self, keys: dict[str, bytes], ring: key_ring.KeyRing | None = None) -> None:
        self._keys, self._ring = keys, ring

    @classmethod
    def load(cls, settings: Settings, *, create: bool = False) -> KeyRing:
        """The ring from the settings, or from the embedded stack's key file.

        Args:
            settings: where to look: the setting ``HIBERNAUT_APPROVAL_KEYS``, else ``approval.keys`` in the
                data folder, which may gain keys while this process runs.
            create: write a new key file where there is none (the embedded stack does).

        Raises:
            SettingsError: the keys cannot be read.
        """
        file = settings.data_dir / "approval.keys"
        if not settings.approval_keys and create and not file.exists():
            _create_key_file(file)
        return cls({}, key_ring.KeyRing(settings.approval_keys, file, APPROVAL_KEYS.variable))

    def sign(self, decision: Decision, agent: str, now: datetime) -> Decision:
        """``decision`` in an envelope for ``agent``; unchanged where the ring is empty."""
        key_id = self._ring.first if self._ring else next(iter(self._keys), "")
        if not key_id:
            return decision
        signature = Signature(agent=agent, expires_at=now + ENVELOPE_LIFETIME, key_id=key_id, mac="")
        mac = self._mac(decision, signature)
        return decision.model_copy(update={"signature": signature.model_copy(update={"mac": mac})})

    def flaw(self, decision: Decision, agent: str) -> str | None:
        """What is wrong with the signature of ``decision`` for ``agent``; None where it is good."""
        signature = decision.signature
        if signature is None:
            return "unsigned"
        if self._secret(signature.key_id) is None:
            return f"signed with an unknown key {signature.key_id!r}"
        if not hmac.compare_digest(self._mac(decision, signature), signature.mac):
            return "the signature does not fit the decision"
        if signature.agent != agent:
            return f"signed for another agent, {signature.agent!r}"
        return None

    def _mac(self, decision: Decision, signature: Signature) -> str:
        # The empty mac stands in the signed bytes in place of itself.
        sealed = decision.model_copy(update={"signature": signature.model_copy(update={"mac": ""})})
        secret = self._secret(signature.key_id) or b""
        return hmac.new(secret, canonical(sealed), hashlib.sha256).hexdigest()

    def _secret(self, id: str) -> bytes | None:
        return self._keys.get(id) or (self._ring.find(id) if self._ring is not None else None)


class Authority:
    """Decides which decisions hold, under the keys, groups and rules of this process's settings."""

    def __init__(self, ring: KeyRing, directory: Directory, *, accept_unsigned: bool) -> None:
        self._ring = ring
        self._directory = directory
        self._accept_unsigned = accept_unsigned

    @classmethod
    def load(cls, settings: Settings, *, create: bool = False) -> Authority:
        """The authority of these settings; ``create`` as for ``KeyRing.load``.

        Raises:
            SettingsError: keys or groups cannot be read.
        """
        ring = KeyRing.load(settings, create=create)
        return cls(ring, Directory.load(settings), accept_unsigned=settings.accept_unsigned)

    def flaw(self, decision: Decision, agent: str) -> str | None:
        """What is wrong with the envelope of ``decision`` for ``agent``; None where it may count."""
        if decision.signature is None and self._accept_unsigned:
            return None
        return self._ring.flaw(decision, agent)

    def groups_of(self, who: str) -> list[str]:
        """The groups that ``who`` is in now."""
        return self._directory.groups_of(who)

    def authorize(self, authorization: Authorization | None, plan: BaseModel, agent: str) -> Authorization:
        """The `authorization`, if it allows `agent` to act on exactly this `plan`.

        Raises:
            ApplicationError: type `NotAuthorized`, with what is wrong.
        """
        flaw = self._flaw_for(authorization, plan, agent) if authorization else "no approval came with it"
        if authorization is None or flaw:
            raise permanent("NotAuthorized", flaw or "")
        return authorization

    def _flaw_for(self, authorization: Authorization, plan: BaseModel, agent: str) -> str | None:
        people = {vote.decision.by for vote in authorization.votes}
        if len(people) < authorization.policy.quorum:
            return f"{len(people)} of {authorization.policy.quorum} approvals came with it"
        flaws = (self._flaw_in_vote(vote, authorization, plan, agent) for vote in authorization.votes)
        if flaw := next(filter(None, flaws), None):
            return flaw
        key = authorization.key
        is_for_this = key.startswith(f"{agent}:") and key.endswith(f":{digest(plan)}")
        return None if is_for_this else "its key is for another action"

    def _flaw_in_vote(
        self, vote: Vote, authorization: Authorization, plan: BaseModel, agent: str
    ) -> str | None:
        decision, policy = vote.decision, authorization.policy
        if decision.verdict not in (Verdict.APPROVE, Verdict.REVISE):
            return f"the decision is {decision.verdict}, not an approval"
        shown = {**plan.model_dump(mode="json"), **vote.replaced}
        if decision.digest != digest(shown):
            return "the decision is for another plan"
        if not _is_edited(shown, decision.edits, plan):
            return "the plan is not what the decision's edits make of it"
        if decision.signature and decision.signature.expires_at <= datetime.now(UTC):
            return f"its envelope expired at {decision.signature.expires_at:%Y-%m-%d %H:%M} UTC"
        return (
            self.flaw(decision, agent)
            or policy.bars_edits(decision.edits)
            or policy.bars(
                decision.by,
                self.groups_of(decision.by),
                requester=authorization.requester,
                escalated=authorization.escalated,
            )
        )


def _is_edited(shown: dict[str, Any], edits: dict[str, JsonValue], plan: BaseModel) -> bool:
    try:
        return digest(type(plan).model_validate({**shown, **edits})) == digest(plan)
    except ValidationError:
        return False


def _create_key_file(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(f"dev-{secrets.token_hex(2)}:{secrets.token_hex(32)}\n")
    temporary.rename(file)

"""Signing and checking decisions: HMAC-SHA256 under a ring of keys.

The door that took a decision signs it for one agent, one request, one digest, one approver and a time;
the gate has it checked before it counts, and the destructive activity checks it once more.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from common.approval.groups import Directory
from common.approval.types import Authorization, Decision, Signature, Verdict, Vote
from common.digest import canonical, digest
from common.errors import permanent
from common.key_ring import KeyRing, rotate
from common.settings import Settings, SettingsError

# Long enough for a worker that is down over a week of holidays; a buffered decision waits for it.
ENVELOPE_LIFETIME = timedelta(days=14)


class Signer:
    """Signs what doors hand out, and tells what was signed here. An empty ring signs nothing."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @classmethod
    def load(cls, settings: Settings, *, create: bool = False) -> Signer:
        """A signer with the keys of the settings, or of the embedded stack's key file.

        Args:
            settings: where to look: the setting ``HIBERNAUT_APPROVAL_KEYS``, else ``approval.keys`` in the
                data folder, which may gain keys while this process runs.
            create: write a new key file where there is none (the embedded stack does).

        Raises:
            SettingsError: the keys cannot be read.
        """
        file = settings.data_dir / "approval.keys"
        if create and not settings.approval_keys and not file.exists():
            rotate(file)
        return cls(KeyRing(settings.approval_keys, file, "HIBERNAUT_APPROVAL_KEYS"))

    def sign(self, decision: Decision, agent: str, now: datetime) -> Decision:
        """``decision`` in an envelope for ``agent``; unchanged where the ring is empty."""
        if not self._ring:
            return decision
        expires_at = (now + ENVELOPE_LIFETIME).replace(microsecond=0)
        signature = Signature(agent=agent, expires_at=expires_at, key_id=self._ring.first, mac="")
        mac = _mac(decision, signature, self._ring.find(signature.key_id) or b"")
        return decision.model_copy(update={"signature": signature.model_copy(update={"mac": mac})})

    def flaw(self, decision: Decision, agent: str) -> str | None:
        """What is wrong with the signature of ``decision`` for ``agent``; None where it is good."""
        signature = decision.signature
        if signature is None:
            return "unsigned"
        key = self._ring.find(signature.key_id)
        if key is None:
            return f"signed with an unknown key {signature.key_id!r}"
        if not _same(_mac(decision, signature, key), signature.mac):
            return "the signature does not fit the decision"
        if signature.agent != agent:
            return f"signed for another agent, {signature.agent!r}"
        return None

    def seal(self, purpose: str, data: bytes) -> tuple[str, str]:
        """The signing key's id, and the hexadecimal MAC of ``data``, which holds for this ``purpose`` alone.

        Raises:
            SettingsError: the ring is empty.
        """
        if not self._ring:
            raise SettingsError("HIBERNAUT_APPROVAL_KEYS: set a key; nothing can be signed without.")
        return self._ring.first, _mac_for(purpose, data, self._ring.find(self._ring.first) or b"")

    def is_sealed(self, purpose: str, data: bytes, key_id: str, mac: str) -> bool:
        """Whether ``mac`` is what ``seal`` gave for the same ``purpose`` and ``data`` under that key."""
        key = self._ring.find(key_id)
        return key is not None and _same(_mac_for(purpose, data, key), mac)


def _mac(decision: Decision, signature: Signature, key: bytes) -> str:
    # The empty mac stands in the signed bytes in place of itself.
    sealed = decision.model_copy(update={"signature": signature.model_copy(update={"mac": ""})})
    mac = hmac.digest(key, canonical(sealed), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _mac_for(purpose: str, data: bytes, key: bytes) -> str:
    # A key of its own for each purpose, so that nothing signed for one can pass for another.
    return hmac.new(hmac.digest(key, purpose.encode(), "sha256"), data, hashlib.sha256).hexdigest()


def _same(mac: str, given: str) -> bool:
    """Compared in constant time; as bytes, for what is given may be any text."""
    return hmac.compare_digest(mac.encode(), given.encode("utf-8", "replace"))


class Authority:
    """Decides which decisions hold, under the keys, groups and rules of this process's settings."""

    def __init__(self, signer: Signer, directory: Directory, *, accept_unsigned: bool) -> None:
        self._signer = signer
        self._directory = directory
        self._accept_unsigned = accept_unsigned

    @classmethod
    def load(cls, settings: Settings, *, create: bool = False) -> Authority:
        """The authority of these settings; ``create`` as for ``Signer.load``.

        Raises:
            SettingsError: keys or groups cannot be read.
        """
        signer = Signer.load(settings, create=create)
        return cls(signer, Directory.load(settings), accept_unsigned=settings.accept_unsigned)

    def flaw(self, decision: Decision, agent: str) -> str | None:
        """What is wrong with the envelope of ``decision`` for ``agent``; None where it may count."""
        if decision.signature is None and self._accept_unsigned:
            return None
        return self._signer.flaw(decision, agent)

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

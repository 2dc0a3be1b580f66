"""Signing and verifying decisions: HMAC-SHA256 under a ring of keys.

The entry point that takes a decision signs it for one agent, request, digest and approver, and for a time.
The gate has it verified before it counts, and the destructive activity verifies it again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError
from temporalio.activity import Info

from common.agents.fork import hold
from common.approval.action_log import ActionLog, ForgottenActError
from common.approval.floors import Floors
from common.approval.groups import Directory
from common.approval.stakes import Stakes, stakes_of
from common.approval.types import Authorization, Decision, Signature, Verdict, Vote
from common.digest import canonical, digest
from common.errors import permanent
from common.key_ring import KeyRing, rotate
from common.settings import Settings, SettingsError

# Error type if the operator's policy does not allow a destructive activity, or no longer does.
POLICY_REFUSED = "PolicyRefused"

# A decision waits at the server for a worker that may be down over a week of holidays.
ENVELOPE_LIFETIME = timedelta(days=14)


class Signer:
    """Signs what entry points hand out, and verifies what comes back. An empty ring signs nothing."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @classmethod
    def load(cls, settings: Settings, *, create: bool = False) -> Signer:
        """A signer with the keys of the settings, or of the embedded stack's key file.

        Args:
            settings: ``HIBERNAUT_APPROVAL_KEYS`` holds the keys, else the file ``approval.keys`` in the data
                folder does, which may gain keys while this process runs.
            create: write a key file if there is none, as the embedded stack does.

        Raises:
            SettingsError: the keys cannot be read.
        """
        file = settings.data_dir / "approval.keys"
        if create and not settings.approval_keys and not file.exists():
            rotate(file)
        return cls(KeyRing(settings.approval_keys, file, "HIBERNAUT_APPROVAL_KEYS"))

    def sign(self, decision: Decision, agent: str, now: datetime) -> Decision:
        """``decision`` in an envelope for ``agent``; unchanged if the ring is empty."""
        if not self._ring:
            return decision
        expires_at = (now + ENVELOPE_LIFETIME).replace(microsecond=0)
        signature = Signature(agent=agent, expires_at=expires_at, key_id=self._ring.first, mac="")
        mac = _mac(decision, signature, self._ring.find(signature.key_id) or b"")
        return decision.model_copy(update={"signature": signature.model_copy(update={"mac": mac})})

    def flaw(self, decision: Decision, agent: str) -> str | None:
        """What is wrong with the signature of ``decision`` for ``agent``; None if it is valid."""
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

    def mac(self, purpose: str, data: bytes) -> tuple[str, str]:
        """The signing key's id and the hexadecimal MAC of ``data``, valid only for this ``purpose``.

        Raises:
            SettingsError: the ring is empty.
        """
        if not self._ring:
            raise SettingsError("HIBERNAUT_APPROVAL_KEYS: set a key; nothing can be signed without.")
        return self._ring.first, _mac_for(purpose, data, self._ring.find(self._ring.first) or b"")

    def is_mac(self, purpose: str, data: bytes, key_id: str, mac: str) -> bool:
        """Whether ``mac`` is that of ``data`` for this ``purpose`` under the key ``key_id``."""
        key = self._ring.find(key_id)
        return key is not None and _same(_mac_for(purpose, data, key), mac)


def _mac(decision: Decision, signature: Signature, key: bytes) -> str:
    # The signature is part of what is signed, with its own mac left empty.
    unsigned = decision.model_copy(update={"signature": signature.model_copy(update={"mac": ""})})
    mac = hmac.digest(key, canonical(unsigned), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _mac_for(purpose: str, data: bytes, key: bytes) -> str:
    # Each purpose has a key of its own, so that nothing signed for one passes for another.
    return hmac.new(hmac.digest(key, purpose.encode(), "sha256"), data, hashlib.sha256).hexdigest()


def _same(mac: str, given: str) -> bool:
    """Compares in constant time; as bytes, because ``given`` may be any text."""
    return hmac.compare_digest(mac.encode(), given.encode("utf-8", "replace"))


class Authority:
    """Says which decisions are valid under the keys, groups and rules of this process's settings.

    Attributes:
        floors: the operator's policy.
    """

    def __init__(
        self,
        signer: Signer,
        directory: Directory,
        floors: Floors,
        acts: ActionLog | None = None,
        *,
        accept_unsigned: bool,
    ) -> None:
        self.floors = floors
        self._acts = acts
        self._signer = signer
        self._directory = directory
        self._accept_unsigned = accept_unsigned

    @classmethod
    def load(cls, settings: Settings, *, create: bool = False) -> Authority:
        """The authority of these settings; ``create`` as for ``Signer.load``.

        Raises:
            SettingsError: keys, groups or policy cannot be read.
        """
        signer, floors = Signer.load(settings, create=create), Floors.load(settings)
        floors.check()  # raises
        directory, acts = Directory.load(settings), ActionLog.of(settings)
        return cls(signer, directory, floors, acts, accept_unsigned=settings.accept_unsigned)

    def flaw(self, decision: Decision, agent: str) -> str | None:
        """What is wrong with the envelope of ``decision`` for ``agent``; None if it may count."""
        if decision.signature is None and self._accept_unsigned:
            return None
        return self._signer.flaw(decision, agent)

    @property
    def signer(self) -> Signer:
        """The signer, which verifies what these keys signed."""
        return self._signer

    def groups_of(self, who: str) -> list[str]:
        """The groups that ``who`` is in now."""
        return self._directory.groups_of(who)

    def authorize(
        self, authorization: Authorization | None, plan: BaseModel, action: Info, aside: Sequence[str] = ()
    ) -> Authorization:
        """The ``authorization``, if it and the operator's policy allow exactly this ``plan``.

        It blocks: the act is recorded in the object store before it is done.

        Args:
            authorization: what came with the request.
            plan: what is to be done.
            action: the activity that is about to do it, for its agent.
            aside: fields of its request that may differ between two attempts at the same thing.

        Raises:
            ApplicationError: permanent, saying what is wrong: type `NotAuthorized`, or `PolicyRefused` if the
                operator's policy requires more.
            SettingsError: the policy cannot be read just now.
            HeldError: the agent is a fork whose effects are held; the activity must not catch it.
            StoreUnavailableError: the act cannot be recorded just now.
        """
        agent = action.workflow_id or ""
        flaw = self._flaw_for(authorization, plan, agent) if authorization else "no approval came with it"
        if authorization is None or flaw:
            raise permanent("NotAuthorized", flaw or "")
        kind, owner = action.workflow_type or "", authorization.requester
        self.check_stakes(stakes_of(plan), authorization, action)
        raised = self.floors.raised(authorization.policy, kind, owner)
        if raised != authorization.policy:
            flaw = self._flaw_for(authorization.model_copy(update={"policy": raised}), plan, agent)
            if flaw:
                raise permanent(POLICY_REFUSED, f"the operator's policy asks for more: {flaw}")
        hold(aside)
        if self._acts:
            try:
                self._acts.record_or_refuse(authorization, agent)
            except ForgottenActError as error:
                raise permanent(POLICY_REFUSED, str(error)) from None
        return authorization

    def check_stakes(self, stakes: Stakes, authorization: Authorization, action: Info) -> None:
        """Refuse what exceeds a limit of the operator's policy; raises as ``authorize`` does."""
        flaw = self.floors.flaw(stakes, action.workflow_type or "", authorization.requester)
        if flaw:
            raise permanent(POLICY_REFUSED, flaw)

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

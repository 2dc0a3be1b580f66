"""The approval gate's rules: which decision counts, and why another does not. No Temporal in here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import BaseModel

from common.agent import Approvals
from common.approval import (
    ApprovalRequest,
    Authorization,
    Decision,
    DecisionRecord,
    DecisionStatus,
    OutcomeVerdict,
    Verdict,
)

MAX_WAITING = 100
MAX_RECORDS = 500
MAX_CLOSED = 200

Plan = TypeVar("Plan", bound=BaseModel)


@dataclass(frozen=True)
class Outcome(Generic[Plan]):
    """How a request ended. `plan` is the one to act on: as asked, or with the approver's edits."""

    verdict: OutcomeVerdict
    request: ApprovalRequest
    plan: Plan
    decision: Decision | None = None

    @property
    def approved(self) -> bool:
        """Whether the plan may be acted on."""
        return self.verdict is OutcomeVerdict.APPROVED

    @property
    def words(self) -> str:
        """The outcome for people: who said what, and through what."""
        if self.decision is None:
            return f"{self.request.id}: {self.verdict}"
        signed = "" if self.decision.signature else ", unsigned"
        note = f": {self.decision.note}" if self.decision.note else ""
        edits = f" with edits to {', '.join(self.decision.edits)}" if self.decision.edits else ""
        return (
            f"{self.request.id}: {self.verdict}{edits} by {self.decision.by} "
            f"(through {self.decision.through}{signed}){note}"
        )

    def authorization(self, key: str) -> Authorization:
        """What the destructive activity will check; only an approved outcome has one."""
        if self.decision is None or not self.approved:
            raise ValueError("only an approval authorizes an action")
        replaced = {field: self.request.plan[field] for field in self.decision.edits}
        return Authorization(decision=self.decision, replaced=replaced, key=key)


class Gate:
    """Takes decisions in and remembers each with its fate. Its memory is carried over whole."""

    def __init__(self, memory: Approvals) -> None:
        self.memory = memory

    def open(self, request: ApprovalRequest) -> None:
        """Start asking."""
        self.memory.open[request.id] = request

    def close(self, request_id: str, how: str) -> None:
        """Stop asking; later decisions for it are refused with `how`."""
        self.memory.open.pop(request_id, None)
        self.memory.closed[request_id] = how
        while len(self.memory.closed) > MAX_CLOSED:
            self.memory.closed.pop(next(iter(self.memory.closed)))

    def offer(self, decision: Decision, now: datetime) -> DecisionRecord | None:
        """Take in a decision as it arrives: buffered for its request, or refused at once.

        Returns:
            The record of the refusal; None where the decision now waits to be judged.
        """
        memory = self.memory
        known = {record.decision.id for record in memory.records} | {each.id for each in memory.waiting}
        if decision.id in known:
            return self.record(decision, now, "this decision was already received")
        if decision.request_id in memory.closed:
            return self.record(
                decision, now, f"{decision.request_id} is closed: {memory.closed[decision.request_id]}"
            )
        if decision.request_id not in memory.open and len(memory.waiting) >= MAX_WAITING:
            return self.record(decision, now, "too many decisions wait for requests that were never made")
        memory.waiting.append(decision)
        return None

    def has_decision(self, request_id: str) -> bool:
        """Whether a decision waits to be judged for this request."""
        return any(decision.request_id == request_id for decision in self.memory.waiting)

    def take(self, request_id: str) -> Decision:
        """The oldest decision that waits for this request."""
        position = next(i for i, each in enumerate(self.memory.waiting) if each.request_id == request_id)
        return self.memory.waiting.pop(position)

    def record(self, decision: Decision, now: datetime, reason: str = "") -> DecisionRecord:
        """Remember a decision as refused for `reason`, or as counted where there is none."""
        entry = DecisionRecord(
            decision=decision,
            status=DecisionStatus.REFUSED if reason else DecisionStatus.COUNTED,
            reason=reason,
            signed=decision.signature is not None,
            at=now,
        )
        self.memory.records.append(entry)
        del self.memory.records[:-MAX_RECORDS]
        return entry


def refusal(decision: Decision, request: ApprovalRequest, now: datetime, flaw: str | None) -> str | None:
    """Why `decision` does not count for the open `request`; None where it counts.

    Args:
        decision: what came.
        request: the open request it names.
        now: the agent's time.
        flaw: what the check of its envelope found.
    """
    policy = request.policy
    if flaw:
        return flaw
    if decision.signature is not None and decision.signature.expires_at <= now:
        return f"its envelope expired at {decision.signature.expires_at:%Y-%m-%d %H:%M} UTC"
    if decision.digest != request.digest:
        return f"it is for plan {decision.digest[:12]}, and {request.digest[:12]} is what is asked"
    # A signed time can be believed: a decision made in time counts also if no worker ran until later.
    decided_at = decision.at if decision.signature and decision.at else now
    if request.expires_at is not None and decided_at >= request.expires_at:
        return f"the request expired at {request.expires_at:%Y-%m-%d %H:%M} UTC"
    if decision.by not in policy.approvers:
        return f"{decision.by} is not among those who may decide"
    if decision.by == request.requester and not policy.requester_may_approve:
        return f"{decision.by} is who the agent works for, and may not approve its plans"
    return _flaw_in_edits(decision, request)


def _flaw_in_edits(decision: Decision, request: ApprovalRequest) -> str | None:
    if decision.verdict is not Verdict.REVISE:
        return "only the verdict revise takes edits" if decision.edits else None
    if not decision.edits:
        return "the verdict revise needs edits"
    foreign = sorted(set(decision.edits) - set(request.policy.editable))
    if foreign:
        may = ", ".join(request.policy.editable) or "nothing"
        return f"{', '.join(foreign)} may not be edited; what may be: {may}"
    return None

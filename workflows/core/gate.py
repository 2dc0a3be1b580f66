"""The rules of the approval gate: which decisions count, and why others do not. No Temporal in here."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from common.agents.agent import Approvals
from common.approval.types import (
    ALREADY_RECEIVED,
    Answer,
    ApprovalPolicy,
    ApprovalRequest,
    Authorization,
    Decision,
    DecisionRecord,
    DecisionStatus,
    OnExpiry,
    OutcomeVerdict,
    Verdict,
    Vote,
    in_words,
)
from common.digest import digest
from common.temporal.converter import MAX_ASKED_BYTES, check_size

MAX_WAITING = 100
MAX_RECORDS = 500
MAX_CLOSED = 200

Plan = TypeVar("Plan", bound=BaseModel)


@dataclass(frozen=True)
class Outcome(Generic[Plan]):
    """How a request ended. `plan` is the one to act on: as asked, or with the approvers' edits.

    `decision` is the one that ended the request; None if it expired.
    """

    verdict: OutcomeVerdict
    request: ApprovalRequest
    plan: Plan
    decision: Decision | None = None

    @classmethod
    def of(cls, answer: Answer, kind: type[Plan]) -> Outcome[Plan]:
        """The outcome stored as `answer`, with a plan of type `kind`."""
        return cls(answer.verdict, answer.request, kind.model_validate(answer.plan), answer.decision)

    @property
    def answer(self) -> Answer:
        """The outcome in the form in which it is stored."""
        return Answer(
            verdict=self.verdict,
            request=self.request,
            plan=self.plan.model_dump(mode="json"),
            decision=self.decision,
        )

    @property
    def approved(self) -> bool:
        """Whether the plan may be acted on."""
        return self.verdict is OutcomeVerdict.APPROVED

    @property
    def words(self) -> str:
        """The outcome for people: who said what, and through what."""
        if self.decision is None:
            return f"{self.request.id}: {self.verdict}"
        told = self.request.votes if self.approved else (Vote(decision=self.decision),)
        return f"{self.request.id}: {self.verdict} {'; '.join(in_words(vote.decision) for vote in told)}"

    @property
    def good_until(self) -> datetime | None:
        """When the first of its votes' envelopes expires; None if none does."""
        ends = [vote.decision.signature.expires_at for vote in self.request.votes if vote.decision.signature]
        return min(ends, default=None)

    def authorization(self, key: str) -> Authorization:
        """What the destructive activity will check; only an approved outcome has one."""
        if not self.approved:
            raise ValueError("only an approval authorizes an action")
        return Authorization(
            votes=self.request.votes,
            policy=self.request.policy,
            requester=self.request.requester,
            escalated=self.request.escalated,
            key=key,
        )


class Gate:
    """Receives decisions and remembers what became of each. Its whole memory is carried over.

    Ten thousand decisions may arrive in one workflow task, so handling one must not scan the others.
    """

    def __init__(self, memory: Approvals) -> None:
        self.memory = memory
        # Includes decisions whose records were dropped for newer ones in this history.
        self._known = {record.decision.id for record in memory.records} | {each.id for each in self.waiting}
        self._early = self._count_early()

    @property
    def waiting(self) -> list[Decision]:
        """The decisions that are not judged yet."""
        return [each for queue in self.memory.waiting.values() for each in queue]

    @property
    def is_flooded(self) -> bool:
        """Whether more decisions wait than may be carried over to a fresh history."""
        return sum(map(len, self.memory.waiting.values())) > MAX_WAITING

    def open(self, request: ApprovalRequest) -> None:
        """Start asking."""
        self.memory.open[request.id] = request
        self._early = self._count_early()

    def update(self, request_id: str, **changes: Any) -> ApprovalRequest:
        """Change fields of an open request, and return it."""
        request = self.memory.open[request_id].model_copy(update=changes)
        self.memory.open[request_id] = request
        return request

    def close(self, request_id: str, how: str, now: datetime) -> list[DecisionRecord]:
        """Stop asking; decisions that are still waiting, and later ones, are refused with `how`.

        Returns:
            The records of the waiting decisions that were refused.
        """
        memory = self.memory
        memory.open.pop(request_id, None)
        memory.closed[request_id] = how
        while len(memory.closed) > MAX_CLOSED:
            memory.closed.pop(next(iter(memory.closed)))
        late = memory.waiting.pop(request_id, ())
        self._early = self._count_early()
        return [self.record(each, now, f"{request_id} is closed: {how}") for each in late]

    def offer(self, decision: Decision, now: datetime) -> DecisionRecord | None:
        """Receive a decision: buffer it for its request, or refuse it at once.

        Returns:
            The record of the refusal; None if the decision now waits to be judged.
        """
        memory = self.memory
        if decision.id in self._known:
            return self.record(decision, now, ALREADY_RECEIVED)
        self._known.add(decision.id)
        if (how := memory.closed.get(decision.request_id)) is not None:
            return self.record(decision, now, f"{decision.request_id} is closed: {how}")
        if decision.request_id not in memory.open:
            if self._early >= MAX_WAITING:
                return self.record(decision, now, "too many decisions wait for requests that were never made")
            self._early += 1
        memory.waiting.setdefault(decision.request_id, deque()).append(decision)
        return None

    def next_decision(self, request_id: str) -> Decision | None:
        """The oldest decision that waits to be judged for this request; it stays queued until taken."""
        return next(iter(self.memory.waiting.get(request_id, ())), None)

    def take(self, request_id: str) -> Decision:
        """Remove and return the oldest decision that waits for this request."""
        queue = self.memory.waiting[request_id]
        decision = queue.popleft()
        if not queue:
            del self.memory.waiting[request_id]
        return decision

    def record(self, decision: Decision, now: datetime, reason: str = "") -> DecisionRecord:
        """Record a decision as refused for `reason`, or as counted if there is none."""
        status = DecisionStatus.REFUSED if reason else DecisionStatus.COUNTED
        entry = DecisionRecord.of(decision, status, now, reason)
        records = self.memory.records
        records.append(entry)
        if len(records) > MAX_RECORDS:
            # Drop refused ones first, so that no flood of them hides who decided.
            refused = (at for at, each in enumerate(records) if each.status is DecisionStatus.REFUSED)
            del records[next(refused, 0)]
        return entry

    def _count_early(self) -> int:
        """How many decisions wait for requests that were never made."""
        memory = self.memory
        return sum(len(queue) for id, queue in memory.waiting.items() if id not in memory.open)


class DueStep(Enum):
    """What falls due while a request is open."""

    EXPIRE = "expire"
    ESCALATE = "escalate"
    REMIND = "remind"


def next_step(request: ApprovalRequest) -> tuple[DueStep, datetime | None]:
    """What falls due next for an open request, and when; None means never."""
    steps: list[tuple[datetime, DueStep]] = []
    if request.expires_at:
        steps.append((request.expires_at, DueStep.EXPIRE))
    if request.escalate_at and not request.escalated:
        steps.append((request.escalate_at, DueStep.ESCALATE))
    steps += ((at, DueStep.REMIND) for at in request.remind_at[request.reminded :])
    # If two fall due together, expiry comes first: nobody is reminded of a request that is over.
    at, step = min(steps, key=lambda each: each[0], default=(None, DueStep.EXPIRE))
    return step, at


def precedes(step: DueStep, due: datetime | None, decision: Decision, now: datetime) -> bool:
    """Whether a step fell due before a decision was made, and so comes first even if no worker ran then.

    Expiry never comes first: each decision shows by its own time whether it was made before that.
    """
    return step is not DueStep.EXPIRE and due is not None and due <= made_at(decision, now)


def first_request(
    question: str, plan: BaseModel, policy: ApprovalPolicy, evidence: Sequence[str], requester: str
) -> ApprovalRequest:
    """The draft of a request, without its id and its times."""
    shown = plan.model_dump(mode="json")
    check_size(len(f"{question}{shown}{evidence}"), MAX_ASKED_BYTES, "what it asks")
    return ApprovalRequest(
        id="",
        question=question,
        plan=shown,
        digest=digest(shown),
        origin=digest(shown),
        evidence=tuple(evidence),
        policy=policy,
        requester=requester,
        asked_at=datetime.min.replace(tzinfo=UTC),
    )


def follow_up(outcome: Outcome[Any]) -> ApprovalRequest | None:
    """The draft of the request that follows an outcome; None if the outcome is final."""
    request = outcome.request
    if outcome.verdict is OutcomeVerdict.REVISED and outcome.decision:
        # Others have to approve the edited plan; whoever edited it already has.
        shown = outcome.plan.model_dump(mode="json")
        changes = {"plan": shown, "digest": digest(shown), "votes": (vote_of(outcome.decision, request),)}
        told = f"revised {in_words(outcome.decision)}"
        return request.model_copy(update={**changes, "evidence": (*request.evidence, told)})
    if outcome.verdict is not OutcomeVerdict.EXPIRED:
        return None
    if request.policy.on_expiry is OnExpiry.ASK_AGAIN:
        return request.model_copy(update={"votes": ()})
    if request.policy.on_expiry is OnExpiry.ESCALATE and not request.escalated:
        return request.model_copy(update={"votes": (), "escalated": True})
    return None


def edited(plan: Plan, request: ApprovalRequest, decision: Decision) -> tuple[Plan, str | None]:
    """The plan with a decision's edits; or the plan unchanged, and why the edits do not fit it."""
    try:
        return type(plan).model_validate({**request.plan, **decision.edits}), None
    except ValidationError as error:
        return plan, f"the edits do not fit the plan: {error.errors(include_url=False)[0]['msg']}"
    except Exception as error:
        # A plan's own validators may raise anything on hostile edits; raising here would wedge the agent.
        return plan, f"the edits do not fit the plan: {type(error).__name__}"


def vote_of(decision: Decision, request: ApprovalRequest) -> Vote:
    """The vote that an approval, with or without edits, gives to the resulting plan."""
    replaced = {field: request.plan[field] for field in decision.edits if field in request.plan}
    return Vote(decision=decision, replaced=replaced)


def refusal(
    decision: Decision, request: ApprovalRequest, now: datetime, flaw: str | None, groups: Sequence[str] = ()
) -> str | None:
    """Why `decision` does not count for the open `request`; None if it counts.

    Args:
        decision: the decision that arrived.
        request: the open request it names.
        now: the agent's time.
        flaw: what the check of its envelope found, if anything.
        groups: the groups of the person who decided.
    """
    policy = request.policy
    if flaw:
        return flaw
    if decision.signature is not None and decision.signature.expires_at <= now:
        return f"its envelope expired at {decision.signature.expires_at:%Y-%m-%d %H:%M} UTC"
    if decision.digest != request.digest:
        return f"it is for plan {decision.digest[:12]}, and {request.digest[:12]} is what is asked"
    if request.expires_at is not None and made_at(decision, now) >= request.expires_at:
        return f"the request expired at {request.expires_at:%Y-%m-%d %H:%M} UTC"
    barred = policy.bars(decision.by, groups, requester=request.requester, escalated=request.escalated)
    barred = barred or _flaw_in_edits(decision, policy)
    voters = [vote.decision.by for vote in request.votes]
    if barred is None and decision.verdict is Verdict.APPROVE and decision.by in voters:
        return f"{decision.by} has already said yes; {request.standing}"
    return barred


def made_at(decision: Decision, now: datetime) -> datetime:
    """When a decision was made: its signed time, which can be trusted, or `now` if it has none.

    So a decision made in time counts even if no worker ran until later. No decision is from the future.
    """
    return min(decision.at, now) if decision.signature and decision.at else now


def _flaw_in_edits(decision: Decision, policy: ApprovalPolicy) -> str | None:
    if decision.verdict is not Verdict.REVISE:
        return "only the verdict revise takes edits" if decision.edits else None
    if not decision.edits:
        return "the verdict revise needs edits"
    return policy.bars_edits(decision.edits)

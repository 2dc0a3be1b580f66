"""The types of approval: requests, policies, decisions, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from string import hexdigits
from typing import Annotated, Any, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    JsonValue,
    SerializationInfo,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from common.approval.compact_votes import compact_vote, expand_vote
from common.business_time import BusinessHours
from common.grammar import Span
from common.visible_text import OneLine

# The first character of a group's name in a list of people.
GROUP = "@"

# How long refreshed premises of an open request are shown; the agent does not fetch them sooner.
PREMISES_FRESH_FOR = timedelta(seconds=30)

# Why a decision that arrives again is refused; the first record says what became of it.
ALREADY_RECEIVED = "this decision was already received"

MAX_REMINDERS = 100
# Above this many characters, the record of a decision shortens its edits.
MAX_RECORDED_EDITS = 1000

# Characters of a note, a reason, or what an agent is told.
MAX_WORDS = 4000

# The serialization context in which the votes of an authorization keep their field names.
WITH_FIELD_NAMES = "at length"

ShortText = Annotated[str, Field(max_length=200)]
LongText = Annotated[str, Field(max_length=MAX_WORDS)]


class OnExpiry(StrEnum):
    """What happens to a request that nobody decides in time."""

    GIVE_UP = "give_up"
    ASK_AGAIN = "ask_again"
    ESCALATE = "escalate"


class ApprovalPolicy(BaseModel, frozen=True):
    """Who may decide, until when, and what they may change. By default, nobody may.

    Attributes:
        approvers: people, and groups written `@name`.
        quorum: how many different people must say yes; a single no ends the request.
        requester_may_approve: whether the person the agent works for may decide, too.
        editable: the fields of the plan that a revision may change.
        reminders: when people are reminded, each counted from the question.
        escalate_after: when those in `escalate_to` may decide, too, if nobody has by then.
        expires_after: when the request ends undecided; never if None.
        on_expiry: what follows then. `escalate` asks once more, with those in `escalate_to` from the start;
            a request that was escalated already gives up.
        business_hours: the durations above count in these hours only; around the clock if None.
    """

    approvers: tuple[str, ...] = ()
    quorum: int = Field(1, ge=1)
    requester_may_approve: bool = False
    editable: tuple[str, ...] = ()
    reminders: tuple[Span, ...] = Field((), max_length=MAX_REMINDERS)
    escalate_to: tuple[str, ...] = ()
    escalate_after: Span | None = None
    expires_after: Span | None = None
    on_expiry: OnExpiry = OnExpiry.GIVE_UP
    business_hours: BusinessHours | None = None

    @model_validator(mode="after")
    def _can_be_fulfilled(self) -> Self:
        if self.approvers and (few := too_few((*self.approvers, *self.escalate_to), self.quorum)):
            raise ValueError(few)
        escalates = self.escalate_after is not None or self.on_expiry is OnExpiry.ESCALATE
        if escalates and not self.escalate_to:
            raise ValueError("an escalation needs people in escalate_to")
        if self.business_hours:
            self.business_hours.check_countable(self.durations)
        return self

    @property
    def durations(self) -> list[timedelta]:
        """Every duration that the policy counts from the question."""
        return [each for each in (*self.reminders, self.escalate_after, self.expires_after) if each]

    def deciders(self, *, escalated: bool) -> tuple[str, ...]:
        """The people and groups who may decide now."""
        return self.approvers + (self.escalate_to if escalated else ())

    def bars(self, by: str, groups: Sequence[str], *, requester: str, escalated: bool) -> str | None:
        """Why ``by``, who is in ``groups``, may not decide; None if they may."""
        if by.startswith(GROUP):
            return f"{by} is a group, and only people decide"
        if not {by, *(GROUP + group for group in groups)} & set(self.deciders(escalated=escalated)):
            return f"{by} is not among those who may decide"
        if by == requester and not self.requester_may_approve:
            return f"{by} is who the agent works for, and may not approve its plans"
        return None

    def bars_edits(self, edits: Iterable[str]) -> str | None:
        """Which of the edited fields may not be edited, in words; None if all may."""
        foreign = sorted(set(edits) - set(self.editable))
        if not foreign:
            return None
        may = ", ".join(self.editable) or "nothing"
        return f"{', '.join(foreign)} may not be edited; what may be: {may}"


def too_few(named: Iterable[str], quorum: int) -> str | None:
    """Why those `named` cannot reach the quorum, in words; None if they can, or include groups."""
    people = set(named)
    if len(people) >= quorum or any(each.startswith(GROUP) for each in people):
        return None
    return f"a quorum of {quorum} cannot come from {len(people)} people"


class Verdict(StrEnum):
    """What an approver says. ``revise`` approves the plan with the edits applied."""

    APPROVE = "approve"
    REJECT = "reject"
    REVISE = "revise"


class Signature(BaseModel, frozen=True):
    """The envelope of a decision: the agent it is for, until when it is valid, and the key that signed it."""

    agent: ShortText
    expires_at: AwareDatetime
    key_id: ShortText
    mac: ShortText

    # Every history holds it twice, with the decision and with the action, so it is written without names.
    @model_serializer(mode="plain", when_used="json")
    def _as_list(self) -> list[str | int]:
        return [self.agent, int(self.expires_at.timestamp()), self.key_id, self.mac]

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        names = list(cls.model_fields)
        return (
            dict(zip(names, value, strict=True))
            if isinstance(value, list) and len(value) == len(names)
            else value
        )


class Decision(BaseModel, frozen=True):
    """An approver's decision, as the signal ``decide`` carries it. Untrusted until the gate has judged it."""

    id: ShortText = Field(min_length=1)
    request_id: ShortText
    digest: ShortText
    verdict: Verdict
    edits: dict[ShortText, JsonValue] = Field(default_factory=dict)
    by: ShortText = Field(min_length=1)
    note: LongText = ""
    through: ShortText = "ui"
    at: AwareDatetime | None = None
    signature: Signature | None = None


def in_words(decision: Decision) -> str:
    """Who decided, through what, and their note; the edits of a revision come first."""
    edits = f"with edits to {', '.join(decision.edits)} " if decision.edits else ""
    signed = "" if decision.signature else ", unsigned"
    note = f": {decision.note}" if decision.note else ""
    return f"{edits}by {decision.by} (through {decision.through}{signed}){note}"


class Vote(BaseModel, frozen=True):
    """An approval that counted, for one plan.

    `replaced` holds the original values of the fields that the decision edited, from which the plan as the
    approver saw it can be restored.
    """

    decision: Decision
    replaced: dict[str, JsonValue] = Field(default_factory=dict)


def short_text(value: Any) -> str:
    """A value for people, at most 80 characters; only the beginning of a digest."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = (", ".join(map(short_text, value)) or "none") if isinstance(value, list | tuple) else str(value)
    if len(text) == 64 and set(text) <= set(hexdigits):
        return text[:12]
    return text if len(text) <= 80 else text[:79] + "…"


class PremiseState(BaseModel, frozen=True):
    """A premise in words: its value when the plan was made, and its value now.

    `now` is empty if it is not known; `drift` says how it has moved too far, and is empty if it holds.
    """

    name: str
    seen: str
    now: str = ""
    drift: str = ""


class ApprovalRequest(BaseModel, frozen=True):
    """A question to people about a plan, and how it stands. A decision names its `id` and its `digest`.

    Attributes:
        origin: the digest of the plan as the agent first asked about it; people may have revised it since.
        remind_at, escalate_at, expires_at: the policy's durations as times.
        premises: what the plan rests on, as of `checked_at`. Only for people to see: the final validation
            fetches them again.
        votes: the approvals so far, each by a different person.
        reminded: how many reminders have gone out.
        escalated: whether those in the policy's `escalate_to` may decide, too.
        own_policy: the policy that the agent asked for, if the operator's policy has raised it; None if
            `policy` is the agent's own.
    """

    id: str
    question: OneLine
    plan: dict[str, Any]
    digest: str
    origin: str = ""
    evidence: tuple[OneLine, ...] = ()
    premises: tuple[PremiseState, ...] = ()
    checked_at: AwareDatetime | None = None
    policy: ApprovalPolicy
    requester: str
    asked_at: AwareDatetime
    remind_at: tuple[AwareDatetime, ...] = ()
    escalate_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    votes: tuple[Vote, ...] = ()
    reminded: int = 0
    escalated: bool = False
    own_policy: ApprovalPolicy | None = Field(None, exclude_if=lambda policy: policy is None)

    @property
    def floor(self) -> str:
        """What the operator's policy requires beyond the agent's own, in words; empty if nothing."""
        if self.own_policy is None:
            return ""
        alone = (
            "" if self.policy.requester_may_approve else f", but never {self.requester or 'the requester'}"
        )
        many = self.policy.quorum
        who = ", ".join(self.policy.approvers) or "nobody"
        return f"the operator's policy asks for {many} approval{'s' if many > 1 else ''} of: {who}{alone}"

    def under(self, policy: ApprovalPolicy | None) -> Self:
        """The request under `policy`, the agent's own raised to the operator's; None means its own."""
        own = self.own_policy or self.policy
        if policy is None or policy == own:
            return self.model_copy(update={"policy": own, "own_policy": None})
        return self.model_copy(update={"policy": policy, "own_policy": own})

    def warned(self, gap: str) -> Self:
        """The request with `gap`, why nobody can approve it as it is, as evidence; unchanged if empty."""
        if not gap or gap in self.evidence:
            return self
        return self.model_copy(update={"evidence": (*self.evidence, gap)})

    def told(self, words: str) -> str:
        """The question with what happens to it, how it stands and who may decide, in one line."""
        return f"{self.question} ({words}; {self.who_decides})"

    @property
    def who_decides(self) -> str:
        """How it stands and who may decide, in words."""
        return f"{self.standing}; may decide: {', '.join(self.deciders)}"

    @property
    def deciders(self) -> tuple[str, ...]:
        """The people and groups who may decide now."""
        return self.policy.deciders(escalated=self.escalated)

    @property
    def standing(self) -> str:
        """How many of the needed approvals it has, in words."""
        people = ", ".join(vote.decision.by for vote in self.votes)
        return f"{len(self.votes)} of {self.policy.quorum} approvals" + (f" ({people})" if people else "")

    @property
    def asked(self) -> str:
        """The question, and how it stands if several must approve."""
        return self.question + (f" ({self.standing})" if self.policy.quorum > 1 else "")


class DecisionStatus(StrEnum):
    """What became of a decision."""

    WAITING = "waiting"
    COUNTED = "counted"
    REFUSED = "refused"


def shortened(values: dict[str, JsonValue], limit: int) -> dict[str, JsonValue]:
    """``values``, each cut to a few words if all together take over ``limit`` characters."""
    if len(str(values)) <= limit:
        return values
    return {name: short_text(value) for name, value in list(values.items())[:10]}


class DecisionRecord(BaseModel, frozen=True):
    """A decision and what became of it; `reason` says why it was refused."""

    decision: Decision
    status: DecisionStatus
    reason: str = ""
    signed: bool = False
    at: datetime

    @classmethod
    def of(cls, decision: Decision, status: DecisionStatus, at: datetime, reason: str = "") -> Self:
        """The record of ``decision`` as of ``at``.

        Hundreds are kept, so those of judged decisions shorten long edits; a vote that counts has them in
        full.
        """
        signed = decision.signature is not None
        if decision.edits and status is not DecisionStatus.WAITING:
            decision = decision.model_copy(update={"edits": shortened(decision.edits, MAX_RECORDED_EDITS)})
        return cls(decision=decision, status=status, reason=reason, signed=signed, at=at)


def judged(records: Iterable[DecisionRecord], decision_id: str) -> DecisionRecord | None:
    """What became of the decision with that id; None if none has arrived.

    The same decision may have arrived twice. The second is refused as already received, perhaps while the
    first is still being judged; the first is what counts.
    """
    found = [record for record in records if record.decision.id == decision_id]
    first = [record for record in found if record.reason != ALREADY_RECEIVED]
    order = (DecisionStatus.COUNTED, DecisionStatus.WAITING, DecisionStatus.REFUSED)
    if first or not found:
        return min(first, key=lambda record: order.index(record.status), default=None)
    return found[0].model_copy(update={"status": DecisionStatus.WAITING, "reason": ""})


class ApprovalsView(BaseModel, frozen=True):
    """The answer to the query ``approvals``: the open requests, and every decision with its outcome.

    ``closed`` says how requests that are no longer open ended, in words, by id; of the newest 200.
    """

    open: list[ApprovalRequest]
    decisions: list[DecisionRecord]
    closed: dict[str, str] = Field(default_factory=dict)


class OutcomeVerdict(StrEnum):
    """How a request ended. `revised`: with edits that the other approvers must still be asked about."""

    APPROVED = "approved"
    REVISED = "revised"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Answer(BaseModel, frozen=True):
    """How a request ended, as an agent carries it from one history to the next.

    `plan` is the one to act on: as asked, or with the approvers' edits. `decision` is the one that ended it;
    None if it expired or was withdrawn.
    """

    verdict: OutcomeVerdict
    request: ApprovalRequest
    plan: dict[str, Any]
    decision: Decision | None = None


class Authorization(BaseModel, frozen=True):
    """What a destructive activity verifies before it acts on a plan.

    `votes` hold the decisions that were counted under `policy`, in their envelopes; `requester` is the person
    the agent works for; `key` is the idempotency key `workflow id:node:plan digest`.
    """

    votes: tuple[Vote, ...]
    policy: ApprovalPolicy
    requester: str
    escalated: bool = Field(False, exclude_if=lambda escalated: not escalated)
    key: str

    # Every action's history holds it, so defaults are left out; they may never change to allow more.
    @field_serializer("policy", when_used="json")
    def _policy_without_defaults(self, policy: ApprovalPolicy) -> dict[str, Any]:
        return policy.model_dump(mode="json", exclude_defaults=True)

    # Votes are written without names, too. Not for the id of the action's call: sleeping agents have the old
    # one.
    @field_serializer("votes", when_used="json")
    def _compact_votes(self, votes: tuple[Vote, ...], info: SerializationInfo) -> list[Any]:
        written = [vote.model_dump(mode="json", exclude_defaults=True) for vote in votes]
        return written if info.context == WITH_FIELD_NAMES else [compact_vote(**each) for each in written]

    @field_validator("votes", mode="before")
    @classmethod
    def _expand_votes(cls, votes: Any) -> Any:
        return [expand_vote(each) for each in votes] if isinstance(votes, list) else votes

    # The key begins with the agent, which the last vote was signed for, and ends with the plan's digest,
    # which that vote also has unless somebody edited the plan.
    @field_serializer("key", when_used="json")
    def _compact_key(self, key: str, info: SerializationInfo) -> str:
        agent, digest = _ends_of_key(self.votes)
        short = info.context != WITH_FIELD_NAMES and key.startswith(f"{agent}:")
        return key.removeprefix(agent if short else "").removesuffix(digest)

    @field_validator("key")
    @classmethod
    def _whole_key(cls, key: str, info: ValidationInfo) -> str:
        agent, digest = _ends_of_key(info.data.get("votes"))
        return f"{agent if key.startswith(':') else ''}{key}{digest if key.endswith(':') else ''}"


def _ends_of_key(votes: Sequence[Vote] | None) -> tuple[str, str]:
    """What the key of an action that these votes allow may begin and end with."""
    if not votes:
        return "", ""
    decision = votes[-1].decision
    return decision.signature.agent if decision.signature else "", decision.digest

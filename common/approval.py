"""What crosses doors when a human is asked: requests, policies, decisions, and what became of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field, JsonValue

ShortText = Annotated[str, Field(max_length=200)]
LongText = Annotated[str, Field(max_length=4000)]


class OnExpiry(StrEnum):
    """What happens to a request that nobody decided in time."""

    GIVE_UP = "give_up"
    ASK_AGAIN = "ask_again"


class ApprovalPolicy(BaseModel, frozen=True):
    """Who may decide, until when, and what they may change. As it comes, nobody may."""

    approvers: tuple[str, ...] = ()
    expires_after: timedelta | None = None
    on_expiry: OnExpiry = OnExpiry.GIVE_UP
    requester_may_approve: bool = False
    editable: tuple[str, ...] = ()


class ApprovalRequest(BaseModel, frozen=True):
    """One question to a human about one plan. A decision names its ``id`` and its ``digest``."""

    id: str
    question: str
    plan: dict[str, Any]
    digest: str
    evidence: tuple[str, ...] = ()
    policy: ApprovalPolicy
    requester: str
    asked_at: AwareDatetime
    expires_at: AwareDatetime | None = None


class Verdict(StrEnum):
    """What an approver says. ``revise`` approves the plan with the edits applied."""

    APPROVE = "approve"
    REJECT = "reject"
    REVISE = "revise"


class Signature(BaseModel, frozen=True):
    """The envelope of the door that took a decision: which agent it is for, until when, under which key."""

    agent: ShortText
    expires_at: AwareDatetime
    key_id: ShortText
    mac: ShortText


class Decision(BaseModel, frozen=True):
    """An approver's word, as the signal ``decide`` carries it. Untrusted until the gate has judged it."""

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


class DecisionStatus(StrEnum):
    """What became of a decision."""

    WAITING = "waiting"
    COUNTED = "counted"
    REFUSED = "refused"


class DecisionRecord(BaseModel, frozen=True):
    """A decision and what became of it, with the reason where it was refused."""

    decision: Decision
    status: DecisionStatus
    reason: str = ""
    signed: bool = False
    at: datetime


class ApprovalsView(BaseModel, frozen=True):
    """What the query ``approvals`` answers: the requests still open, and every decision with its fate."""

    open: list[ApprovalRequest]
    decisions: list[DecisionRecord]


class OutcomeVerdict(StrEnum):
    """How a request ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Authorization(BaseModel, frozen=True):
    """What a destructive activity checks again before it acts on a plan.

    `decision` is the very envelope that was counted; `replaced` are the plan's own values of the fields that
    the decision edited, so that the plan as it was shown can be told; `key` is the idempotency key
    `workflow id:node:plan digest`.
    """

    decision: Decision
    replaced: dict[str, JsonValue] = Field(default_factory=dict)
    key: str

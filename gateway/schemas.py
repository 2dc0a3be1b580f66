"""The JSON that goes in and out of the gateway, besides the views that every entry point shows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from common.agents.batch import BatchCommand
from common.approval.types import (
    MAX_WORDS,
    Decision,
    DecisionRecord,
    DecisionStatus,
    LongText,
    ShortText,
    Verdict,
)
from common.client.batch_decisions import MAX_DECIDED
from common.client.batch_questions import ShownQuestion
from common.grammar import Moment

Said = Annotated[str, Field(min_length=1, max_length=MAX_WORDS)]


class Started(BaseModel):
    """A started agent: its id, the address of its status, and of its page in the dashboard."""

    id: str
    status_url: str
    ui_url: str


class DecisionBody(BaseModel):
    """A decision. The token's subject decides; nothing in here can say otherwise.

    `digest` is the beginning of the digest of the plan that was shown, `request_id` names the request; both
    may be empty if one is open. An approval with `edits` is a revision.
    """

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    note: LongText = ""
    edits: dict[ShortText, JsonValue] = Field(default_factory=dict)
    digest: str = Field("", pattern=r"^[0-9a-f]{0,64}$")
    request_id: ShortText = ""


class DecisionTaken(BaseModel):
    """A decision that is safe with Temporal: `counted`, or `waiting` for the agent to judge it."""

    id: str
    decision_id: str
    request_id: str
    digest: str
    verdict: Verdict
    status: DecisionStatus
    reason: str
    signed: bool

    @classmethod
    def of(cls, id: str, decision: Decision, record: DecisionRecord | None) -> DecisionTaken:
        """What became of a decision for the agent ``id``; without a record, it waits."""
        return cls(
            id=id,
            decision_id=decision.id,
            request_id=decision.request_id,
            digest=decision.digest,
            verdict=decision.verdict,
            status=record.status if record else DecisionStatus.WAITING,
            reason=record.reason if record else "it counts as soon as a worker takes it",
            signed=record.signed if record else True,  # the gateway does not start without a key
        )


class Tell(BaseModel):
    """Instructions for the agent, in words."""

    model_config = ConfigDict(extra="forbid")

    text: Said


class Wake(BaseModel):
    """When to wake instead; now if empty."""

    model_config = ConfigDict(extra="forbid")

    until: Moment | None = None


class BatchChange(BatchCommand):
    """What to change in a batch that runs; what is left out stays.

    `at_once` is how many items may be in flight from now on, `retry` gives the quarantined another go, `more`
    adds items; those whose key the batch has already are not done again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class GatheredBody(BaseModel):
    """A decision on questions of a batch, each as it was shown; what else was said of them may stay."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal[Verdict.APPROVE, Verdict.REJECT]
    note: LongText = ""
    questions: list[ShownQuestion] = Field(min_length=1, max_length=MAX_DECIDED)


class Accepted(BaseModel):
    """It is safe with Temporal.

    `status` is `taken` if the agent has said so, with what it does now in `detail`; `sent` if it has not
    answered yet, and takes or refuses it once a worker runs.
    """

    id: str
    status: Literal["taken", "sent"] = "sent"
    detail: str = ""


class Health(BaseModel):
    """Whether the gateway can do its work."""

    status: str

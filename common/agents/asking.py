"""The input of agents that ask people: who may decide, how many must, and by when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from pydantic import Field, model_validator

from common.agents.agent import AgentInput
from common.agents.fields import CommaList, Count, Span
from common.approval.types import ApprovalPolicy

# When people are reminded of a question, counted from when it was asked.
REMINDERS = (timedelta(hours=4), timedelta(hours=24), timedelta(hours=48))


class AskingInput(AgentInput):
    """Base of the input of agents that ask. If no approvers are named, the owner decides alone."""

    approvers: CommaList = Field(
        default_factory=list, description="who may approve, people or @groups; if empty, the owner"
    )
    quorum: Count = Field(1, ge=1, le=20, description="how many of them must approve")
    expires_after: Span | None = Field(
        None, description="how long a question stays open; if empty, without an end"
    )

    @model_validator(mode="after")
    def _is_a_policy(self) -> Self:
        # Check it with the input: in a running agent, an impossible policy is a bug, retried for ever.
        self.policy("owner")
        return self

    @property
    def asks(self) -> bool:
        """Whether the agent will ask people at all."""
        return True

    def policy(self, owner: str, **more: Any) -> ApprovalPolicy:
        """The policy for a plan of an agent that works for `owner`; `more` are further policy fields."""
        named = tuple(self.approvers)
        return ApprovalPolicy(
            approvers=named or (owner,),
            quorum=self.quorum,
            # Owners may decide about their own agents; those who name approvers want somebody else to.
            requester_may_approve=not named,
            expires_after=self.expires_after,
            reminders=REMINDERS,
            **more,
        )

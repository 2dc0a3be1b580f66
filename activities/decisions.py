"""Checks decisions for the gate: the envelope, and the approver's groups. Keys stay out of workflows."""

from __future__ import annotations

from pydantic import BaseModel, Field
from temporalio import activity

from common.approval.signing import Authority
from common.approval.types import Decision


class EnvelopeCheck(BaseModel, frozen=True):
    """A decision, and the agent that received it."""

    agent: str
    decision: Decision


class EnvelopeChecked(BaseModel, frozen=True):
    """What is wrong with the envelope (None where it is valid), and the approver's current groups."""

    # Defaults are left out: the answer stands in history with every decision.
    flaw: str | None = Field(None, exclude_if=lambda flaw: flaw is None)
    groups: list[str] = Field(default_factory=list, exclude_if=lambda groups: not groups)


class DecisionChecks:
    """The activity that checks envelopes with this process's keys."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    @activity.defn(name="check_envelope")
    async def check_envelope(self, check: EnvelopeCheck) -> EnvelopeChecked:
        """Say what is wrong with a decision's envelope, and which groups its approver is in."""
        return EnvelopeChecked(
            flaw=self._authority.flaw(check.decision, check.agent),
            groups=self._authority.groups_of(check.decision.by),
        )

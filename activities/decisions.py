"""Checks a decision for the gate: its envelope, and the groups of its approver. No key enters a workflow."""

from __future__ import annotations

from pydantic import BaseModel, Field
from temporalio import activity

from common.approval.signing import Authority
from common.approval.types import Decision


class EnvelopeCheck(BaseModel, frozen=True):
    """A decision, and the agent it reached."""

    agent: str
    decision: Decision


class EnvelopeChecked(BaseModel, frozen=True):
    """What is wrong with the envelope, None where it holds; and the groups of who decided, as of now."""

    # What is as usual is not written: the answer stands in history with every decision.
    flaw: str | None = Field(None, exclude_if=lambda flaw: flaw is None)
    groups: list[str] = Field(default_factory=list, exclude_if=lambda groups: not groups)


class DecisionChecks:
    """The activity that checks envelopes under this process's keys."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    @activity.defn(name="check_envelope")
    async def check_envelope(self, check: EnvelopeCheck) -> EnvelopeChecked:
        """Say what is wrong with a decision's envelope, and which groups its approver is in."""
        return EnvelopeChecked(
            flaw=self._authority.flaw(check.decision, check.agent),
            groups=self._authority.groups_of(check.decision.by),
        )

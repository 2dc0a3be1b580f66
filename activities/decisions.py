"""Checks the envelope of a decision, for the gate. The keys never enter a workflow."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity

from common.approval import Decision
from common.envelope import Authority


class EnvelopeCheck(BaseModel, frozen=True):
    """A decision, and the agent it reached."""

    agent: str
    decision: Decision


class EnvelopeFlaw(BaseModel, frozen=True):
    """What is wrong with the envelope; None where it holds."""

    flaw: str | None


class DecisionChecks:
    """The activity that checks envelopes under this process's keys."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    @activity.defn(name="check_envelope")
    async def check_envelope(self, check: EnvelopeCheck) -> EnvelopeFlaw:
        """Say what is wrong with a decision's envelope."""
        return EnvelopeFlaw(flaw=self._authority.flaw(check.decision, check.agent))

"""Sending a decision on, and finding out what became of it."""

from __future__ import annotations

from datetime import timedelta

from pydantic import JsonValue
from temporalio.service import RPCError

from common.approval.types import Decision, DecisionRecord, Verdict
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError, NothingToDecideError

# A person waits for the answer, and a worker that runs gives it in a fraction of that.
FATE_PATIENCE = timedelta(seconds=3)


async def decide(
    agents: AgentClient,
    id: str,
    verdict: Verdict,
    *,
    by: str,
    note: str,
    edits: dict[str, JsonValue],
    through: str,
    digest: str,
    decision_id: str = "",
) -> tuple[Decision, DecisionRecord | None]:
    """Send a decision; returns once Temporal has it, with what the agent made of it where it says so soon.

    Raises as ``AgentClient.decide`` does; ``RPCError`` only where it is not known whether Temporal has it.
    """
    try:
        decision = await agents.decide(
            id,
            verdict,
            by=by,
            note=note,
            edits=edits,
            through=through,
            digest=digest,
            decision_id=decision_id,
        )
    except NoSuchAgentError:
        # It was shown to who decides: it has ended, and may be archived by now.
        raise NothingToDecideError(f"nothing to decide: agent {id} has ended.") from None
    return decision, await fate_of(agents, id, decision)


async def fate_of(agents: AgentClient, id: str, decision: Decision) -> DecisionRecord | None:
    """What the agent made of a decision that Temporal has; None where it does not say so soon."""
    try:
        return await agents.outcome(id, decision.id, FATE_PATIENCE)
    except (RPCError, RuntimeError):
        return None  # the decision is safe, whatever has happened since

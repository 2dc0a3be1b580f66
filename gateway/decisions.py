"""Sends a decision to its agent, and waits for the outcome."""

from __future__ import annotations

from datetime import timedelta

from pydantic import JsonValue
from temporalio.service import RPCError

from common.agents.agent import Receipt
from common.approval.types import Decision, DecisionRecord, Verdict
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError, NothingToDecideError

# A person is waiting; a running worker answers in a fraction of this.
OUTCOME_PATIENCE = timedelta(seconds=3)


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
    request_id: str,
    known: bool = False,
    decision_id: str = "",
) -> tuple[Decision, DecisionRecord | None]:
    """Send a decision, and return it once Temporal has it, with its outcome if the agent answers soon.

    Raises like ``AgentClient.decide``; ``RPCError`` only if it is unknown whether Temporal has it.
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
            request_id=request_id,
            known=known,
            decision_id=decision_id,
        )
    except NoSuchAgentError:
        # The approver has just seen it, so it has ended; it may already be archived.
        raise NothingToDecideError(f"nothing to decide: agent {id} has ended.") from None
    return decision, await outcome_of(agents, id, decision)


async def receipt_of(agents: AgentClient, id: str, receipt: str) -> Receipt | None:
    """The agent's receipt for something that Temporal has; None if it does not answer soon."""
    try:
        return await agents.receipt(id, receipt, OUTCOME_PATIENCE)
    except (RPCError, RuntimeError):
        return None


async def outcome_of(agents: AgentClient, id: str, decision: Decision) -> DecisionRecord | None:
    """The outcome of a decision that Temporal has; None if the agent does not answer soon."""
    try:
        return await agents.outcome(id, decision.id, OUTCOME_PATIENCE)
    except (RPCError, RuntimeError):
        return None  # the decision itself is safe with Temporal

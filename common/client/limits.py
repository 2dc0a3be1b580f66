"""Limits per owner and per agent, so that nobody crowds out others, or essential signals."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import Priority
from temporalio.exceptions import TemporalError

from common.agents.states import PAST_LIMIT, AgentState
from common.client.errors import TooManyAgentsError, TooMuchSaidError
from common.client.filters import AgentFilter
from common.client.trouble import Cause, Trouble
from common.client.visibility import exactly
from common.hints import command

# Seconds for which a count of an owner's agents is cached; starts meanwhile are added to it.
COUNTED_FOR = 1.0
MAX_OWNERS = 10_000
# The server takes 10,000 signals into one history. From this many events on, an agent gets no instructions,
# which leaves room for decisions, pause and wake.
MAX_EVENTS = 8_000
# The server terminates an agent at 50 MB of history, or 51,200 events. From this many on, it only gets
# decisions and cancel, which leaves room for more than a thousand decisions.
MAX_STEERED_EVENTS = 40_000
NEAR_BYTES = 40 * 1024 * 1024
# How long to wait for a worker to take an update.
UPDATE_PATIENCE = timedelta(seconds=5)
TAKES = "decisions, pause, resume, wake and cancel"
# The server's limit of a fairness key.
KEY_BYTES = 64


def priority_of(owner: str) -> Priority:
    """The priority of an owner's agents: owners take turns, however many agents each has."""
    key = owner if len(owner.encode()) <= KEY_BYTES else hashlib.sha256(owner.encode()).hexdigest()
    return Priority(fairness_key=key) if key else Priority.default


class OwnerQuota:
    """Limits how many agents of an owner work at once; those that sleep or wait do not count.

    Visibility lags a little, and every process counts for itself: an owner who starts many at once may get a
    few more.
    """

    def __init__(self, client: Client, most: int | None) -> None:
        self._client = client
        self._most = most
        # By owner: when the agents were counted, and the count plus those started since.
        self._counted: dict[str, tuple[float, int]] = {}

    async def take(self, owner: str) -> None:
        """Count one more agent.

        Raises:
            TooManyAgentsError: the owner has the maximum at work.
        """
        if self._most is None:
            return
        now = time.monotonic()
        at, working = self._counted.get(owner, (-COUNTED_FOR, 0))
        if now - at >= COUNTED_FOR:
            conditions = exactly(AgentFilter(owner=owner, state=AgentState.WORKING))
            at, working = now, (await self._client.count_workflows(" AND ".join(conditions))).count
        if working >= self._most:
            raise TooManyAgentsError(
                f"{owner or 'nobody'} has {working} agents at work, and {self._most} may be at once: wait "
                "until some have ended, or cancel some (HIBERNAUT_WORKING_AGENTS sets how many)."
            )
        if len(self._counted) > MAX_OWNERS:
            self._counted.clear()
        self._counted[owner] = at, working + 1


def check_room(description: WorkflowExecutionDescription, *, nonessential: bool) -> None:
    """Check that an agent's history has room for a signal; one that is `nonessential` needs more room.

    Raises:
        TooMuchSaidError: it has not.
    """
    events = description.history_length
    size = description.raw_description.workflow_execution_info.history_size_bytes
    full = nonessential and (events >= MAX_EVENTS or size >= NEAR_BYTES)
    if description.status is WorkflowExecutionStatus.RUNNING and (full or events >= MAX_STEERED_EVENTS):
        takes = "decisions and cancel" if events >= MAX_STEERED_EVENTS else TAKES
        raise TooMuchSaidError(
            f"agent {description.id} has too much to read already: until its history starts afresh it takes "
            f"{takes} alone."
        )


async def send_past_limit(
    client: Client, id: str, name: str, arguments: Sequence[Any], *, nonessential: bool
) -> None:
    """Send an agent, as an update, what Temporal no longer takes as a signal; this needs a running worker.

    What is `nonessential` is refused: delivered twice, it would mean something else.

    Raises:
        TooMuchSaidError: it was not sent; or no worker has taken it in time, but one still may.
    """
    full = f"agent {id} has had as many signals as Temporal takes into one history"
    if nonessential:
        raise TooMuchSaidError(
            f"{full}: wait until it starts afresh, or end it with {command('cancel', id)}."
        )
    update = client.get_workflow_handle(id).execute_update(PAST_LIMIT, args=[name, list(arguments)])
    try:
        await asyncio.wait_for(update, UPDATE_PATIENCE.total_seconds())
    except (TimeoutError, TemporalError):
        raise TooMuchSaidError(
            f"{full}, and no worker has taken this in time: send it again, or end the agent with "
            f"{command('cancel', id)}."
        ) from None


def long_history(description: WorkflowExecutionDescription) -> Trouble | None:
    """The trouble of an agent whose history has little room left; None if it has enough."""
    events = description.history_length
    size = description.raw_description.workflow_execution_info.history_size_bytes
    if events < MAX_EVENTS and size < NEAR_BYTES:
        return None
    return Trouble(
        cause=Cause.LONG_HISTORY,
        words=f"its history has {events} events in {size / 1e6:.1f} MB, near the most that Temporal takes",
        fix="send it no more words or mail; if it starts no fresh history by itself, "
        f"{command('cancel', description.id)} while it can still receive that",
    )

"""How much one owner and one agent may be given, so that nobody crowds out others or what matters."""

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

# For how long a count of an owner's agents is good; what is started meanwhile is added to it.
COUNTED_FOR = 1.0
MAX_OWNERS = 10_000
# The server takes 10,000 signals into one history. From so many events on an agent is told nothing, which
# leaves room for decisions, pause and wake.
MAX_EVENTS = 8_000
# The server terminates an agent at 50 MB of history, or 51,200 events. From so many on it takes decisions and
# cancel alone: there is room for a thousand decisions and more.
MAX_STEERED_EVENTS = 40_000
NEAR_BYTES = 40 * 1024 * 1024
# Until a worker has taken what is sent to it alone.
UPDATE_PATIENCE = timedelta(seconds=5)
TAKES = "decisions, pause, resume, wake and cancel"
# The server's limit of a fairness key.
KEY_BYTES = 64


def priority_of(owner: str) -> Priority:
    """How Temporal hands out the tasks of an owner's agents: owners take turns, whoever has more agents."""
    key = owner if len(owner.encode()) <= KEY_BYTES else hashlib.sha256(owner.encode()).hexdigest()
    return Priority(fairness_key=key) if key else Priority.default


class OwnerQuota:
    """Holds each owner to so many agents at work at once; those that sleep or wait do not count.

    Visibility is a moment behind, and every process counts for itself: an owner who starts many at once may
    get a few more.
    """

    def __init__(self, client: Client, most: int | None) -> None:
        self._client = client
        self._most = most
        # By owner: when the agents were counted, and how many there are with those started since.
        self._counted: dict[str, tuple[float, int]] = {}

    async def take(self, owner: str) -> None:
        """Count one agent more.

        Raises:
            TooManyAgentsError: the owner has as many at work as may be.
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


def check_room(description: WorkflowExecutionDescription, *, needless: bool) -> None:
    """Let an agent be sent something, `needless` or not, if its history has room.

    Raises:
        TooMuchSaidError: it has not.
    """
    events = description.history_length
    size = description.raw_description.workflow_execution_info.history_size_bytes
    full = needless and (events >= MAX_EVENTS or size >= NEAR_BYTES)
    if description.status is WorkflowExecutionStatus.RUNNING and (full or events >= MAX_STEERED_EVENTS):
        takes = "decisions and cancel" if events >= MAX_STEERED_EVENTS else TAKES
        raise TooMuchSaidError(
            f"agent {description.id} has too much to read already: until its history starts afresh it takes "
            f"{takes} alone."
        )


async def send_past_limit(
    client: Client, id: str, name: str, arguments: Sequence[Any], *, needless: bool
) -> None:
    """Hand an agent what Temporal takes no more as a signal, which takes a worker.

    What is `needless` waits: taken twice it would say something else.

    Raises:
        TooMuchSaidError: it was not sent; or no worker has taken it in time, and one may yet.
    """
    full = f"agent {id} has had as many signals as Temporal takes into one history"
    if needless:
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
    """An agent whose history has little room left."""
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

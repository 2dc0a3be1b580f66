"""Queries for visibility, Temporal's list of workflows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client

from common.agents import batch
from common.agents.states import AgentState, RunStatus
from common.client.filters import AgentFilter
from common.client.pollers import Pollers
from common.client.rows import AgentRow, row_of_info
from common.names import check_findable
from common.notices.types import COURIER
from common.temporal import search_attributes

# The largest page that the server returns.
PAGE = 1000
# Agents that do no item of a batch: their parent is not a batch page.
NO_ITEMS = f"(ParentWorkflowId IS NULL OR ParentWorkflowId NOT STARTS_WITH '{batch.PAGE_PREFIX}')"
# The last run of each agent, and no other workflow. Couriers and the pages of batches have an owner too: they
# are erased with the owner's agents.
AGENTS = (
    f"{search_attributes.OWNER.name} IS NOT NULL AND WorkflowType != '{COURIER}' "
    f"AND WorkflowType != '{batch.PAGE}' AND ExecutionStatus != 'ContinuedAsNew'"
)
# Agents that ask for an approval. Not by state: a paused agent takes decisions too.
ASKING = f"{search_attributes.WAITING_FOR.name} STARTS_WITH '{search_attributes.APPROVAL}'"


def items_of(agent: str) -> str:
    """The condition for agents that do items of the batch of `agent`."""
    return f"ParentWorkflowId STARTS_WITH {quote(f'{batch.PAGE_PREFIX}{agent}/')}"


def quote(value: str) -> str:
    """``value`` as a literal of Temporal's visibility queries.

    Raises:
        UnusableValueError: it cannot be searched for.
    """
    return f"'{check_findable(value)}'"


def pinned_to(builds: Sequence[str], *, others: bool = False) -> list[str]:
    """The conditions for workflows pinned to one of `builds`, or with `others`, to any other build."""
    conditions = [f"{search_attributes.BEHAVIOR} = {quote(search_attributes.PINNED)}"]
    if builds or not others:
        word = "NOT IN" if others else "IN"
        conditions.append(f"{search_attributes.BUILD} {word} ({', '.join(map(quote, builds))})")
    return conditions


# How the server spells each status.
IN_VISIBILITY = {
    RunStatus.RUNNING: "Running",
    RunStatus.COMPLETED: "Completed",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELLED: "Canceled",
    RunStatus.TERMINATED: "Terminated",
    RunStatus.TIMED_OUT: "TimedOut",
}


def exactly(wanted: AgentFilter) -> list[str]:
    """The conditions, as far as visibility can express them, for agents with exactly these values.

    Raises:
        UnusableValueError: a value cannot be searched for.
    """
    status = wanted.status or (wanted.state and RunStatus.RUNNING)  # only running agents are in a state
    values = {
        "WorkflowType": wanted.kind,
        search_attributes.OWNER.name: wanted.owner,
        search_attributes.BATCH_ID.name: wanted.batch,
        "ExecutionStatus": status and IN_VISIBILITY[status],
    }
    conditions = [
        AGENTS,
        *(f"{name} = {quote(value)}" for name, value in values.items() if value is not None),
    ]
    if wanted.top:
        conditions.append(NO_ITEMS)
    if wanted.state is not None:
        state = f"{search_attributes.STATE.name} = {quote(wanted.state)}"
        # An agent works until it says otherwise, and writes its state with its first wait or long call.
        none = f"{search_attributes.STATE.name} IS NULL"
        conditions.append(f"({state} OR {none})" if wanted.state is AgentState.WORKING else state)
    return conditions


def in_trouble(now: datetime, workers: Pollers) -> str:
    """The condition for running agents that are in trouble, or may be, as far as visibility can say.

    These have the server's own mark, a stuck call, a wake time that has passed, or a sleep that nothing ends;
    or they are pinned to none of the builds of the `workers`. Agents that work, or ask people, are included
    for a closer look. Visibility knows the length of a history only once it is closed.
    """
    others = pinned_to(sorted(filter(None, workers.builds)), others=True)
    state, wakes = search_attributes.STATE.name, search_attributes.WAKE_AT.name
    return "(" + " OR ".join([
        f"{search_attributes.PROBLEMS} IS NOT NULL",
        f"{state} IS NULL",
        f"{state} IN ({quote(AgentState.STUCK)}, {quote(AgentState.WORKING)})",
        f"({' AND '.join([*others, f'TaskQueue = {quote(workers.queue)}'])})",
        f"{wakes} < '{now.astimezone(UTC).isoformat()}'",
        f"({state} = {quote(AgentState.SLEEPING)} AND {wakes} IS NULL)",
        ASKING,
    ]) + ")"  # fmt: skip


def waking(since: datetime | None, until: datetime | None) -> str:
    """The condition for agents that wake by themselves from `since` on, and before `until`.

    The expiry of a question to people does not count as such a time.
    """
    state, wakes = search_attributes.STATE.name, search_attributes.WAKE_AT.name
    conditions = [f"{state} IN ({quote(AgentState.SLEEPING)}, {quote(AgentState.AWAITING_EVENT)})"]
    if since is not None:
        conditions.append(f"{wakes} >= '{since.astimezone(UTC).isoformat()}'")
    if until is not None:
        conditions.append(f"{wakes} < '{until.astimezone(UTC).isoformat()}'")
    return " AND ".join(conditions)


def is_exactly(row: AgentRow, wanted: AgentFilter) -> bool:
    """Whether a row has exactly the owner and kind wanted; some databases ignore case and accents."""
    return wanted.owner in (None, row.owner) and wanted.kind in (None, row.kind)


async def page_of(
    client: Client, conditions: Sequence[str], size: int, token: bytes = b""
) -> tuple[list[AgentRow], bytes]:
    """One page of the newest runs that meet all ``conditions``, and the next page's token, empty at the end.

    Raises:
        RPCError: invalid argument, if the token did not come from here.
    """
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace,
        query=" AND ".join(conditions),
        page_size=size,
        next_page_token=token,
    )
    page = await client.workflow_service.list_workflow_executions(request, retry=True)
    return list(map(row_of_info, page.executions)), page.next_page_token


async def infos_of(
    client: Client, conditions: Sequence[str], size: int = PAGE
) -> AsyncGenerator[WorkflowExecutionInfo, None]:
    """Every run that meets all ``conditions``, newest first, fetched in pages of ``size``."""
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace, query=" AND ".join(conditions), page_size=size
    )
    while True:
        page = await client.workflow_service.list_workflow_executions(request, retry=True)
        for info in page.executions:
            yield info
        request.next_page_token = page.next_page_token
        if not page.next_page_token:
            return


async def rows_of(client: Client, conditions: Sequence[str], limit: int) -> list[AgentRow]:
    """The newest ``limit`` runs that meet all ``conditions``."""
    rows: list[AgentRow] = []
    async with aclosing(infos_of(client, conditions, min(limit, PAGE))) as infos:
        async for info in infos:
            rows.append(row_of_info(info))
            if len(rows) >= limit:
                break
    return rows

"""Everything that is shown of one agent, put together from its answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError
from temporalio import exceptions
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import SUBJECT, AgentStatus, Cost, Notebook, NotebookEntry, Progress
from common.agents.batch import BatchStatus
from common.agents.fork import FORK, Fork
from common.agents.states import RunStatus
from common.approval.types import ApprovalRequest, ApprovalsView, DecisionRecord
from common.client.rows import AgentRow, row_of
from common.temporal.converter import UNREADABLE

# A worker answers in milliseconds; if it has to replay a long history, in a second or two.
QUERY_PATIENCE = timedelta(seconds=3)
ASKED_EVERY = 0.2

Answer = TypeVar("Answer")
Found = TypeVar("Found")


class AgentView(AgentRow):
    """Everything that is shown of one agent.

    `live` is false if no worker answered: then only what visibility holds is known. `requests` are the open
    ones, oldest first, `approval` the oldest; `dropped` counts notebook lines that only history keeps.
    `closed_requests` says in words how those that are no longer open ended, by id. `batch` is its latest.
    `fork` says what it is a fork of, if it is one.
    """

    live: bool = False
    progress: Progress = Field(default_factory=Progress)
    cost: Cost = Field(default_factory=Cost)
    approval: ApprovalRequest | None = None
    requests: list[ApprovalRequest] = Field(default_factory=list)
    notebook: list[NotebookEntry] = Field(default_factory=list)
    dropped: int = 0
    decisions: list[DecisionRecord] = Field(default_factory=list)
    closed_requests: dict[str, str] = Field(default_factory=dict)
    failure: str | None = None
    result: JsonValue = None
    batch: BatchStatus | None = None
    fork: Fork | None = None


class Ending(BaseModel):
    """How an agent closed: its result, or why there is none."""

    status: RunStatus
    result: JsonValue = None
    failure: str | None = None


async def view_of(
    client: Client, description: WorkflowExecutionDescription, patience: timedelta
) -> AgentView:
    """The view of the run that was described: its row, overridden by what the agent answers in time."""
    row = row_of(description)
    handle = client.get_workflow_handle(row.id, run_id=row.run_id)
    # A worker evicts a closed run after its answer, and drops other queries of that run at that moment.
    turns = asyncio.Semaphore(3 if row.running else 1)

    async def asked(query: str, kind: type[Answer]) -> Answer | None:
        async with turns:
            return await answer_of(handle, query, kind, patience)

    status, notebook, approvals, under_way, ending = await asyncio.gather(
        asked("status", AgentStatus),
        asked("notebook", Notebook),
        asked("approvals", ApprovalsView),
        _under_way(client, description),
        ending_of(client, row),
    )
    view = AgentView(
        **row.model_dump() | {"subject": await _subject_of(description)},
        live=status is not None and notebook is not None and approvals is not None,
        result=ending.result,
        failure=ending.failure,
        fork=await _fork_of(description),
    )
    if notebook:
        view.notebook, view.dropped = notebook.entries, notebook.dropped
    if approvals:
        view.decisions, view.closed_requests = approvals.decisions, approvals.closed
        view.requests = approvals.open if view.running else []
        view.approval = next(iter(view.requests), None)
    if status:
        view.owner, view.started_at, view.stuck_at = status.owner, status.started_at, status.stuck_at
        view.node, view.progress, view.cost = status.node or view.node, status.progress, status.cost
        view.batch = status.batch
    if status and view.running:
        view.state, view.waiting_for, view.wake_at = status.state, status.waiting_for, status.wake_at
    if view.running:
        view.progress = view.progress.with_under_way(under_way)
    return view


async def patient_view_of(
    client: Client,
    description: WorkflowExecutionDescription,
    attempts: int = 2,
    patience: timedelta = QUERY_PATIENCE,
) -> AgentView:
    """Like `view_of`, repeated if nobody answered: a worker that evicts a run loses its queries."""
    for _ in range(attempts - 1):
        view = await view_of(client, description, patience)
        if view.live:
            return view
    return await view_of(client, description, patience)


async def answer_of(
    handle: WorkflowHandle[Any, Any],
    query: str,
    kind: type[Answer],
    patience: timedelta = QUERY_PATIENCE,
    arguments: Sequence[Any] = (),
) -> Answer | None:
    """The answer to a query; None if no worker gives a readable one within ``patience``."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            answer = await handle.query(query, args=arguments, result_type=kind, rpc_timeout=patience)
    except (TimeoutError, WorkflowQueryFailedError, ValidationError):
        return None
    except RPCError as error:
        if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNAUTHENTICATED):
            raise
        return None
    return answer if isinstance(answer, kind) else None


async def found_in_answers(
    handle: WorkflowHandle[Any, Any],
    query: str,
    kind: type[Answer],
    read: Callable[[Answer], Found | None],
    patience: timedelta,
) -> Found | None:
    """What `read` finds in the answer to a query, repeated until it does; None if not in time."""
    end = time.monotonic() + patience.total_seconds()
    while (left := end - time.monotonic()) > 0:
        answer = await answer_of(handle, query, kind, min(QUERY_PATIENCE, timedelta(seconds=left)))
        if answer and (found := read(answer)) is not None:
            return found
        await asyncio.sleep(ASKED_EVERY)
    return None


async def ending_of(client: Client, row: AgentRow, *, wait: bool = False) -> Ending:
    """How the agent closed. If it runs, just that; or with ``wait``, how it closes in the end."""
    if row.running and not wait:
        return Ending(status=row.status)
    try:
        return Ending(
            status=RunStatus.COMPLETED,
            result=await client.get_workflow_handle(row.id, run_id=row.run_id).result(),
        )
    except WorkflowFailureError as error:
        return _failed(error)


async def _under_way(client: Client, description: WorkflowExecutionDescription) -> Progress:
    """The sum of what running activities report with their heartbeats, if they report ``Progress``."""
    total = Progress()
    for activity in description.raw_description.pending_activities:
        payloads = activity.heartbeat_details.payloads
        if len(payloads) != 1:
            continue
        try:
            [reported] = await client.data_converter.decode(payloads, [Progress])
        except UNREADABLE:
            continue  # details of another kind
        if isinstance(reported, Progress):
            total.done += reported.done
            total.total += reported.total
    return total


async def _subject_of(description: WorkflowExecutionDescription) -> str:
    try:
        # Agents that were started before memos had a subject may have it in the summary.
        return str(await description.memo_value(SUBJECT, "") or await description.static_summary() or "")
    except UNREADABLE:
        return ""  # nobody can say


async def _fork_of(description: WorkflowExecutionDescription) -> Fork | None:
    try:
        found: Fork | None = await description.memo_value(FORK, None, type_hint=Fork)
    except UNREADABLE:
        return None  # nobody can say
    return found


def _failed(error: WorkflowFailureError) -> Ending:
    """How an agent without a result closed; the failure is `Type: message` of the innermost cause."""
    status = next(
        (status for kind, status in _FAILURES.items() if isinstance(error.cause, kind)), RunStatus.FAILED
    )
    return Ending(status=status, failure=cause_in_words(error.cause))


def cause_in_words(error: BaseException) -> str:
    """`Type: message` of an error's innermost cause."""
    while deeper := getattr(error, "cause", None):
        error = deeper
    kind = (
        error.type if isinstance(error, exceptions.ApplicationError) and error.type else type(error).__name__
    )
    return f"{kind}: {getattr(error, 'message', '') or error}"


_FAILURES: dict[type[BaseException], RunStatus] = {
    exceptions.CancelledError: RunStatus.CANCELLED,
    exceptions.TerminatedError: RunStatus.TERMINATED,
    exceptions.TimeoutError: RunStatus.TIMED_OUT,
}

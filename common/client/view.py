"""What is shown of an agent: a row of a list, and the full view, made of what the agent answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from temporalio import exceptions
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import AgentStatus, Cost, Notebook, NotebookEntry, Progress
from common.agents.batch import PAGE_PREFIX, BatchStatus
from common.agents.fork import FORK, Fork
from common.agents.states import RunStatus as RunStatus
from common.approval.types import ApprovalRequest, ApprovalsView, DecisionRecord
from common.temporal import search_attributes

# A worker answers in milliseconds; if it has to replay a long history, in a second or two.
QUERY_PATIENCE = timedelta(seconds=3)

Answer = TypeVar("Answer")


# Every other status is running: a chain that continued as new is one agent, a paused workflow still runs.
CLOSED: dict[int, RunStatus] = {
    WorkflowExecutionStatus.COMPLETED: RunStatus.COMPLETED,
    WorkflowExecutionStatus.FAILED: RunStatus.FAILED,
    WorkflowExecutionStatus.CANCELED: RunStatus.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: RunStatus.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT: RunStatus.TIMED_OUT,
}


def _readable(value: Any, read: ValidatorFunctionWrapHandler) -> datetime | None:
    try:
        found: datetime | None = read(value)
    except ValidationError:
        return None  # the odd date of one agent must not break the list of all
    return found


class AgentRow(BaseModel):
    """An agent as Temporal's visibility knows it, with or without a worker.

    `state` says what a running agent is doing and equals `status` once it is closed. Times are UTC.
    `approvers`: who may decide what it asks, people and groups; the full lists are in its requests.
    `batch_id`: the batch that it belongs to; `item_of`: the agent of whose batch it does an item, if it does.
    """

    id: str
    run_id: str
    kind: str
    owner: str
    status: RunStatus
    state: str
    node: str
    waiting_for: str | None
    wake_at: Annotated[datetime | None, WrapValidator(_readable)]
    started_at: datetime
    closed_at: datetime | None
    stuck_at: list[str] = Field(default_factory=list)
    approvers: list[str] = Field(default_factory=list)
    batch_id: str = ""
    item_of: str = ""

    @property
    def running(self) -> bool:
        """Whether the agent is not closed yet."""
        return self.status is RunStatus.RUNNING


class InboxRow(AgentRow):
    """An open request of a running agent; an agent with several is in several rows.

    Those that agents of one batch ask alike are one row, that of the newest; `count` says how many they are.
    """

    request_id: str
    digest: str
    count: int = 1


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


def row_of(execution: WorkflowExecution) -> AgentRow:
    """The row of ``execution``, from its search attributes."""
    return row_of_info(execution.raw_info)


def row_of_info(info: WorkflowExecutionInfo) -> AgentRow:
    """The same from the server's message: the SDK's objects would take longer to build than to list."""
    found = {name: json.loads(value.data) for name, value in info.search_attributes.indexed_fields.items()}
    status = CLOSED.get(info.status, RunStatus.RUNNING)
    running = status is RunStatus.RUNNING
    waiting_for = found.get(search_attributes.WAITING_FOR.name) if running else None
    return AgentRow(
        id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        kind=info.type.name,
        owner=found.get(search_attributes.OWNER.name) or "",
        status=status,
        state=(found.get(search_attributes.STATE.name) or "working") if running else status,
        node=found.get(search_attributes.NODE.name) or "",
        waiting_for=waiting_for,
        wake_at=found.get(search_attributes.WAKE_AT.name) if running else None,
        started_at=info.start_time.ToDatetime(UTC),
        closed_at=info.close_time.ToDatetime(UTC) if info.HasField("close_time") else None,
        stuck_at=_listed(found.get(search_attributes.STUCK_AT.name)),
        # The attribute outlives the wait.
        approvers=_listed(found.get(search_attributes.APPROVERS.name)) if waiting_for else [],
        batch_id=found.get(search_attributes.BATCH_ID.name) or "",
        item_of=_agent_of_page(info.parent_execution.workflow_id),
    )


def _agent_of_page(parent: str) -> str:
    """The agent whose batch the page `parent` belongs to, see `page_prefix`; empty for any other parent."""
    return parent.removeprefix(PAGE_PREFIX).rpartition("/")[0] if parent.startswith(PAGE_PREFIX) else ""


def _listed(value: str | list[str] | None) -> list[str]:
    # The server gives a list of one as its one value.
    return [value] if isinstance(value, str) else value or []


async def view_of(client: Client, description: WorkflowExecutionDescription) -> AgentView:
    """The view of the run that was described: its row, overridden by what the agent itself answers."""
    row = row_of(description)
    handle = client.get_workflow_handle(row.id, run_id=row.run_id)
    status, notebook, approvals, under_way, ending = await asyncio.gather(
        answer_of(handle, "status", AgentStatus),
        answer_of(handle, "notebook", Notebook),
        answer_of(handle, "approvals", ApprovalsView),
        _under_way(client, description),
        ending_of(client, row),
    )
    view = AgentView(
        **row.model_dump(),
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
        view.progress = sum_of(view.progress, under_way)
    return view


async def patient_view_of(
    client: Client, description: WorkflowExecutionDescription, attempts: int = 2
) -> AgentView:
    """As `view_of`, repeated if nobody answered: a worker that evicts a run loses its queries."""
    for _ in range(attempts - 1):
        view = await view_of(client, description)
        if view.live:
            return view
    return await view_of(client, description)


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


async def ending_of(client: Client, row: AgentRow, *, wait: bool = False) -> Ending:
    """How the agent closed. If it runs: only that, or with ``wait`` how it closes in the end."""
    if row.running and not wait:
        return Ending(status=row.status)
    try:
        return Ending(
            status=RunStatus.COMPLETED,
            result=await client.get_workflow_handle(row.id, run_id=row.run_id).result(),
        )
    except WorkflowFailureError as error:
        return _failed(error)


def sum_of(counted: Progress, under_way: Progress) -> Progress:
    """What the agent has counted plus what its running activities have reported, at most the total.

    An agent that counts nothing shows what its activities count.
    """
    total = counted.total or under_way.total
    done = counted.done + under_way.done
    return Progress(done=min(done, total) if total else done, total=total)


async def _under_way(client: Client, description: WorkflowExecutionDescription) -> Progress:
    """The sum of what running activities report with their heartbeats, where they report ``Progress``."""
    total = Progress()
    for activity in description.raw_description.pending_activities:
        payloads = activity.heartbeat_details.payloads
        if len(payloads) != 1:
            continue
        try:
            [reported] = await client.data_converter.decode(payloads, [Progress])
        except (ValueError, RuntimeError):
            continue  # details of another kind
        if isinstance(reported, Progress):
            total.done += reported.done
            total.total += reported.total
    return total


async def _fork_of(description: WorkflowExecutionDescription) -> Fork | None:
    try:
        found: Fork | None = await description.memo_value(FORK, None, type_hint=Fork)
    except (ValueError, RuntimeError, TemporalError):
        return None  # nobody can say
    return found


def _failed(error: WorkflowFailureError) -> Ending:
    """How an agent without a result closed; the failure is `Type: message` of the innermost cause."""
    status = next(
        (status for kind, status in _FAILURES.items() if isinstance(error.cause, kind)), RunStatus.FAILED
    )
    cause: BaseException = error.cause
    while deeper := getattr(cause, "cause", None):
        cause = deeper
    kind = (
        cause.type if isinstance(cause, exceptions.ApplicationError) and cause.type else type(cause).__name__
    )
    return Ending(status=status, failure=f"{kind}: {getattr(cause, 'message', '') or cause}")


_FAILURES: dict[type[BaseException], RunStatus] = {
    exceptions.CancelledError: RunStatus.CANCELLED,
    exceptions.TerminatedError: RunStatus.TERMINATED,
    exceptions.TimeoutError: RunStatus.TIMED_OUT,
}

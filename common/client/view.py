"""What is shown of an agent: a row of a list, and the full view, made of what the agent answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
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
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import SUBJECT, AgentStatus, Cost, Notebook, NotebookEntry, Progress
from common.agents.batch import PAGE_PREFIX, BatchStatus
from common.agents.fork import FORK, Fork
from common.agents.states import AgentState
from common.agents.states import RunStatus as RunStatus
from common.approval.types import ApprovalRequest, ApprovalsView, DecisionRecord
from common.client.trouble import Trouble, failing_task, stuck
from common.temporal import search_attributes
from common.temporal.converter import UNREADABLE

# A worker answers in milliseconds; if it has to replay a long history, in a second or two.
QUERY_PATIENCE = timedelta(seconds=3)
ASKED_EVERY = 0.2

Answer = TypeVar("Answer")
Found = TypeVar("Found")


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
    `pinned_to`: the build of the workers that alone serve it, as `deployment:build`; empty where any may.
    `queue`: the task queue that its workers poll. `node_since`: when it came to its node.
    `trouble`: why a running agent does not get on, as far as was looked.
    `subject`: what it is about, in a few words, if it says; in lists only where that was looked at, which
    `kept_subject` is for, the payload of its memo.
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
    pinned_to: str = ""
    queue: str = Field("", exclude=True)
    node_since: Annotated[datetime | None, WrapValidator(_readable)] = Field(None, exclude=True)
    subject: str = ""
    kept_subject: bytes = Field(b"", exclude=True, repr=False)
    trouble: list[Trouble] = Field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether the agent is not closed yet."""
        return self.status is RunStatus.RUNNING


class InboxRow(AgentRow):
    """An open request of a running agent; an agent with several is in several rows.

    Those that agents of one batch ask alike are one row, that of the newest; `count` says how many they are.
    Of the newest rows it is told what is asked: `question` in words, since `asked_at`, who has `decided`, and
    whether it is `overdue`; `question` is None where that was not looked up, or cannot be read now.
    """

    request_id: str
    digest: str
    count: int = 1
    question: str | None = None
    asked_at: datetime | None = None
    decided: tuple[str, ...] = ()
    overdue: bool = False


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
    id, node = info.execution.workflow_id, found.get(search_attributes.NODE.name) or ""
    state = (found.get(search_attributes.STATE.name) or AgentState.WORKING) if running else status
    problems = _listed(found.get(search_attributes.PROBLEMS)) if running else []
    return AgentRow(
        id=id,
        run_id=info.execution.run_id,
        kind=info.type.name,
        owner=found.get(search_attributes.OWNER.name) or "",
        status=status,
        state=state,
        node=node,
        waiting_for=waiting_for,
        wake_at=found.get(search_attributes.WAKE_AT.name) if running else None,
        started_at=info.start_time.ToDatetime(UTC),
        closed_at=info.close_time.ToDatetime(UTC) if info.HasField("close_time") else None,
        stuck_at=_listed(found.get(search_attributes.STUCK_AT.name)),
        # The attribute outlives the wait.
        approvers=_listed(found.get(search_attributes.APPROVERS.name)) if waiting_for else [],
        batch_id=found.get(search_attributes.BATCH_ID.name) or "",
        item_of=_agent_of_page(info.parent_execution.workflow_id),
        queue=info.task_queue,
        node_since=found.get(search_attributes.NODE_SINCE.name),
        kept_subject=info.memo.fields[SUBJECT].SerializeToString() if SUBJECT in info.memo.fields else b"",
        pinned_to=(found.get(search_attributes.BUILD) or "")
        if found.get(search_attributes.BEHAVIOR) == search_attributes.PINNED
        else "",
        trouble=[
            *([failing_task(id, info.type.name, 0, search_attributes.problem(problems))] if problems else []),
            *(
                [stuck(id, node, search_attributes.parse_missing(waiting_for))]
                if state == AgentState.STUCK
                else []
            ),
        ],
    )


def _agent_of_page(parent: str) -> str:
    """The agent whose batch the page `parent` belongs to, see `page_prefix`; empty for any other parent."""
    return parent.removeprefix(PAGE_PREFIX).rpartition("/")[0] if parent.startswith(PAGE_PREFIX) else ""


def _listed(value: str | list[str] | None) -> list[str]:
    # The server gives a list of one as its one value.
    return [value] if isinstance(value, str) else value or []


async def view_of(
    client: Client, description: WorkflowExecutionDescription, patience: timedelta
) -> AgentView:
    """The view of the run that was described: its row, overridden by what the agent answers in time."""
    row = row_of(description)
    handle = client.get_workflow_handle(row.id, run_id=row.run_id)
    # A worker drops a closed run with its answer, and with it what it is asked of that run at that moment.
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
    """As `view_of`, repeated if nobody answered: a worker that evicts a run loses its queries."""
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
    """What `read` finds in the answer to a query, asked again until it does; None if not in time."""
    end = time.monotonic() + patience.total_seconds()
    while (left := end - time.monotonic()) > 0:
        answer = await answer_of(handle, query, kind, min(QUERY_PATIENCE, timedelta(seconds=left)))
        if answer and (found := read(answer)) is not None:
            return found
        await asyncio.sleep(ASKED_EVERY)
    return None


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


async def _under_way(client: Client, description: WorkflowExecutionDescription) -> Progress:
    """The sum of what running activities report with their heartbeats, where they report ``Progress``."""
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
        # Of agents that were started before their memo said so, the summary may.
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

"""A row of a list: what visibility knows of an agent, with or without a worker."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from common.agents.agent import SUBJECT
from common.agents.batch import PAGE_PREFIX
from common.agents.states import AgentState, RunStatus
from common.client.trouble import Trouble, failing_task, stuck
from common.temporal import search_attributes

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
    `batch_id`: the batch that it belongs to; `item_of`: the agent whose batch it does an item of, if any.
    `pinned_to`: the only build that may serve it, as `deployment:build`; empty if any may.
    `queue`: the task queue that its workers poll. `node_since`: when it came to its node.
    `trouble`: why a running agent makes no progress, as far as was examined.
    `subject`: what it is about, in a few words, if it says; in lists only if that was decoded from
    `kept_subject`, the payload of its memo.
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

    Identical requests of one batch share a row, that of the newest; `count` is their number. Only the newest
    rows have details: the `question`, when it was asked (`asked_at`), who has `decided`, and whether it is
    `overdue`. Elsewhere, and where the agent cannot be read now, `question` is None.
    """

    request_id: str
    digest: str
    count: int = 1
    question: str | None = None
    asked_at: datetime | None = None
    decided: tuple[str, ...] = ()
    overdue: bool = False


def row_of(execution: WorkflowExecution) -> AgentRow:
    """The row of ``execution``, from its search attributes."""
    return row_of_info(execution.raw_info)


def row_of_info(info: WorkflowExecutionInfo) -> AgentRow:
    """The same from the server's message: building the SDK's objects would take longer than listing."""
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
        # The attribute is not cleared when the wait ends.
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


def waits_in_words(row: AgentRow, one: str, many: str) -> str:
    """What an agent waits for, without digests; its open requests as `one` or as so many of `many`."""
    approvals = search_attributes.parse_waiting_for_approvals(row.waiting_for)
    if not approvals:
        return row.waiting_for or ""
    if search_attributes.is_cut(row.waiting_for):
        return f"over {len(approvals)} {many}"
    return one if len(approvals) == 1 else f"{len(approvals)} {many}"


def _agent_of_page(parent: str) -> str:
    """The agent whose batch the page `parent` belongs to, see `page_prefix`; empty for any other parent."""
    return parent.removeprefix(PAGE_PREFIX).rpartition("/")[0] if parent.startswith(PAGE_PREFIX) else ""


def _listed(value: str | list[str] | None) -> list[str]:
    # The server returns a list of one value as that value.
    return [value] if isinstance(value, str) else value or []

"""The log of notice delivery: where each notice went, after how many attempts, and why it failed."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, Field
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from common.client.visibility import quote
from common.notices.types import COURIER, DeliveryLog, DeliveryReceipt, NoticeEvent, agent_of, courier_id

# A running delivery is asked by query, which needs a worker.
QUERY_PATIENCE = timedelta(seconds=2)
# An activity that only waits for the end of a question; it delivers nothing.
WATCH = "question_end"


class CourierRow(BaseModel):
    """One notice and its deliveries so far; `event` is None if it is not known.

    `attempts` counts attempts of deliveries in progress, by activity name.
    """

    id: str
    agent: str
    event: NoticeEvent | None
    at: datetime
    ended: bool
    receipts: list[DeliveryReceipt] = Field(default_factory=list)
    attempts: dict[str, int] = Field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether a delivery failed for good."""
        return any(each.failed for each in self.receipts)


async def recent_couriers(client: Client, agent: str | None, *, failed: bool, limit: int) -> list[CourierRow]:
    """The newest notices of one agent or all; with `failed`, only those with a failed delivery.

    Raises:
        UnusableValueError: no query can hold that agent's id.
        RPCError: Temporal does not answer.
    """
    query = f"WorkflowType = '{COURIER}'"
    if agent is not None:
        query += f" AND WorkflowId STARTS_WITH {quote(courier_id(agent + '/'))}"
    found = list[CourierRow]()
    async for execution in client.list_workflows(query):
        row = await _row(client, execution)
        if row is not None and (agent in (None, row.agent)) and (row.failed or not failed):
            found.append(row)
        if len(found) == limit:
            break
    return found


async def _row(client: Client, execution: WorkflowExecution) -> CourierRow | None:
    handle = client.get_workflow_handle(execution.id, run_id=execution.run_id, result_type=DeliveryLog)
    row = CourierRow(
        id=execution.id,
        agent=agent_of(execution.id),
        event=None,
        at=execution.start_time,
        ended=execution.status is not WorkflowExecutionStatus.RUNNING,
    )
    try:
        if execution.status is WorkflowExecutionStatus.COMPLETED:
            log = await handle.result()
        else:
            for pending in (await handle.describe()).raw_description.pending_activities:
                if pending.activity_type.name != WATCH:
                    row.attempts[pending.activity_type.name] = pending.attempt
            log = await handle.query("log", result_type=DeliveryLog, rpc_timeout=QUERY_PATIENCE)
    except WorkflowQueryFailedError:
        return row
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None  # erased in the meantime
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            return row
        raise
    row.event, row.receipts = log.event, log.receipts
    return row

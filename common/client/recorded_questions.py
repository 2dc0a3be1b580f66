"""What an agent asks, read from its history, for when no worker answers for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import TypeVar

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client
from temporalio.converter import DataConverter, WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import AgentInput
from common.approval.types import ApprovalRequest, Decision, DecisionRecord, DecisionStatus
from common.client.rows import AgentRow
from common.client.view import AgentView
from common.notices.types import Notice, Told
from common.temporal.converter import UNREADABLE
from common.temporal.search_attributes import parse_waiting_for_approvals

# A question is near the end of its history, or at the beginning of one that started afresh.
EVENTS, MAX_PAGES = 200, 10
NOTIFY, LOCAL_ACTIVITY = "notify", "core_local_activity"

Value = TypeVar("Value")


@dataclass
class RecordedQuestions:
    """Open requests, oldest first, as they were asked; and the decisions that people have sent since.

    Only the agent says whether a decision counts, so each is shown as waiting; a request's votes may be old.
    """

    requests: list[ApprovalRequest] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)


async def fill_recorded_questions(client: Client, view: AgentView) -> None:
    """If no worker answers for a running agent, fill its view with what it asks according to its history."""
    if view.running and not view.live:
        recorded = await recorded_questions(client, view)
        view.requests, view.decisions = recorded.requests, recorded.decisions


async def recorded_questions(client: Client, row: AgentRow) -> RecordedQuestions:
    """The requests that visibility lists as open, from the agent's history, as far as it can be read."""
    wanted = set(parse_waiting_for_approvals(row.waiting_for))
    if not wanted:
        return RecordedQuestions()
    found = dict[tuple[str, str], ApprovalRequest]()
    decisions = list[DecisionRecord]()
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=row.id)
    reader = client.data_converter.with_context(context)
    async for event in _newest_first(client, row):
        for request in await _asked_in(event, row.owner, reader):
            if (request.id, request.digest) in wanted:
                # Only the agent's search attribute says whether it was escalated since.
                escalated = request.escalated or bool(set(request.policy.escalate_to) & set(row.approvers))
                request = request.model_copy(update={"escalated": escalated})
                found.setdefault((request.id, request.digest), request)
        decision = await _decided_in(event, reader)
        if decision and (decision.request_id, decision.digest) in wanted:
            at = event.event_time.ToDatetime(UTC)
            decisions.insert(0, DecisionRecord.of(decision, DecisionStatus.WAITING, at))
        if len(found) == len(wanted):
            break
    return RecordedQuestions(sorted(found.values(), key=lambda request: request.asked_at), decisions)


async def _newest_first(client: Client, row: AgentRow) -> AsyncIterator[HistoryEvent]:
    request = GetWorkflowExecutionHistoryReverseRequest(namespace=client.namespace, maximum_page_size=EVENTS)
    request.execution.workflow_id, request.execution.run_id = row.id, row.run_id
    for _ in range(MAX_PAGES):
        try:
            page = await client.workflow_service.get_workflow_execution_history_reverse(request, retry=True)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return
        for event in page.history.events:
            yield event
        request.next_page_token = page.next_page_token
        if not page.next_page_token:
            return


async def _asked_in(event: HistoryEvent, owner: str, reader: DataConverter) -> list[ApprovalRequest]:
    """The requests in an event: those of a notice that asks, or those that a fresh history began with."""
    if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name != LOCAL_ACTIVITY:
            return []
        if _name_in(marker.details["data"]) != NOTIFY:
            return []
        told = await _decoded(marker.details["result"], Told, reader)
        with suppress(ValueError):
            if told and (request := told.request(owner)):
                return [request]
        return []
    if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name != NOTIFY:
            return []
        notice = await _decoded(scheduled.input, Notice, reader)
        return [notice.request] if notice and notice.request else []
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        input = await _decoded(event.workflow_execution_started_event_attributes.input, AgentInput, reader)
        return list(input.carried.approvals.open.values()) if input and input.carried else []
    return []


def _name_in(data: Payloads) -> str:
    """The name of a local activity, which the SDK writes beside the result: always in plain text."""
    try:
        return str(json.loads(data.payloads[0].data)["activity_type"])
    except (ValueError, LookupError, TypeError):
        return ""


async def _decided_in(event: HistoryEvent, reader: DataConverter) -> Decision | None:
    if event.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
        return None
    signal = event.workflow_execution_signaled_event_attributes
    return await _decoded(signal.input, Decision, reader) if signal.signal_name == "decide" else None


async def _decoded(payloads: Payloads, kind: type[Value], reader: DataConverter) -> Value | None:
    """The one value of these payloads; None if it cannot be read as that kind."""
    if len(payloads.payloads) != 1:
        return None
    try:
        [found] = await reader.decode(payloads.payloads, [kind])
    except UNREADABLE:
        return None
    return found  # type: ignore[no-any-return]

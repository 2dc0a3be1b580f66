"""Follows the histories of a rehearsal's workflows, and skips time in all of them at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from common.grammar import EARLIEST
from common.temporal import search_attributes

PAGE = 200
LEAST_STEP = timedelta(milliseconds=10)
MAX_SKIPS = 50_000
# Temporal retries a failing workflow task for ever; after this many attempts it counts as broken.
TRIES = 2
# Key of a delayed start among the timers; event ids count from 1.
START = 0


@dataclass
class Tracked:
    """A workflow of a rehearsal, as far as it has been read.

    Attributes:
        id: of the workflow; `kind` is its type.
        timers: when running ones fire, by the id of the event that started each.
        pending: events that wait for an event of another workflow or of the server.
        children: workflows it has started that have not ended, as far as it knows.
        now: its time at the last look, taken at `looked_at` on this machine's monotonic clock.
        shown: its search attributes.
        flaw: why its last workflow task failed, and will fail again.
    """

    id: str
    kind: str = ""
    run_id: str = ""
    seen: int = 0
    timers: dict[int, datetime] = field(default_factory=dict)
    pending: set[int] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    now: datetime = EARLIEST
    looked_at: float = 0.0
    shown: dict[str, Any] = field(default_factory=dict)
    flaw: str = ""
    is_running: bool = True
    is_busy: bool = True
    is_stuck: bool = False

    @property
    def waiting_for(self) -> str:
        """What it waits for, from its search attribute."""
        return str(self.shown.get(search_attributes.WAITING_FOR.name) or "")

    @property
    def due(self) -> datetime | None:
        """When its next timer fires; None while it has children, as the server then skips no time for it."""
        return None if self.children else min(self.timers.values(), default=None)


class Histories:
    """Reads the histories of a rehearsal's workflows as they grow, and skips their time.

    Args:
        client: of the rehearsal's own server.
        take: called with each event once, in history order.
    """

    def __init__(self, client: Client, take: Callable[[Tracked, HistoryEvent], None]) -> None:
        self._client, self._take = client, take
        self._skipper = TimeSkipper(client, config=TimeSkippingConfig(max_session_skip_count=MAX_SKIPS))
        self.tracked: dict[str, Tracked] = {}

    def track(self, id: str) -> None:
        """Follow this workflow, too."""
        self.tracked.setdefault(id, Tracked(id))

    @property
    def flaw(self) -> str:
        """Why one of them cannot continue; empty if all can."""
        return next((f"{each.id}: {each.flaw}" for each in self.running if each.is_stuck and each.flaw), "")

    @property
    def running(self) -> list[Tracked]:
        """The workflows that have not ended."""
        return [each for each in self.tracked.values() if each.is_running]

    async def look(self) -> bool:
        """Read what has happened since the last look; return whether all running ones are at rest."""
        await asyncio.gather(*map(self._look_at, self.running))
        ended = {each.id for each in self.tracked.values() if not each.is_running}
        return not any(
            each.is_busy or each.pending or each.children & ended or (each.due and each.due <= each.now)
            for each in self.running
        )

    async def forward(self, to: datetime) -> None:
        """Skip time up to `to` in all that have no running children."""
        await asyncio.gather(*(self._forward(each, to) for each in self.running if not each.children))

    async def _forward(self, tracked: Tracked, to: datetime) -> None:
        # Time has passed since the look. Too short a step is repeated; too long a one is waited out.
        now = tracked.now + timedelta(seconds=time.monotonic() - tracked.looked_at)
        step = max(to - now, LEAST_STEP)
        try:
            await self._skipper.fast_forward(self._client.get_workflow_handle(tracked.id), step)
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
                raise  # otherwise it has ended in the meantime

    async def _look_at(self, tracked: Tracked) -> None:
        looked_at = time.monotonic()
        try:
            described = await self._client.get_workflow_handle(tracked.id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return  # not started yet
            raise
        raw = described.raw_description
        info = raw.workflow_execution_info
        tracked.kind = info.type.name
        tracked.run_id = tracked.run_id or info.first_run_id
        tracked.is_stuck = raw.pending_workflow_task.attempt > TRIES
        tracked.is_busy = bool(raw.pending_activities) or raw.HasField("pending_workflow_task")
        skipping = raw.workflow_extended_info.time_skipping_info
        tracked.now = (
            skipping.current_time.ToDatetime(UTC) if skipping.HasField("current_time") else datetime.now(UTC)
        )
        tracked.looked_at = looked_at
        if info.execution.run_id != tracked.run_id or info.history_length > tracked.seen:
            await self._read(tracked, info.execution.run_id)
            # Events newer than the description may have started something.
            tracked.is_busy = tracked.is_busy or tracked.seen > info.history_length
        tracked.is_running = info.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING

    async def _read(self, tracked: Tracked, newest: str) -> None:
        """Read the new events, run after run."""
        while True:
            events = await self._new_events(tracked)
            for event in events:
                tracked.seen = event.event_id
                self._note(tracked, event)
                self._take(tracked, event)
            if tracked.run_id == newest:
                return
            last = events[-1] if events else None
            following = (
                last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id if last else ""
            )
            tracked.run_id, tracked.seen = following or newest, 0
            tracked.timers.clear()
            tracked.pending.clear()

    async def _new_events(self, tracked: Tracked) -> list[HistoryEvent]:
        found: list[HistoryEvent] = []
        token = b""
        while True:
            page = await self._client.workflow_service.get_workflow_execution_history_reverse(
                GetWorkflowExecutionHistoryReverseRequest(
                    namespace=self._client.namespace,
                    execution=WorkflowExecution(workflow_id=tracked.id, run_id=tracked.run_id),
                    maximum_page_size=PAGE,
                    next_page_token=token,
                )
            )
            new = [each for each in page.history.events if each.event_id > tracked.seen]
            found += new
            token = page.next_page_token
            if not token or len(new) < len(page.history.events):
                return found[::-1]

    def _note(self, tracked: Tracked, event: HistoryEvent) -> None:
        """Track what the workflow waits for."""
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                delay = event.workflow_execution_started_event_attributes.first_workflow_task_backoff
                if delay.ToTimedelta():
                    tracked.timers[START] = event.event_time.ToDatetime(UTC) + delay.ToTimedelta()
            case EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
                tracked.timers.pop(START, None)
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                tracked.flaw = event.workflow_task_failed_event_attributes.failure.message
            case EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                tracked.flaw = ""
            case EventType.EVENT_TYPE_TIMER_STARTED:
                after = event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
                tracked.timers[event.event_id] = event.event_time.ToDatetime(UTC) + after
            case EventType.EVENT_TYPE_TIMER_FIRED:
                tracked.timers.pop(event.timer_fired_event_attributes.started_event_id, None)
            case EventType.EVENT_TYPE_TIMER_CANCELED:
                tracked.timers.pop(event.timer_canceled_event_attributes.started_event_id, None)
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes
                for name, value in upserted.indexed_fields.items():
                    tracked.shown[name] = json.loads(value.data or b"null")
            case EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
                tracked.pending.add(event.event_id)
            case EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                tracked.pending.add(event.event_id)
            case _:
                for id in _resolved(event):
                    tracked.pending.discard(id)
                self._note_child(tracked, event)

    def _note_child(self, tracked: Tracked, event: HistoryEvent) -> None:
        attributes = _attributes(event)
        name = EventType.Name(event.event_type)
        if name == "EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED":
            tracked.children.add(attributes.workflow_execution.workflow_id)
            self.track(attributes.workflow_execution.workflow_id)
        elif name.startswith("EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_"):
            tracked.children.discard(attributes.workflow_execution.workflow_id)


def _resolved(event: HistoryEvent) -> Iterator[int]:
    """The ids of the events that this one resolves."""
    if id := getattr(_attributes(event), "initiated_event_id", 0):
        yield id


def _attributes(event: HistoryEvent) -> Any:
    return getattr(event, event.WhichOneof("attributes") or "", None)

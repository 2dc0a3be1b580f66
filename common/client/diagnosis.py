"""Finds out why an agent makes no progress, from its row and from Temporal's description of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import (
    EventType,
    PendingActivityState,
    PendingWorkflowTaskState,
    TaskQueueType,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from common.agents.states import AgentState
from common.approval.groups import Directory
from common.approval.types import ApprovalRequest
from common.client.limits import long_history
from common.client.pollers import Pollers, pollers
from common.client.rows import AgentRow, row_of
from common.client.trouble import (
    MAX_ERROR,
    NOT_IN_TIME,
    Cause,
    Trouble,
    build_gone,
    failing_activity,
    failing_task,
    no_worker,
    nobody_decides,
    nobody_wakes,
    overslept,
)
from common.client.view import cause_in_words
from common.failures import advice, code_place
from common.settings import SettingsError
from common.temporal.converter import UNREADABLE
from common.temporal.search_attributes import APPROVAL, MORE

# A task that has waited this long may have no worker; a busy worker is given the time.
UNSERVED_AFTER = timedelta(seconds=10)
# Visibility shows a wake-up with a delay.
OVERDUE_AFTER = timedelta(minutes=2)
# How many agents of a list are examined closely, for how long in all, and how many in parallel.
MAX_EXAMINED, EXAMINE_PATIENCE, EXAMINED_AT_ONCE = 100, timedelta(seconds=1), 16
# Seconds for which the pollers of a queue are cached.
POLLED_FOR = 5.0
# A workflow task's failure is among the last events: further attempts add none.
LAST_EVENTS = 20


class Diagnosis:
    """Says what trouble agents are in.

    Args:
        client: a client of the agents' namespace.
        directory: the groups of people, to find approvals that nobody could give.
        queue: the agents' task queue.
    """

    def __init__(self, client: Client, directory: Directory, queue: str) -> None:
        self._client, self._directory, self._queue = client, directory, queue
        self._polled: dict[tuple[str, int], tuple[float, Pollers]] = {}

    async def workers(self) -> Pollers:
        """The workers that take agents' tasks, as of a few seconds ago.

        Raises:
            RPCError: Temporal could not be asked.
        """
        return await self._pollers(self._queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)

    def of_row(
        self, row: AgentRow, now: datetime, workers: Mapping[str, Pollers] | None = None
    ) -> list[Trouble]:
        """The trouble that a row of visibility shows; the agent may be in trouble that the row does not show.

        Args:
            row: the agent.
            now: the time.
            workers: the workers by task queue, as far as known.
        """
        if not row.running:
            return []
        found = [each for each in row.trouble if each.cause in (Cause.STUCK, Cause.TASK_FAILS)]
        polling = (workers or {}).get(row.queue)
        if row.pinned_to and polling and not polling.serve(row.pinned_to):
            found.append(build_gone(row.pinned_to))
        asks = (row.waiting_for or "").startswith(APPROVAL)
        if asks and MORE not in row.approvers and not self._people(row.approvers):
            found.append(nobody_decides(row.id, row.approvers))
        if row.wake_at and now - row.wake_at > OVERDUE_AFTER and row.state != AgentState.PAUSED:
            found.append(overslept(row.wake_at))
        if row.state == AgentState.SLEEPING and row.wake_at is None and row.waiting_for in (None, "", "time"):
            found.append(nobody_wakes(row.id))
        return found

    async def look(
        self,
        rows: Sequence[AgentRow],
        now: datetime,
        *,
        most: int = MAX_EXAMINED,
        patience: timedelta = EXAMINE_PATIENCE,
        quiet: bool = False,
    ) -> int:
        """Set the trouble of each of `rows`; a few of them are examined closely, within a time limit.

        Args:
            rows: agents as visibility knows them.
            now: the time.
            most: how many to examine closely; those that show trouble come first.
            patience: the time limit.
            quiet: also examine those that neither show trouble nor work.

        Returns:
            How many were examined closely.

        Raises:
            RPCError: Temporal could not be asked.
        """
        workers = await self._workers_of(rows)
        for row in rows:
            row.trouble = self.of_row(row, now, workers)
        unclear = [row for row in rows if quiet or row.trouble or row.state == AgentState.WORKING]
        slots, end = asyncio.Semaphore(EXAMINED_AT_ONCE), time.monotonic() + patience.total_seconds()

        async def look_at(row: AgentRow) -> bool:
            async with slots:
                if time.monotonic() > end:
                    return False
                try:
                    handle = self._client.get_workflow_handle(row.id, run_id=row.run_id)
                    row.trouble = await self.of(await handle.describe(), now)
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                return True

        chosen = sorted(unclear, key=lambda row: not row.trouble)[:most]
        return sum(await asyncio.gather(*map(look_at, chosen)))

    async def of(
        self,
        described: WorkflowExecutionDescription,
        now: datetime,
        requests: Sequence[ApprovalRequest] = (),
    ) -> list[Trouble]:
        """All trouble that a running agent is in.

        Args:
            described: its latest run.
            now: the time.
            requests: its open requests, if it answers.

        Raises:
            RPCError: Temporal could not be asked.
        """
        row = row_of(described)
        if not row.running:
            return []
        found = self.of_row(row, now, await self._workers_of([row]))
        if requests:
            found = [each for each in found if each.cause is not Cause.WAITS_FOR_NOBODY]
            found += filter(None, [self._nobody(row.id, request) for request in requests])
        # Of these, visibility has only guesses and the description has facts.
        gone = any(each.cause is Cause.BUILD_GONE for each in found)
        task = None if gone else await self._task(described, row.pinned_to, now)
        found = [each for each in found if each.cause not in (Cause.TASK_FAILS, Cause.NO_WORKER)]
        found = [*filter(None, [task]), *found]
        pending = described.raw_description.pending_activities
        if not gone:
            found += filter(None, await asyncio.gather(*(self._activity(each, row, now) for each in pending)))
        return [*found, *filter(None, [long_history(described)])]

    def _people(self, named: Sequence[str]) -> set[str]:
        """The people named, with groups replaced by their members if the groups can be read."""
        try:
            return set(self._directory.people(named))
        except SettingsError:
            return set(named)

    def _nobody(self, id: str, request: ApprovalRequest) -> Trouble | None:
        """The trouble of a request that too few people could ever decide."""
        policy = request.policy
        people = self._people(policy.deciders(escalated=bool(policy.escalate_to)))
        if not policy.requester_may_approve:
            people.discard(request.requester)
        able = people | {vote.decision.by for vote in request.votes}
        if len(able) >= policy.quorum:
            return None
        return nobody_decides(id, request.deciders, policy.quorum, len(people))

    async def _task(
        self, described: WorkflowExecutionDescription, build: str, now: datetime
    ) -> Trouble | None:
        """What is wrong with the agent's own workflow task, if anything."""
        if not described.raw_description.HasField("pending_workflow_task"):
            return None
        pending = described.raw_description.pending_workflow_task
        if pending.attempt > 1:
            error, worker = await self._last_task_error(described)
            # The first time-out is due to a worker that died; another one has the task by now.
            if error is None and pending.attempt == 2:
                return None
            kind = described.workflow_type
            return failing_task(described.id, kind, pending.attempt, error or NOT_IN_TIME, worker)
        since = pending.original_scheduled_time.ToDatetime(UTC)
        begun = pending.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
        if begun or now - since < UNSERVED_AFTER:
            return None
        found = await self._pollers(described.task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
        return None if found.serve(build) else no_worker(described.task_queue, since, found)

    async def _activity(self, pending: PendingActivityInfo, row: AgentRow, now: datetime) -> Trouble | None:
        if pending.HasField("last_failure"):
            return failing_activity(pending, await self._in_words(pending.last_failure), now)
        if pending.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            return None
        queue = pending.activity_options.task_queue.name
        since = pending.scheduled_time.ToDatetime(UTC)
        if not queue or now - since < UNSERVED_AFTER:
            return None
        found = await self._pollers(queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
        # If the agent's build never polled this queue, it is served as if the agent were not pinned.
        served = found.serve(row.pinned_to) or found.serve("")
        return None if served else no_worker(queue, since, found)

    async def _workers_of(self, rows: Sequence[AgentRow]) -> dict[str, Pollers]:
        """The workers, by task queue, for those of `rows` that are pinned to a build."""
        kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
        return {
            queue: await self._pollers(queue, kind) for queue in {row.queue for row in rows if row.pinned_to}
        }

    async def _pollers(self, queue: str, kind: TaskQueueType.ValueType) -> Pollers:
        at, found = self._polled.get((queue, kind), (0.0, None))
        if found is None or time.monotonic() - at > POLLED_FOR:
            found = await pollers(self._client, queue, kind)
            self._polled[queue, kind] = time.monotonic(), found
        return found

    async def _last_task_error(self, described: WorkflowExecutionDescription) -> tuple[str | None, str]:
        """Why the last workflow task failed, and at which worker; None if it timed out instead."""
        info = described.raw_description.workflow_execution_info
        request = GetWorkflowExecutionHistoryReverseRequest(
            namespace=self._client.namespace, execution=info.execution, maximum_page_size=LAST_EVENTS
        )
        page = await self._client.workflow_service.get_workflow_execution_history_reverse(request, retry=True)
        for event in page.history.events:
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failed = event.workflow_task_failed_event_attributes
                return await self._in_words(failed.failure), failed.identity
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
                break
        return None, ""

    async def _in_words(self, failure: Failure) -> str:
        try:
            error = await self._client.data_converter.decode_failure(failure)
            words, place = cause_in_words(error), code_place(_trace(error))
        except UNREADABLE:
            words, place = failure.message, ""
        words, most = advice(" ".join(words.split())), MAX_ERROR - len(place)
        return (words if len(words) <= most else words[: most - 1] + MORE) + place


def _trace(error: BaseException) -> str:
    """The traceback of an error's innermost cause that has one."""
    trace = getattr(getattr(error, "failure", None), "stack_trace", "")
    cause = getattr(error, "cause", None)
    return (_trace(cause) if cause else "") or trace

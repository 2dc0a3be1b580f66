"""A page of a batch: processes a few hundred items in a sliding window, and reports to the agent.

It is not an agent. An activity starts it, so no run of the agent is its parent, and it goes on when the
agent's history starts afresh. Its own history never has to, because its number of items is limited. It ends
on the build it began on; the next page begins on the current one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.batch.pages import BatchPages
    from activities.batch.records import ItemResults, Items, PageRequest, ReadRequest, WriteRequest
    from common.agents.batch import (
        ASKING,
        MAX_SHOWN,
        PAGE,
        REPORT,
        WIDTH,
        BatchItem,
        InFlight,
        ItemAsks,
        ItemResult,
        Quarantined,
        Verdict,
        item_agent_id,
    )
    from common.agents.batch_queue import ItemQueue
    from common.agents.batch_state import PageReport
    from common.agents.batch_verdicts import bounded, done, failed, set_aside
    from common.errors import permanent
    from workflows.batch_agents import STEP, ItemAgents
    from workflows.starts import require_signed

# While items wait to begin, the page reports after this share of its items, or at the first end after this
# time. Once none wait, it reports every end, because each frees a slot for another page.
SHARE_OF_A_REPORT = 0.05
REPORT_AFTER = timedelta(seconds=30)


@workflow.defn(name=PAGE)
class BatchPage:
    """Processes the items of one page; each gets one verdict."""

    @workflow.init
    def __init__(self, request: PageRequest) -> None:
        self._request = request
        self._work = request.work
        self._width = request.width
        self._waiting = request.page.count
        self._in_flight: dict[str, datetime] = {}
        self._results: list[ItemResult] = []
        self._queue = ItemQueue(request.work.together)
        self._asking: dict[str, ItemAsks] = {}
        self._serial = 0
        self._told: PageReport | None = None
        self._told_at = workflow.now()
        # Whether the agent has ended, so that nobody needs the results.
        self._agent_has_ended = False
        self._over = False
        self._agents = ItemAgents(request)

    @workflow.run
    async def run(self, request: PageRequest) -> PageReport:
        """Process every item, and return the last report."""
        await require_signed(request)
        items = await workflow.execute_activity_method(
            BatchPages.read_items, ReadRequest(items=request.page.items), **STEP
        )
        reporting = asyncio.create_task(self._keep_reporting())
        doing: list[asyncio.Task[None]] = []
        cancelled: asyncio.CancelledError | None = None
        try:
            self._queue.left.extend(items.items)
            while not self._queue.is_empty:
                await workflow.wait_condition(self._can_go_on)
                if self._agent_has_ended:
                    break
                if self._queue.left:
                    doing.append(asyncio.create_task(self._begun(self._queue.take(self._width))))
            await asyncio.gather(*doing)
        except asyncio.CancelledError as error:
            cancelled = error
            for each in doing:
                each.cancel()
            await asyncio.gather(*doing, return_exceptions=True)
        if len(self._results) < len(items.items):
            reason = "cancelled" if cancelled else "not begun, as the agent had ended"
            known = {each.key for each in self._results}
            for item in items.items:
                if item.key not in known:
                    self._judge(set_aside(item.key, reason))
            self._waiting = 0
        self._over = True
        await reporting
        results = await workflow.execute_activity_method(
            BatchPages.write_results,
            WriteRequest(parent=request.parent, results=tuple(self._results)),
            **STEP,
        )
        report = self._report().model_copy(update={"results": results})
        await self._send(report)
        if cancelled:
            raise cancelled
        return report

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, arguments: Sequence[RawValue]) -> None:
        """Handle a new width, or the open questions of one of the page's agents; ignore anything else."""
        kind: type[Any] | None = {WIDTH: int, ASKING: ItemAsks}.get(name)
        if kind is None or len(arguments) != 1:
            return
        try:
            value = workflow.payload_converter().from_payload(arguments[0].payload, kind)
        except Exception:
            return  # a raise here would wedge the page
        if isinstance(value, ItemAsks):
            self._asking.pop(value.agent, None)
            if value.questions:
                self._asking[value.agent] = value
        else:
            self._width = value

    @workflow.query
    def verdicts(self) -> WriteRequest:
        """Every verdict so far."""
        return WriteRequest(parent=self._request.parent, results=tuple(self._results))

    def _can_go_on(self) -> bool:
        """Whether an item can begin, or none is left to begin."""
        if self._queue.left:
            return len(self._in_flight) < self._width or self._agent_has_ended
        return self._queue.is_empty or self._agent_has_ended

    def _begun(self, items: Sequence[BatchItem]) -> Coroutine[Any, Any, None]:
        """The coroutine for the items of one call; the first of them counts as begun."""
        self._begin(items[0])
        return self._do_several(items) if self._work.together > 1 else self._do(items[0])

    def _begin(self, item: BatchItem) -> None:
        self._waiting -= 1
        self._in_flight[item.key] = workflow.now()

    async def _do(self, item: BatchItem) -> None:
        """Process one item and record its verdict."""
        try:
            result = await (self._start(item) if self._work.kind else self._call(item.argument))
        except (FailureError, asyncio.CancelledError) as error:
            self._failed(item, error)
        else:
            self._judge(done(item.key, result))

    async def _do_several(self, items: Sequence[BatchItem]) -> None:
        """Process several items in one call, and take back those it did not get to.

        The first counts as in flight for the whole call; the others may not have begun.
        """
        first, began = items[0], workflow.now()
        try:
            found = await self._call(Items(items=tuple(items)), ItemResults)
            judged = {each.key: each for each in found.results if each.key in {item.key for item in items}}
            if not judged:
                raise permanent("NoVerdict", "its call has judged none")
        except (FailureError, asyncio.CancelledError) as error:
            if len(items) == 1 or is_cancelled_exception(error):
                self._queue.settle(items, (first.key,))
                self._failed(first, error)
            else:
                self._queue.split(items)
                self._return_to_waiting(first)
            return
        self._return_to_waiting(first)
        self._queue.settle(items, judged)
        self._queue.pace((workflow.now() - began) / len(judged))
        for item in items:
            if item.key in judged:
                self._begin(item)
                result = judged[item.key]
                self._judge(result.model_copy(update={"result": bounded(result.result)}))

    def _return_to_waiting(self, item: BatchItem) -> None:
        self._waiting += 1
        del self._in_flight[item.key]

    def _failed(self, item: BatchItem, error: BaseException) -> None:
        self._judge(failed(item.key, error))
        if isinstance(error, asyncio.CancelledError):
            raise error

    async def _call(self, argument: Any, returns: type[Any] | None = None) -> Any:
        work = self._work
        return await workflow.execute_activity(
            work.activity,
            argument,
            result_type=returns,
            task_queue=workflow.info().task_queue + work.queue if work.queue else None,
            start_to_close_timeout=work.start_to_close,
            schedule_to_close_timeout=work.schedule_to_close,
            heartbeat_timeout=work.heartbeat,
            retry_policy=RetryPolicy(
                initial_interval=work.first_retry,
                maximum_interval=work.longest_retry,
                maximum_attempts=work.attempts,
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )

    async def _start(self, item: BatchItem) -> Any:
        """Have an agent process the item, and return its result."""
        try:
            return await self._agents.do(item)
        finally:
            self._asking.pop(item_agent_id(self._request.parent, item.key), None)

    def _judge(self, result: ItemResult) -> None:
        self._in_flight.pop(result.key, None)
        self._results.append(result)

    async def _keep_reporting(self) -> None:
        """Report to the agent whenever there is enough news; more accumulates while a report is sent."""
        while True:
            await workflow.wait_condition(lambda: self._over or self._is_due())
            if self._over:
                return
            await self._send(self._report())

    def _is_due(self) -> bool:
        told, ended = self._told, len(self._results)
        if told is None:
            return bool(ended) or not self._waiting or len(self._in_flight) >= self._width
        news = ended - told.ended
        return (
            ((news > 0 or told.waiting > 0) and not self._waiting)
            or news >= max(1, self._request.page.count * SHARE_OF_A_REPORT)
            or (news > 0 and workflow.now() - self._told_at >= REPORT_AFTER)
            or self._questions() != told.asking
        )

    def _report(self) -> PageReport:
        self._serial += 1
        aside = [each for each in self._results if each.verdict is Verdict.QUARANTINED]
        oldest = list(self._in_flight.items())[:MAX_SHOWN]
        agents = bool(self._work.kind)
        return PageReport(
            number=self._request.number,
            serial=self._serial,
            waiting=self._waiting,
            in_flight=len(self._in_flight),
            done=len(self._results) - len(aside),
            quarantined=len(aside),
            asking=self._questions(),
            deciders=tuple(sorted({name for each in self._asking.values() for name in each.deciders}))[
                :MAX_SHOWN
            ],
            oldest=tuple(
                InFlight(
                    key=key, since=since, agent=item_agent_id(self._request.parent, key) if agents else ""
                )
                for key, since in oldest
            ),
            set_aside=tuple(Quarantined(key=each.key, reason=each.reason) for each in aside[-MAX_SHOWN:]),
        )

    def _questions(self) -> int:
        return sum(each.questions for each in self._asking.values())

    async def _send(self, report: PageReport) -> None:
        self._told, self._told_at = report, workflow.now()
        agent: workflow.ExternalWorkflowHandle[Any] = workflow.get_external_workflow_handle(
            self._request.parent
        )
        try:
            await agent.signal(REPORT, report)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            self._agent_has_ended = True

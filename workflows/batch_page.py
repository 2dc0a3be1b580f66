"""A page of a batch: does some hundred items in a sliding window, and tells the agent how it stands.

It is not an agent. An activity opens it, and no run of the agent is its parent: the agent's history may start
afresh at any moment, and the page goes on. Its own never has to: so many items fit into one. It ends on the
build of the workers it began on; the next page begins on the current one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import (
    RawValue,
    RetryPolicy,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.batch.pages import BatchPages
    from activities.batch.records import ItemCheck, PageRequest, ReadRequest, WriteRequest
    from common.agents.batch import (
        ASKING,
        ITEM_OF,
        MAX_REASON,
        MAX_RESULT_BYTES,
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
    from common.agents.batch_state import PageReport
    from common.digest import canonical
    from common.temporal import search_attributes
    from workflows.core.calls import READ
    from workflows.starts import require_signed

# While there is enough to begin, the agent hears after so many of the page's items, or with the next that
# ends after so long; once there is not, of each end: there are slots to hand on.
SHARE_OF_A_REPORT = 0.05
REPORT_AFTER = timedelta(seconds=30)
# The rules of a start are looked at within the workflow task; where that fails, by an activity that may wait.
CHECK_ONCE = workflow.LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(maximum_attempts=1),
)
STEP = workflow.ActivityConfig(start_to_close_timeout=READ.start_to_close, retry_policy=READ.retry)


@workflow.defn(name=PAGE)
class BatchPage:
    """Does the items of one page; each gets one verdict."""

    @workflow.init
    def __init__(self, request: PageRequest) -> None:
        self._request = request
        self._work = request.work
        self._width = request.width
        self._waiting = request.page.count
        self._in_flight: dict[str, datetime] = {}
        self._results: list[ItemResult] = []
        self._asking: dict[str, ItemAsks] = {}
        self._serial = 0
        self._told: PageReport | None = None
        self._told_at = workflow.now()
        # The agent has ended, so that nobody wants to know.
        self._forsaken = False
        self._over = False
        self._checks = asyncio.Lock()

    @workflow.run
    async def run(self, request: PageRequest) -> PageReport:
        """Do every item; the last report."""
        await require_signed(request)
        items = await workflow.execute_activity_method(
            BatchPages.read_items, ReadRequest(items=request.page.items), **STEP
        )
        reporting = asyncio.create_task(self._keep_reporting())
        doing: list[asyncio.Task[None]] = []
        cancelled: asyncio.CancelledError | None = None
        try:
            for item in items.items:
                await workflow.wait_condition(lambda: len(self._in_flight) < self._width or self._forsaken)
                if self._forsaken:
                    break
                self._waiting -= 1
                self._in_flight[item.key] = workflow.now()
                doing.append(asyncio.create_task(self._do(item)))
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
                    self._judge(item.key, Verdict.QUARANTINED, reason=reason)
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
        """Take in another width, or what an agent of the page asks; whatever else comes is passed over."""
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

    async def _do(self, item: BatchItem) -> None:
        """Do one item and judge it."""
        try:
            result = await (self._start(item) if self._work.kind else self._call(item))
        except (FailureError, asyncio.CancelledError) as error:
            self._judge(item.key, Verdict.QUARANTINED, reason=_reason_of(error))
            if is_cancelled_exception(error) and isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._judge(item.key, Verdict.DONE, result=_bounded(result))

    async def _call(self, item: BatchItem) -> Any:
        work = self._work
        return await workflow.execute_activity(
            work.activity,
            item.argument,
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
        """Have an agent do it, under the rules of every start; what it returned."""
        await self._check(ItemCheck(kind=self._work.kind, input=item.argument))
        info = workflow.info()
        owner = info.typed_search_attributes.get(search_attributes.OWNER)
        pairs = [
            SearchAttributePair(search_attributes.BATCH_ID, self._request.batch),
            *([SearchAttributePair(search_attributes.OWNER, owner)] if owner else []),
        ]
        agent = item_agent_id(self._request.parent, item.key)
        try:
            return await workflow.execute_child_workflow(
                self._work.kind,
                item.argument,
                id=agent,
                # Only one that has failed may be tried again.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                # Of a fork's batch the items are marked as it is.
                memo={**workflow.memo(), ITEM_OF: info.workflow_id},
                priority=info.priority,
                search_attributes=TypedSearchAttributes(pairs),
            )
        finally:
            self._asking.pop(agent, None)

    async def _check(self, check: ItemCheck) -> None:
        # One at a time: of two local ones that end in different tasks, a replay may swap the results.
        async with self._checks:
            try:
                await workflow.execute_local_activity_method(BatchPages.check_item, check, **CHECK_ONCE)
                return
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
        await workflow.execute_activity_method(BatchPages.check_item, check, **STEP)

    def _judge(self, key: str, verdict: Verdict, *, reason: str = "", result: Any = None) -> None:
        self._in_flight.pop(key, None)
        self._results.append(ItemResult(key=key, verdict=verdict, reason=reason, result=result))

    async def _keep_reporting(self) -> None:
        """Tell the agent whenever there is enough to tell; while it is being told, more comes together."""
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
            self._forsaken = True


def _reason_of(error: BaseException) -> str:
    """Why an item was not done, in the words of what failed in the end."""
    if isinstance(error, WorkflowAlreadyStartedError):
        return "there is already an agent of its id"
    while isinstance(error, ActivityError | ChildWorkflowError) and error.cause:
        error = error.cause
    if is_cancelled_exception(error):
        return "cancelled"
    kind = error.type if isinstance(error, ApplicationError) and error.type else type(error).__name__
    words = error.message if isinstance(error, ApplicationError) else ""
    return f"{kind}: {words}"[:MAX_REASON].rstrip(": ")


def _bounded(result: Any) -> Any:
    """A result as it is kept, or how large it was."""
    size = len(canonical(result))
    if size <= MAX_RESULT_BYTES:
        return result
    return {"left out": f"{size} bytes, over the {MAX_RESULT_BYTES} of a result: hand over an artifact"}

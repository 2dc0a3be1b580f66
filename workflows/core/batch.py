"""The agent's side of a batch: opens page after page, and keeps the total width of all open pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow

from activities.batch.listing import BatchListing
from activities.batch.pages import BatchPages
from activities.batch.records import (
    Gathered,
    GatherRequest,
    ListRequest,
    OpenedPage,
    OpenRequest,
    PageRequest,
    PollRequest,
    RetryRequest,
)
from common.agents.agent import AgentState, Carried, Receipt
from common.agents.batch import MAX_WAITING_MORE, WIDTH, BatchCommand, BatchCounts, Listing, Work, page_prefix
from common.agents.batch_state import BatchState, OpenPage, PageReport
from common.artifacts import ArtifactRef
from common.digest import digest
from common.errors import permanent
from common.notices.types import NoticeEvent
from common.temporal import search_attributes
from workflows.core.calls import LONG, READ, CallPolicy, Calls
from workflows.core.display import Display, Wait
from workflows.core.history import History
from workflows.core.notify import Notifier

# Questions that arrive in quick succession share one notice.
QUIET = timedelta(minutes=1)
# When people are reminded of questions that are still open.
REMIND_AFTER = timedelta(days=1)
# A terminated page cannot report its end: after this long without a report, the agent checks on it.
SILENCE = timedelta(hours=1)


def calling(activity: Callable[..., Any], policy: CallPolicy, together: int = 1) -> Work:
    """Each item is the argument of `activity`, called under `policy`.

    With `together`, one call gets up to that many items, as `ItemsOf` that argument, as long as each takes
    only a moment; the activity processes them with `process_items` (`activities/batch/together.py`).
    """
    return Work(
        activity=getattr(activity, "__temporal_activity_definition").name,
        queue=policy.queue,
        start_to_close=policy.start_to_close,
        heartbeat=policy.heartbeat,
        schedule_to_close=policy.schedule_to_close,
        first_retry=policy.retry.initial_interval,
        longest_retry=policy.retry.maximum_interval or policy.retry.initial_interval * 100,
        attempts=policy.retry.maximum_attempts,
        together=together,
    )


def agents_of(kind: str) -> Work:
    """Each item is the input of an agent of this kind."""
    return Work(kind=kind)


@dataclass(eq=False)
class Batches:
    """Runs the batch of one agent; all its state is in what the agent carries over."""

    _carried: Carried
    _display: Display
    _calls: Calls
    _history: History
    _notifier: Notifier

    async def run(self, items: ArtifactRef | Listing, work: Work, at_once: int, batch_id: str) -> BatchCounts:
        """See `Agent.batch`."""
        state = self._carried.batch
        if state is None or state.over or state.source != digest(items):
            if state is not None and not state.over:
                raise permanent("BatchUnderWay", "one batch runs at a time, and another is under way")
            state = await self._begin(items, work, at_once, batch_id)
        try:
            with self._display.waiting(Wait(AgentState.AWAITING_EVENT, "its batch", None)):
                while not state.is_done:
                    if not await self._step(state):
                        await self._rest(state)
        except asyncio.CancelledError:
            for number in state.open:
                await self._to_page(state, number, lambda page: page.cancel())
            raise
        state.over = True
        counts = state.counts()
        self._display.note("the batch is done", **counts.model_dump(exclude={"results"}))
        return counts

    def command(self, command: BatchCommand) -> Receipt:
        """Handle the signal `batch`."""
        state = self._carried.batch
        if state is None or state.over:
            return self._refused("no batch runs")
        if len(state.more) + len(command.more) > MAX_WAITING_MORE:
            return self._refused(f"{len(state.more)} more items wait to be listed: send the rest later")
        done = []
        if command.at_once is not None:
            state.at_once = command.at_once
            done.append(f"{command.at_once} at once from now on")
        if command.retry:
            state.retry = any(each.quarantined and each.items for each in state.judged)
            for page in state.open.values():
                page.retry = True
            done.append("what is quarantined is tried again")
        if command.more:
            state.more += command.more
            done.append(f"{len(command.more)} more items")
        words = ", ".join(done) or "nothing to change"
        self._display.note(f"batch: {words}")
        return Receipt(taken=True, words=words)

    def reported(self, report: PageReport) -> None:
        """Handle a page's report."""
        if (state := self._carried.batch) is not None:
            state.take(report, workflow.now())
            self._show(state)

    async def gathered(self) -> Gathered | None:
        """See `Agent.batch_results`."""
        if (state := self._carried.batch) is None:
            return None
        request = GatherRequest(
            judged=tuple(each.results for each in state.judged),
            open=tuple(f"{self._prefix(state)}{number}" for number in state.open),
        )
        found: Gathered = await self._calls.execute_watched(BatchPages.gather, request, READ)
        return found

    async def _begin(
        self, items: ArtifactRef | Listing, work: Work, at_once: int, batch_id: str
    ) -> BatchState:
        """List the items, and return the state of the new batch."""
        if isinstance(items, ArtifactRef):
            request = ListRequest(items=items, kind=work.kind)
            listing: Listing = await self._calls.call(BatchListing.list_items, request, LONG)
        else:
            listing = items
        info, before = workflow.info(), self._carried.batch
        known = info.typed_search_attributes.get(search_attributes.BATCH_ID)
        id = known or batch_id or info.workflow_id
        if not known:
            workflow.upsert_search_attributes([search_attributes.BATCH_ID.value_set(id)])
        state = self._carried.batch = BatchState(
            source=digest(items),
            id=id,
            run=info.first_execution_run_id,
            work=work,
            at_once=at_once,
            active_since=workflow.now(),
            opened=before.opened if before else 0,
        )
        state.add(listing)
        self._show(state)
        counts = {"duplicates": listing.duplicates, "pages": len(state.waiting)}
        self._display.note(f"a batch of {self._carried.progress.total} items", **counts)
        return state

    async def _step(self, state: BatchState) -> bool:
        """Do one thing that is due now; return whether there was one."""
        if state.paused != self._display.is_paused:
            state.pause(self._display.is_paused, workflow.now())
        page, width = state.beginning, state.free
        # This first: a page keeps its old width until it is told the new one.
        if page is not None and page.width != width:
            page.width = width
            number = page.report.number
            if not await self._to_page(state, number, lambda handle: handle.signal(WIDTH, width)):
                await self._look(state, [page])
        elif state.more:
            await self._list_more(state)
        elif state.retry:
            await self._try_again(state)
        elif page is None and state.waiting and width:
            await self._open(state)
        else:
            return False
        return True

    async def _open(self, state: BatchState) -> None:
        page = state.begin(state.free, workflow.now())
        request = PageRequest(
            parent=workflow.info().workflow_id,
            batch=state.id,
            number=page.report.number,
            page=page.page,
            work=state.work,
            width=page.width,
        )
        opened = OpenRequest(id=f"{self._prefix(state)}{page.report.number}", request=request)
        await self._calls.execute_watched(BatchPages.open_page, opened, READ)

    async def _list_more(self, state: BatchState) -> None:
        more, state.more = tuple(state.more), []
        request = ListRequest(more=more, kind=state.work.kind, earlier=state.listed)
        state.add(await self._calls.execute_watched(BatchListing.list_items, request, LONG))
        self._show(state)

    async def _try_again(self, state: BatchState) -> None:
        judged = tuple(state.judged)
        request = RetryRequest(judged=judged, agents=bool(state.work.kind))
        found = await self._calls.execute_watched(BatchListing.try_again, request, LONG)
        # Pages that ended meanwhile were appended after those just searched.
        rest = state.judged[len(judged) :]
        state.tried_again(found.pages, [*found.judged, *rest], found.set_aside)
        self._show(state)

    async def _rest(self, state: BatchState) -> None:
        """Notify people of questions, or check on silent pages; otherwise wait for news."""
        now, asked = workflow.now(), state.tell_at(QUIET, REMIND_AFTER)
        silent = [page for page in state.open.values() if page.heard + SILENCE <= now]
        if asked and asked <= now:
            state.told, state.asked_at = state.asking, now
            words = f"{state.told} questions of its agents wait for an answer"
            self._display.note(words)
            await self._notifier.tell(NoticeEvent.ASKED, words, people=state.deciders)
        elif silent:
            await self._look(state, silent)
        else:
            moments = [each.heard + SILENCE for each in state.open.values()]
            until, seen = min([*moments, *([asked] if asked else [])], default=None), self._news(state)
            await self._history.wait(lambda: self._news(state) != seen, until)

    def _news(self, state: BatchState) -> tuple[object, ...]:
        """A value that changes when there may be something to do."""
        reports = tuple(each.report.serial for each in state.open.values())
        waiting = (len(state.waiting), len(state.more), state.retry, state.at_once)
        return self._display.is_paused, *waiting, *reports

    async def _look(self, state: BatchState, pages: list[OpenPage]) -> None:
        """Find out whether pages have ended without being able to report it."""
        for page in pages:
            page.heard = workflow.now()
        looked = tuple(
            OpenedPage(id=f"{self._prefix(state)}{each.report.number}", page=each.page, report=each.report)
            for each in pages
        )
        request = PollRequest(parent=workflow.info().workflow_id, pages=looked)
        for report in (await self._calls.execute_watched(BatchPages.poll, request, READ)).reports:
            self.reported(report)

    async def _to_page(self, state: BatchState, number: int, message: Callable[[Any], Any]) -> bool:
        """Send something to a page; return whether it still runs."""
        handle: Any = workflow.get_external_workflow_handle(f"{self._prefix(state)}{number}")
        return await self._calls.send(message(handle))

    def _prefix(self, state: BatchState) -> str:
        return page_prefix(workflow.info().workflow_id, state.run)

    def _show(self, state: BatchState) -> None:
        counts = state.counts()
        self._carried.progress.done, self._carried.progress.total = state.ended, counts.items

    def _refused(self, why: str) -> Receipt:
        self._display.note(f"refused the signal 'batch': {why}")
        return Receipt(taken=False, words=why)

    def status(self) -> Any:
        """The batch as people see it."""
        state = self._carried.batch
        return state and state.status(workflow.now(), self._prefix(state))

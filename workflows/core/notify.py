"""Tells people what happens to an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow

from activities.delivery.notices import Notices, print_notice
from common.agents.batch import ASKING, ITEM_OF, MAX_SHOWN, ItemAsks
from common.approval.stakes import Stakes
from common.approval.types import ApprovalRequest
from common.notices.types import ASKS, Notice, NoticeEvent, Told
from workflows.core.calls import QUICK, Calls
from workflows.core.display import owner


class Notifier:
    """Hands notices to the activity that knows where they go."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        # Whether notices go anywhere but to the terminal, by the last answer; assumed until the first.
        self._elsewhere = True
        page = workflow.memo_value(ITEM_OF, "")
        self._page = page if isinstance(page, str) else ""

    async def tell(
        self,
        event: NoticeEvent,
        text: str,
        request: ApprovalRequest | None = None,
        couriers: Sequence[str] = (),
        stakes: Stakes | None = None,
        *,
        people: Sequence[str] = (),
    ) -> Told | None:
        """Notify people. Failed deliveries are noted later, and never affect the caller.

        `people` are notified instead of the agent's owner. The batch notifies people of what its items ask.
        """
        agent, kind, id = workflow.info().workflow_id, workflow.info().workflow_type, self._calls.next_id
        fields = {"id": id, "agent": agent, "kind": kind, "owner": owner(), "event": event, "text": text}
        rest = {"request": request, "couriers": tuple(couriers), "stakes": stakes or Stakes()}
        gathered = self.is_item and event in ASKS and not people
        notice = Notice(**fields, **rest, people=tuple(people), gathered=gathered)
        told: Told | None = await self._calls.execute(Notices.notify, notice, QUICK)
        self._elsewhere = told is not None and told.elsewhere
        return told

    @property
    def is_item(self) -> bool:
        """Whether the agent is an item of a batch."""
        return bool(self._page)

    async def report_open_questions(self, requests: Sequence[ApprovalRequest]) -> None:
        """If the agent is an item of a batch, tell the batch which questions it has open now."""
        if not self._page:
            return
        deciders = tuple(dict.fromkeys(name for each in requests for name in each.deciders))[:MAX_SHOWN]
        asks = ItemAsks(agent=workflow.info().workflow_id, questions=len(requests), deciders=deciders)
        page: workflow.ExternalWorkflowHandle[Any] = workflow.get_external_workflow_handle(self._page)
        if not await self._calls.send(page.signal(ASKING, asks)):
            # The page ended before this agent, which notifies people itself from now on.
            self._page = ""

    async def tell_end(self, event: NoticeEvent, text: str) -> None:
        """Notify people that the agent has ended; if only the terminal is notified, without an activity.

        An item of a batch does nothing here: its batch reports how it ended.
        """
        if self.is_item:
            return
        if self._elsewhere:
            await self.tell(event, text)
        elif not workflow.unsafe.is_replaying():
            print_notice(event, workflow.info().workflow_id, text)

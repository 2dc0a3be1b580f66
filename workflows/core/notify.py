"""Telling people what happens to an agent."""

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
        # Whether notices go elsewhere than to the terminal, by the last answer; until the first, perhaps.
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
        """Have people told. What fails on the way to them is noted later, and never felt here.

        `people` are told in place of the agent's owner. Of what an item of a batch asks, the batch tells.
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

    async def tell_page(self, requests: Sequence[ApprovalRequest]) -> None:
        """Tell the batch that the agent is an item of what it asks now."""
        if not self._page:
            return
        deciders = tuple(dict.fromkeys(name for each in requests for name in each.deciders))[:MAX_SHOWN]
        asks = ItemAsks(agent=workflow.info().workflow_id, questions=len(requests), deciders=deciders)
        page: workflow.ExternalWorkflowHandle[Any] = workflow.get_external_workflow_handle(self._page)
        if not await self._calls.reached(page.signal(ASKING, asks)):
            # Its page has ended before it: from now on it tells people itself.
            self._page = ""

    async def tell_end(self, event: NoticeEvent, text: str) -> None:
        """Have people told that the agent has ended; where it is a line on the terminal alone, at no cost.

        How an item of a batch ended, its batch tells.
        """
        if self.is_item:
            return
        if self._elsewhere:
            await self.tell(event, text)
        elif not workflow.unsafe.is_replaying():
            print_notice(event, workflow.info().workflow_id, text)

"""Telling people what happens to an agent."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow

from activities.delivery.notices import Notices, say
from common.approval.stakes import Stakes
from common.approval.types import ApprovalRequest
from common.notices.types import Notice, NoticeEvent, Told
from workflows.core.calls import QUICK, Calls
from workflows.core.display import owner


class Notifier:
    """Hands notices to the activity that knows where they go."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        # Whether notices go elsewhere than to the terminal, by the last answer; until the first, perhaps.
        self._elsewhere = True

    async def tell(
        self,
        event: NoticeEvent,
        text: str,
        request: ApprovalRequest | None = None,
        couriers: Sequence[str] = (),
        stakes: Stakes | None = None,
    ) -> Told | None:
        """Have people told. What fails on the way to them is noted later, and never felt here."""
        agent, kind, id = workflow.info().workflow_id, workflow.info().workflow_type, self._calls.next_id
        fields = {"id": id, "agent": agent, "kind": kind, "owner": owner(), "event": event, "text": text}
        notice = Notice(**fields, request=request, couriers=tuple(couriers), stakes=stakes or Stakes())
        told: Told | None = await self._calls.execute(Notices.notify, notice, QUICK)
        self._elsewhere = told is not None and told.elsewhere
        return told

    async def tell_end(self, event: NoticeEvent, text: str) -> None:
        """Have people told that the agent has ended; where it is a line on the terminal alone, at no cost."""
        if self._elsewhere:
            await self.tell(event, text)
        elif not workflow.unsafe.is_replaying():
            say(event, workflow.info().workflow_id, text)

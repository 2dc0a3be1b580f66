"""Notice delivery: takes one notice to every place it goes to, side by side, while the agent goes on.

It is not an agent. It retries for up to a day where a way is down, tells the agent what it could not deliver,
and ends with a log. Where a posted message can be updated, it waits until the request has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from common.mail import Sent, SentStatus
    from common.notices.types import (
        COURIER,
        SETTLED,
        Delivery,
        DeliveryLog,
        Dispatch,
        NoticeEvent,
        Place,
        Receipt,
        SlackPost,
        SlackUpdate,
        masked,
    )
    from workflows.starts import require_signed

# By the way: the activity's wire name, and what it returns.
ACTIVITIES: dict[str, tuple[str, type | None]] = {
    "slack": ("slack_post", SlackPost),
    "email": ("mail_notice", Sent),
    "webhook": ("webhook_post", None),
}
# A way that is down comes back within the day, or a person has to look; `Retry-After` goes before this.
DELIVERY = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=2),
    schedule_to_close_timeout=timedelta(days=1),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(hours=1)),
)
# How long it waits for the end of a request that never expires.
LONGEST_WAIT = timedelta(days=90)
GRACE = timedelta(days=1)


@workflow.defn(name=COURIER)
class Courier:
    """Delivers one notice to every place it goes to."""

    @workflow.init
    def __init__(self, dispatch: Dispatch) -> None:
        self._notice = dispatch.notice
        self._outcome: str | None = None
        self._log = DeliveryLog(agent=dispatch.notice.agent, event=dispatch.notice.event)

    @workflow.run
    async def run(self, dispatch: Dispatch) -> DeliveryLog:
        """Deliver; what became of each delivery."""
        await require_signed(dispatch)
        await asyncio.gather(*(self._deliver(place) for place in dispatch.places))
        return self._log

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, arguments: Sequence[RawValue]) -> None:
        """Take in how the request ended; whatever else comes is passed over."""
        if name != SETTLED or len(arguments) != 1:
            return
        try:
            outcome = workflow.payload_converter().from_payload(arguments[0].payload, str)
        except Exception:
            return  # a raise here would wedge the courier
        self._outcome = str(outcome)[:1000]

    @workflow.query
    def log(self) -> DeliveryLog:
        """What was done so far."""
        return self._log

    async def _deliver(self, place: Place) -> None:
        delivery = Delivery(notice=self._notice, **place.model_dump())
        name, kind = ACTIVITIES[place.way]
        reason = ""
        try:
            done = await workflow.execute_activity(name, delivery, result_type=kind, **DELIVERY)
            reason = _refusal(done)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            done, reason = None, str(error.cause or error)[:300]
        where = masked(place.way, place.address)
        receipt = Receipt(
            way=place.way, address=where, person=place.person, delivered=not reason, reason=reason
        )
        self._log.receipts.append(receipt)
        if reason:
            await self._note(f"{self._notice.event} by {place.way} to {place.person or where}: {reason}")
        elif isinstance(done, SlackPost) and self._notice.event is NoticeEvent.ASKED:
            await self._update(delivery, done)

    async def _note(self, words: str) -> None:
        """Have it noted by the agent, if that still lives."""
        agent: workflow.ExternalWorkflowHandle[Any] = workflow.get_external_workflow_handle(
            self._notice.agent
        )
        try:
            await agent.signal("undelivered", words)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.info("%s has ended and cannot note: %s", self._notice.agent, words)

    async def _update(self, delivery: Delivery, posted: SlackPost) -> None:
        """Bring the posted message up to date once its request is over."""
        request = self._notice.request
        expires_at = request.expires_at if request else None
        left = expires_at - workflow.now() + GRACE if expires_at else LONGEST_WAIT
        try:
            await workflow.wait_condition(lambda: self._outcome is not None, timeout=max(left, GRACE))
        except TimeoutError:
            self._outcome = "no longer open"
        update = SlackUpdate(
            delivery=delivery, channel=posted.channel, ts=posted.ts, outcome=self._outcome or ""
        )
        try:
            await workflow.execute_activity("slack_update", update, **DELIVERY)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("a message in Slack stays as it was: %s", error.cause)


def _refusal(done: object) -> str:
    """Why a mail did not go out; empty where it did. Where that is unknown it is not sent again."""
    if not isinstance(done, Sent) or done.status is SentStatus.SENT:
        return ""
    return f"{done.status}: {done.reason}"

"""Notice delivery: takes one notice to all its destinations, in parallel, while the agent goes on.

It is not an agent. If Slack, mail or a webhook is down, it retries for up to a day. It tells the agent what
it could not deliver, and ends with a log. It follows messages with buttons until their question has ended,
and removes the buttons. That may take months, so it is not pinned to the build it began on, and a change of
its steps needs `workflow.patched`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy, VersioningBehavior
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from common.mail import Sent, SentStatus
    from common.notices.types import (
        ASKS,
        COURIER,
        NO_LONGER_ASKED,
        SETTLED,
        Delivery,
        DeliveryLog,
        DeliveryReceipt,
        Destination,
        Dispatch,
        SlackPost,
        SlackUpdate,
        masked,
    )
    from workflows.starts import require_signed

# For each way: the activity's wire name, and what it returns.
ACTIVITIES: dict[str, tuple[str, type | None]] = {
    "slack": ("slack_post", SlackPost),
    "email": ("mail_notice", Sent),
    "webhook": ("webhook_post", None),
}
# A service that is down comes back within a day, or a person has to look. `Retry-After` takes precedence.
DELIVERY = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=2),
    schedule_to_close_timeout=timedelta(days=1),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(hours=1)),
)
# Live buttons must not stay because Slack was down for a weekend.
UPDATE = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=2),
    schedule_to_close_timeout=timedelta(days=30),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(hours=1)),
)
# How often to check whether a question has ended without a signal, because its agent was terminated.
END_CHECKS = RetryPolicy(initial_interval=timedelta(minutes=1), maximum_interval=timedelta(hours=1))
# How long to wait for the end of a request that never expires; its buttons have expired by then.
LONGEST_WAIT = timedelta(days=90)
GRACE = timedelta(days=1)
BUTTONS_EXPIRED = "The buttons have expired. The agent's page tells how its question stands."


@workflow.defn(name=COURIER, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Courier:
    """Delivers one notice to all its destinations."""

    @workflow.init
    def __init__(self, dispatch: Dispatch) -> None:
        self._notice = dispatch.notice
        self._outcome: str | None = None
        self._watch: asyncio.Task[None] | None = None
        self._log = DeliveryLog(agent=dispatch.notice.agent, event=dispatch.notice.event)

    @workflow.run
    async def run(self, dispatch: Dispatch) -> DeliveryLog:
        """Deliver, and return what became of each delivery."""
        await require_signed(dispatch)
        await asyncio.gather(*(self._deliver(place) for place in dispatch.places))
        return self._log

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, arguments: Sequence[RawValue]) -> None:
        """Record how the request ended; ignore any other signal."""
        if name != SETTLED or len(arguments) != 1:
            return
        try:
            outcome = workflow.payload_converter().from_payload(arguments[0].payload, str)
        except Exception:
            return  # a raise here would wedge the courier
        self._outcome = str(outcome)[:1000]

    @workflow.query
    def log(self) -> DeliveryLog:
        """The deliveries so far."""
        return self._log

    async def _deliver(self, place: Destination) -> None:
        delivery = Delivery(notice=self._notice, **place.model_dump())
        name, kind = ACTIVITIES[place.way]
        reason, needless = "", False
        try:
            done = await workflow.execute_activity(name, delivery, result_type=kind, **DELIVERY)
            reason = _refusal(done)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            done, reason = None, str(error.cause or error)[:300]
            needless = getattr(error.cause, "type", "") == NO_LONGER_ASKED
        where = masked(place.way, place.address)
        receipt = DeliveryReceipt(
            way=place.way,
            address=where,
            person=place.person,
            delivered=not reason,
            needless=needless,
            reason=reason,
        )
        self._log.receipts.append(receipt)
        if receipt.failed:
            await self._note(f"{self._notice.event} by {place.way} to {place.person or where}: {reason}")
        elif isinstance(done, SlackPost) and self._notice.request and self._notice.event in ASKS:
            await self._follow(delivery, done)

    async def _note(self, words: str) -> None:
        """Have the agent note it, if it still runs."""
        agent: workflow.ExternalWorkflowHandle[Any] = workflow.get_external_workflow_handle(
            self._notice.agent
        )
        try:
            await agent.signal("undelivered", words)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.info("%s has ended and cannot note: %s", self._notice.agent, words)

    async def _follow(self, delivery: Delivery, posted: SlackPost) -> None:
        """Remove the buttons of a posted message once its question is over."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._await_end())
        await workflow.wait_condition(lambda: self._outcome is not None)
        update = SlackUpdate(
            delivery=delivery, channel=posted.channel, ts=posted.ts, outcome=self._outcome or ""
        )
        try:
            await workflow.execute_activity("slack_update", update, **UPDATE)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("a message in Slack stays as it was: %s", error.cause)

    async def _await_end(self) -> None:
        """Find out that the question is over even if no signal says so."""
        expires_at = self._notice.request.expires_at if self._notice.request else None
        left = expires_at - workflow.now() + GRACE if expires_at else LONGEST_WAIT
        try:
            how = await workflow.execute_activity(
                "question_end",
                self._notice,
                result_type=str,
                start_to_close_timeout=timedelta(minutes=1),
                schedule_to_close_timeout=max(left, GRACE),
                retry_policy=END_CHECKS,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            how = BUTTONS_EXPIRED
        if self._outcome is None:
            self._outcome = how


def _refusal(done: object) -> str:
    """Why a mail was not sent; empty if it was. If that is unknown, it is not sent again."""
    if not isinstance(done, Sent) or done.status is SentStatus.SENT:
        return ""
    return f"{done.status}: {done.reason}"

"""Dispatches an agent's notices: to the terminal at once, to everywhere else by courier workflows.

This is a local activity, and its agent waits for it. So it takes milliseconds, and fails neither for a broken
routes file nor for a longer Temporal outage.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import timedelta

from temporalio import activity
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from common.agents.fork import CALLER, marked
from common.approval.floors import UNREADABLE, Floors
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.digest import digest
from common.key_ring import KeyRing
from common.notices.routes import Outlets, Routes
from common.notices.types import ASKS, COURIER, SETTLED, Dispatch, Notice, NoticeEvent, Told, courier_id
from common.settings import SettingsError
from common.temporal import search_attributes

# Start delay of couriers, so that somebody who answers at once finds the request already open.
LEAVES_AFTER = timedelta(seconds=1)
PATIENCE = timedelta(seconds=3)
ATTEMPTS = 4
# If a notice is larger, its plan is left out; readers follow the link.
MAX_PLAN_BYTES = 100_000


class Notices:
    """The activity that dispatches notices.

    Args:
        routes: who is notified of what, and how; None sends everything to the terminal.
        signer: signs the starts of couriers; not needed without routes.
        floors: the operator's policy, which may change who is asked.
    """

    def __init__(
        self, routes: Routes | None = None, signer: Signer | None = None, floors: Floors | None = None
    ) -> None:
        self._routes, self._signer = routes, signer or Signer(KeyRing.of({}))
        self._floors = floors

    @activity.defn(name="notify")
    async def notify(self, notice: Notice) -> Told | None:
        """Notify people. Idempotent: repeating a notice notifies nobody twice.

        Returns:
            None if the agent has nothing to learn from it, and there is no outlet but the terminal.

        Raises:
            ApplicationError: type `TemporalAway`, retryable; only on the first few attempts.
        """
        info = activity.info()
        # After a restore of the server, an agent may reuse a number for a different notice: add a digest.
        number = f"{notice.id}-{digest([notice.event, notice.text])[:8]}"
        notice = notice.model_copy(
            update={"id": f"{notice.agent}/{(info.workflow_run_id or '')[-12:]}/{number}"}
        )
        notice, told = self._under_policy(notice)
        if notice.event is NoticeEvent.ASKED and notice.request:
            told = told.tells_of(notice.request, notice.owner)
        notice = notice.model_copy(update={"text": marked(notice.text)})
        if notice.gathered:
            return told
        try:
            outlets = self._outlets(notice)
            is_set = bool(self._routes and self._routes.ways())
            follows = is_set and notice.event in ASKS and self._follows(notice, outlets)
        except SettingsError as error:
            print_notice(notice.event, notice.agent, f"{notice.text} (to nobody else: {error})")
            return told
        if outlets.terminal and info.attempt == 1:
            gap = f" (not reached: {outlets.gap})" if outlets.gap else ""
            how = f" (`starter.py inbox --batch {notice.agent}`)" if notice.is_of_batch else ""
            print_notice(notice.event, notice.agent, f"{notice.text}{how}{gap}")
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await asyncio.gather(*(self._settle(each, notice) for each in notice.couriers))
                if outlets.places:
                    await self._send(notice, outlets)
        except (RPCError, TimeoutError, SettingsError) as error:
            if info.attempt < ATTEMPTS and not isinstance(error, SettingsError) and _is_transient(error):
                raise ApplicationError("Temporal is away", type="TemporalAway") from None
            print_notice(
                notice.event, notice.agent, f"{notice.text} (to nobody else: {error or 'Temporal is away'})"
            )
        # The notice of a fork's end must come through here as well, to be marked as a fork's.
        elsewhere = is_set or CALLER.get() is not None
        if not elsewhere and told == Told():
            return None
        courier = courier_id(notice.id) if follows else None
        return told.model_copy(update={"courier": courier, "elsewhere": elsewhere})

    def _under_policy(self, notice: Notice) -> tuple[Notice, Told]:
        """Apply the operator's policy to a notice with a request; also return what the agent is told."""
        request = notice.request
        if self._floors is None or request is None or notice.event not in ASKS:
            return notice, Told()
        if notice.event is not NoticeEvent.ASKED:
            # The policy may have changed since the question: remind those who may decide now.
            now = self._floors.as_judged_now(request, notice.kind)
            text = notice.text.replace(request.who_decides, now.who_decides)
            told = Told(policy=now.policy if now.policy != request.policy else None)
            return notice.model_copy(update={"request": now, "text": text}), told
        try:
            policy = self._floors.raised(request.policy, notice.kind, notice.owner)
            flaw = self._floors.flaw(notice.stakes, notice.kind, notice.owner)
            gap = flaw or self._floors.too_few_approvers(policy, notice.kind, notice.owner) or ""
        except SettingsError:
            policy = request.policy
            gap = UNREADABLE
        raised = request.under(policy).warned(gap)
        notice = notice.model_copy(update={"request": raised, "text": raised.told("asked")})
        return notice, Told(policy=policy if policy != request.policy else None, gap=gap)

    def _outlets(self, notice: Notice) -> Outlets:
        return self._routes.outlets(notice) if self._routes else Outlets(terminal=True)

    def _follows(self, notice: Notice, outlets: Outlets) -> bool:
        """Whether the request's end needs delivery: there may be a message to update, or a route for it."""
        decided = notice.model_copy(update={"event": NoticeEvent.DECIDED})
        return any(place.way == "slack" for place in outlets.places) or bool(self._outlets(decided).places)

    async def _send(self, notice: Notice, outlets: Outlets) -> None:
        owner = [SearchAttributePair(search_attributes.OWNER, notice.owner)] if notice.owner else []
        with suppress(WorkflowAlreadyStartedError):  # by an earlier attempt
            await activity.client().start_workflow(
                COURIER,
                sign_start(
                    COURIER, Dispatch(notice=_within_bounds(notice), places=outlets.places), self._signer
                ),
                id=courier_id(notice.id),
                task_queue=activity.info().task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                search_attributes=TypedSearchAttributes(owner),
                start_delay=LEAVES_AFTER,
                rpc_timeout=PATIENCE,
            )

    async def _settle(self, courier_id: str, notice: Notice) -> None:
        courier = activity.client().get_workflow_handle(courier_id)
        try:
            await courier.signal(SETTLED, notice.text, rpc_timeout=PATIENCE)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended, as it had nothing to update
                raise


def print_notice(event: NoticeEvent, agent: str, text: str) -> None:
    """Print a line on the terminal, without control characters."""
    line = f"{event}: {agent}: {text}"
    print("".join(char if char.isprintable() else " " for char in line), file=sys.stderr, flush=True)


def _is_transient(error: RPCError | TimeoutError) -> bool:
    return isinstance(error, TimeoutError) or error.status in (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
    )


def _within_bounds(notice: Notice) -> Notice:
    size = len(notice.model_dump_json().encode())
    if notice.request is None or size <= MAX_PLAN_BYTES:
        return notice
    left_out = {"plan": {"left out": f"{size} bytes are too many for a notice"}, "evidence": ()}
    return notice.model_copy(update={"request": notice.request.model_copy(update=left_out)})

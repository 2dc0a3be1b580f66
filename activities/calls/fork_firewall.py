"""The side-effect firewall: answers a fork's outside effects from the record instead of performing them.

The record is the history of the agent that was forked, live or archived: the result of the same activity for
the same request. If there is no such request in it, the fork's request is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from common.agents.fork import CALLER, FORK, Fork, HeldError
from common.archive.histories import Histories
from common.client.errors import NoSuchAgentError
from common.digest import digest
from common.errors import permanent


class ForkFirewall(Interceptor):
    """A worker interceptor; it tells each activity whether its agent is a fork."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap one activity execution."""
        return _FirewallInbound(next, self)

    async def recorded(self, fork: Fork, request: BaseModel, held: HeldError) -> Any:
        """What the same request returned for the agent that this one was forked from.

        Raises:
            ApplicationError: type `EffectHeld`, permanent: no such request is on record.
        """
        info, own = activity.info(), activity.info().workflow_id or ""
        wanted = _request_digest(request, (own, fork.of), held.aside)
        try:
            agent = await self._histories.runs(fork.of)
        except NoSuchAgentError:
            raise permanent("EffectHeld", fork.refusal) from None
        reader = self._histories.reader(fork.of)
        async for history in self._histories.newest_first(agent):
            for given, returned in reversed(_completed(history, info.activity_type)):
                try:
                    [argument] = await reader.decode(given, [type(request)])
                except ValidationError:
                    continue  # from an older version of the code, so it cannot be the same request
                if _request_digest(argument, (fork.of,), held.aside) == wanted:
                    return (await reader.decode(returned))[0] if returned else None
        raise permanent("EffectHeld", fork.refusal)


class _FirewallInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, firewall: ForkFirewall) -> None:
        super().__init__(next)
        self._firewall = firewall

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        mark = input.headers.get(FORK)
        if mark is None:
            return await super().execute_activity(input)
        # Decode before anything runs: a mark that cannot be read must fail the activity.
        fork = activity.payload_converter().from_payload(mark, Fork)
        CALLER.set(fork)
        try:
            return await super().execute_activity(input)
        except HeldError as held:
            return await self._firewall.recorded(fork, input.args[0], held)


def _completed(history: WorkflowHistory, name: str) -> list[tuple[Sequence[Payload], Sequence[Payload]]]:
    """The argument and result payloads of each completed activity of this type."""
    given = dict[int, Sequence[Payload]]()
    found: list[tuple[Sequence[Payload], Sequence[Payload]]] = []
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name == name:
                given[event.event_id] = scheduled.input.payloads
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            if completed.scheduled_event_id in given:
                found.append((given[completed.scheduled_event_id], completed.result.payloads))
    return found


def _request_digest(request: Any, agents: Sequence[str], aside: Sequence[str]) -> str:
    """A digest that is equal for equal requests, whichever of these agents makes them.

    Ignores the approval envelopes, which always differ, and each agent's own id at the start of the key.
    """
    value = request.model_dump(mode="json", exclude={"authorization", *aside})
    key = _key(request)
    begins = next((f"{agent}:" for agent in agents if key.startswith(f"{agent}:")), "")
    return digest({**value, "key": key.removeprefix(begins)})


def _key(request: Any) -> str:
    """The idempotency key of a request; every request with outside effects has one."""
    authorization = getattr(request, "authorization", None)
    return str(authorization.key if authorization else getattr(request, "key", ""))

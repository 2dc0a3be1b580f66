"""Final validation and action: nothing destructive without approval, fresh facts and a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, TimeoutError, TimeoutType, is_cancelled_exception

from common.agents.agent import AgentInput
from common.approval.types import PREMISES_FRESH_FOR, ApprovalRequest
from common.digest import digest
from common.errors import permanent
from common.notices.types import NoticeEvent
from workflows.core.approval import Asker
from workflows.core.calls import ACTION, READ, CallPolicy, Result
from workflows.core.gate import Outcome
from workflows.core.premises import Drift, Premise, drift, expired, state, unfetched
from workflows.core.visible import cause_of


@dataclass(frozen=True)
class Action(Generic[Result]):
    """Something destructive, and what must hold for it: `Action[Done](…)`, where `Done` is what it returns.

    Attributes:
        activity: does it; idempotent under the key in its argument's `authorization`.
        argument: has a field `authorization`, which the kit fills in.
        approval: the outcome of the gate that allows it.
        premises: the facts to fetch again just before.
        fence: puts into the argument what the target itself checks (a limit price, an ETag), from the values
            just fetched, by the names of their premises.
        lookup: tells by the key what an attempt with unknown outcome came to, its result or None; where it is
            not given, the activity itself looks up before it acts.
        freshness: how long a validation is good for; a later start validates again.
        settles: how long an attempt with unknown outcome may still take effect at the target, such as a
            request that a dead worker left on the wire. Only then does a drift, or a refusal of the next
            attempt, mean that nothing was done.
        policy: time-outs of one attempt.
    """

    activity: Callable[..., Any]
    argument: BaseModel
    approval: Outcome[Any]
    premises: Sequence[Premise] = ()
    fence: Callable[[Any, Mapping[str, Any]], BaseModel] | None = None
    lookup: Callable[..., Any] | None = None
    freshness: timedelta = timedelta(seconds=10)
    settles: timedelta = timedelta(seconds=60)
    policy: CallPolicy = ACTION


@dataclass(frozen=True)
class Acted(Generic[Result]):
    """What came of an action: its result, or the drifts that stopped it. Never both."""

    result: Result | None = None
    drifts: Sequence[Drift] = ()

    @property
    def evidence(self) -> list[str]:
        """Old and new of every drift side by side, a line each, for the next request."""
        return [f"{each.premise}: {each.reason}" for each in self.drifts]

    def now(self, premise: str) -> Any:
        """The new value of a premise that drifted; None where it holds or cannot be fetched."""
        return next((each.now for each in self.drifts if each.premise == premise), None)


# How many looks at what a request rests on a history has, so that nobody who opens a page again and again can
# make it grow without end.
LOOKS = 50


class Actor(Asker):
    """The part of an agent that acts on the world."""

    def __init__(self, input: AgentInput) -> None:
        super().__init__(input)
        self._looks: dict[str, list[datetime]] = {}

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def look(self, request_id: str) -> ApprovalRequest | None:
        """Fetch what an open request rests on, to show how it stands; None where it was decided meanwhile."""
        self._looks.setdefault(request_id, []).append(workflow.now())
        found = await self._fetched_all(self._rests_on[request_id])
        if request_id not in self._gate.memory.open:
            return None
        states = tuple(state(premise, value, moved) for premise, value, moved in found)
        return self._gate.update(request_id, premises=states, checked_at=workflow.now())

    @look.validator
    def _may_look(self, request_id: str) -> None:
        # What is refused here leaves nothing in history.
        looks = self._looks.get(request_id, [])
        if request_id not in self._gate.memory.open or not self._rests_on.get(request_id):
            raise permanent("NotLooked", f"{request_id} is not open, or rests on nothing")
        if len(looks) >= LOOKS:
            raise permanent("NotLooked", f"{request_id} was looked at {LOOKS} times")
        if looks and workflow.now() < looks[-1] + PREMISES_FRESH_FOR:
            raise permanent("NotLooked", f"{request_id} was looked at just now")

    async def act(self, action: Action[Result]) -> Acted[Result]:
        """Do something destructive: the approval holds, the facts are fetched again, then it is done at once.

        An attempt that did not start while the facts were fresh, or whose outcome is unknown, is followed by
        a look at what happened and a new validation before the next.

        Returns:
            The result, or the drifts that stopped it; then the approval is void.

        Raises:
            ActivityError: it failed for good.
            ApplicationError: type `NotApproved`, where the approval does not allow it.
        """
        await self._while_paused()
        approval = action.approval
        if not approval.approved or self._gate.memory.closed.get(approval.request.id) != approval.words:
            raise permanent("NotApproved", f"{approval.request.id} does not allow this action")
        authorization = approval.authorization(self.action_key(approval.plan))
        argument = action.argument.model_copy(update={"authorization": authorization})
        name = action.activity.__name__
        with self._watchdog.watch(name, self._node, action.policy.stuck_after):
            pause = timedelta(seconds=1)
            unknown = False
            while True:
                self._show_all()
                facts, drifts = await self._validated(action)
                if drifts:
                    if unknown and (found := await self._settled(action, argument)):
                        return Acted(found)
                    await self._void(approval, drifts)
                    return Acted(drifts=drifts)
                fenced = action.fence(argument, facts) if action.fence else argument
                try:
                    return Acted(await self._execute(action.activity, fenced, _fresh(action)))
                except ActivityError as error:
                    if is_cancelled_exception(error):
                        raise
                    if _is_permanent(error):
                        if unknown and (found := await self._settled(action, argument)):
                            return Acted(found)
                        raise
                    if _never_started(error):
                        self.note(f"{name} did not start while the facts were fresh; they are fetched again")
                    else:
                        unknown = True
                        self.note(f"{name}: outcome unknown ({cause_of(error)}); looks what happened")
                        if found := await self._looked_up(action, argument):
                            return Acted(found)
                    asked = getattr(error.cause, "next_retry_delay", None) or pause
                await workflow.sleep(max(pause, asked))
                await self._while_paused()
                pause = min(pause * 2, timedelta(minutes=5))

    def action_key(self, plan: BaseModel) -> str:
        """The idempotency key of an action on `plan` in this node: `workflow id:node:plan digest`."""
        return f"{workflow.info().workflow_id}:{self._node}:{digest(plan)}"

    async def _settled(self, action: Action[Result], argument: BaseModel) -> Result | None:
        """What attempts with unknown outcome came to, once none of them can take effect any more."""
        await workflow.sleep(action.settles)
        return await self._looked_up(action, argument)

    async def _looked_up(self, action: Action[Result], argument: BaseModel) -> Result | None:
        """What an attempt with unknown outcome came to; asked for until there is an answer."""
        if action.lookup is None:
            return None
        found: Result | None = await self._execute(action.lookup, argument, READ)
        return found

    async def _validated(self, action: Action[Any]) -> tuple[dict[str, Any], list[Drift]]:
        """The facts as they are now, by premise, and the drifts among them."""
        found = await self._fetched_all(action.premises)
        drifts = [moved for _, _, moved in found if moved]
        # Counted to the end of the window, so that the envelope still holds when the action checks it.
        good_until = action.approval.good_until
        if good_until is not None and good_until <= workflow.now() + action.freshness:
            drifts.append(expired(good_until, workflow.now()))
        return {premise.name: value for premise, value, _ in found}, drifts

    async def _fetched_all(self, premises: Sequence[Premise]) -> list[tuple[Premise, Any, Drift | None]]:
        """Each premise with its value now, or the error that keeps it from being known, and its drift."""
        values = await asyncio.gather(*map(self._fetched, premises))
        return [
            (each, now, unfetched(each, now) if isinstance(now, BaseException) else drift(each, now))
            for each, now in zip(premises, values, strict=True)
        ]

    async def _fetched(self, premise: Premise) -> Any:
        """The value of a premise now, or the error that keeps it from being known."""
        try:
            return premise.read(await self._execute(premise.activity, premise.argument, premise.policy))
        except Exception as error:
            # Also an answer that cannot be read: not knowing is never a pass, and never wedges an agent.
            if is_cancelled_exception(error):
                raise
            return getattr(error, "cause", None) or error

    async def _void(self, approval: Outcome[Any], drifts: Sequence[Drift]) -> None:
        self._gate.close(approval.request.id, "void: what it rested on has changed", workflow.now())
        for each in drifts:
            self.note(f"drift: {each.premise}: {each.reason}", request=approval.request.id)
        told = "; ".join(f"{each.premise}: {each.reason}" for each in drifts)
        await self._tell_people(NoticeEvent.DRIFT, f"{approval.request.question} Not done: {told}")


def _fresh(action: Action[Any]) -> CallPolicy:
    """The action's policy with the freshness window as the longest it may wait for a worker."""
    return replace(action.policy, schedule_to_start=action.freshness)


def _never_started(error: ActivityError) -> bool:
    return isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.SCHEDULE_TO_START


def _is_permanent(error: ActivityError) -> bool:
    return bool(getattr(error.cause, "non_retryable", False))

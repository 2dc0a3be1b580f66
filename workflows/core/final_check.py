"""Final validation and action: nothing destructive without approval, fresh facts and a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, TimeoutError, TimeoutType, is_cancelled_exception

from common.digest import digest
from common.errors import permanent
from workflows.core.approval import Asker
from workflows.core.calls import ACTION, RECHECK, CallPolicy, Result
from workflows.core.gate import Outcome
from workflows.core.premises import Drift, Premise, drift, unfetched
from workflows.core.visible import cause_of


@dataclass(frozen=True)
class Action(Generic[Result]):
    """Something destructive, and what must hold for it: `Action[Done](…)`, where `Done` is what it returns.

    Attributes:
        activity: does it; idempotent under the key in its argument's `authorization`.
        argument: has a field `authorization`, which the kit fills in.
        approval: the outcome of the gate that allows it.
        premises: the facts to fetch again just before.
        lookup: tells by the key what an attempt with unknown outcome came to, its result or None; where it is
            not given, the activity itself looks up before it acts.
        freshness: how long a validation is good for; a later start validates again.
        policy: time-outs of one attempt.
    """

    activity: Callable[..., Any]
    argument: BaseModel
    approval: Outcome[Any]
    premises: Sequence[Premise] = ()
    lookup: Callable[..., Any] | None = None
    freshness: timedelta = timedelta(seconds=10)
    policy: CallPolicy = ACTION


@dataclass(frozen=True)
class Acted(Generic[Result]):
    """What came of an action: its result, or the drifts that stopped it. Never both."""

    result: Result | None = None
    drifts: Sequence[Drift] = ()


class Actor(Asker):
    """The part of an agent that acts on the world."""

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
        key = f"{workflow.info().workflow_id}:{self._node}:{digest(approval.plan)}"
        argument = action.argument.model_copy(update={"authorization": approval.authorization(key)})
        name = action.activity.__name__
        with self._watchdog.watch(name, self._node, action.policy.stuck_after):
            pause = timedelta(seconds=1)
            while True:
                self._show_all()
                drifts = await self._drifts(action.premises)
                if drifts:
                    self._void(approval, drifts)
                    return Acted(drifts=drifts)
                try:
                    return Acted(await self._execute(action.activity, argument, _fresh(action)))
                except ActivityError as error:
                    if is_cancelled_exception(error) or _is_permanent(error):
                        raise
                    if _never_started(error):
                        self.note(f"{name} did not start while the facts were fresh; they are fetched again")
                    else:
                        self.note(f"{name}: outcome unknown ({cause_of(error)}); looks what happened")
                        found = action.lookup and await self._execute(action.lookup, argument, RECHECK)
                        if found:
                            return Acted(found)
                await workflow.sleep(pause)
                await self._while_paused()
                pause = min(pause * 2, timedelta(minutes=5))

    async def _drifts(self, premises: Sequence[Premise]) -> list[Drift]:
        found = await asyncio.gather(*(self._recheck(premise) for premise in premises))
        return [each for each in found if each is not None]

    async def _recheck(self, premise: Premise) -> Drift | None:
        try:
            now = premise.read(await self._execute(premise.activity, premise.argument, RECHECK))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return unfetched(premise, error.cause or error)
        return drift(premise, now)

    def _void(self, approval: Outcome[Any], drifts: Sequence[Drift]) -> None:
        self._gate.close(approval.request.id, "void: what it rested on has changed")
        for each in drifts:
            self.note(f"drift: {each.premise}: {each.reason}", request=approval.request.id)


def _fresh(action: Action[Any]) -> CallPolicy:
    """The action's policy with the freshness window as the longest it may wait for a worker."""
    return replace(action.policy, schedule_to_start=action.freshness)


def _never_started(error: ActivityError) -> bool:
    return isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.SCHEDULE_TO_START


def _is_permanent(error: ActivityError) -> bool:
    return bool(getattr(error.cause, "non_retryable", False))

"""Final validation and action: nothing destructive without approval, fresh facts and a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError, TimeoutError, TimeoutType, is_cancelled_exception

from common.approval.signing import POLICY_REFUSED
from common.digest import digest
from common.errors import permanent
from common.notices.types import NoticeEvent
from workflows.core.approval import Approvals
from workflows.core.calls import ACTION, READ, CallPolicy, Calls, Result, is_permanent
from workflows.core.display import Display, cause_of, cause_type_of
from workflows.core.gate import Outcome
from workflows.core.notify import Notifier
from workflows.core.premises import Drift, Premise, fetched_all


@dataclass(frozen=True)
class Action(Generic[Result]):
    """Something destructive, and what must hold for it: `Action[Done](…)`, where `Done` is what it returns.

    Attributes:
        activity: does it; idempotent under the key in its argument's `authorization`.
        argument: has a field `authorization`, which the kit fills in.
        approval: the outcome of `ask` that allows it.
        premises: the facts to fetch again just before.
        fence: copies values just fetched, given by premise name, into the argument, as conditions that the
            target itself checks (a limit price, an ETag).
        lookup: returns, by the key, the result of an attempt with unknown outcome, or None if nothing was
            done. If not given, the activity itself must look before it acts.
        freshness: how long a validation is valid; an attempt that starts later is validated again.
        settles: how long an attempt with unknown outcome may still take effect at the target, such as a
            request that a dead worker left on the wire. Only after that does a drift, or a refusal of the
            next attempt, mean that nothing was done.
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
class ActionResult(Generic[Result]):
    """The result of an action, or the drifts that stopped it. Never both."""

    result: Result | None = None
    drifts: Sequence[Drift] = ()

    @property
    def evidence(self) -> list[str]:
        """The old and new value of every drift, a line each, as evidence for the next request."""
        return [f"{each.premise}: {each.reason}" for each in self.drifts]

    def now(self, premise: str) -> Any:
        """The new value of a premise that drifted; None if it holds or cannot be fetched."""
        return next((each.now for each in self.drifts if each.premise == premise), None)


@dataclass
class _Attempts(Generic[Result]):
    """An action under way: its argument with the authorization, and the state of its attempts.

    `unknown`: one of them may have taken effect. `asked_pause`: how long the target asked us to wait.
    """

    action: Action[Result]
    argument: BaseModel
    unknown: bool = False
    asked_pause: timedelta = timedelta()


class Actions:
    """Performs destructive actions, each after a final validation."""

    def __init__(self, display: Display, calls: Calls, notifier: Notifier, approvals: Approvals) -> None:
        self._display = display
        self._calls = calls
        self._notifier = notifier
        self._approvals = approvals

    async def act(self, action: Action[Result]) -> ActionResult[Result]:
        """See `Agent.act`."""
        await self._display.while_paused()
        approval = action.approval
        if not self._approvals.allows(approval):
            raise permanent("NotApproved", f"{approval.request.id} does not allow this action")
        authorization = approval.authorization(self.key(approval.plan))
        argument = action.argument.model_copy(update={"authorization": authorization})
        acted = await self._done(_Attempts(action, argument))
        self._approvals.forget(approval)
        return acted

    def key(self, plan: BaseModel) -> str:
        """See `Agent.action_key`."""
        return f"{workflow.info().workflow_id}:{self._display.node_name}:{digest(plan)}"

    async def _done(self, attempts: _Attempts[Result]) -> ActionResult[Result]:
        """Attempt until there is a result, a drift, or a failure for good."""
        policy, since = attempts.action.policy, workflow.now()
        if policy.lasting:
            self._display.show()
        acted = await self._attempt(attempts)
        if acted is not None:
            return acted
        watch, name = self._display.watchdog.watch, attempts.action.activity.__name__
        # Counted as under way between attempts too: its outcome must not be lost to a fresh history.
        with self._calls.count_under_way(), watch(name, self._display.node_name, policy.stuck_after, since):
            pause = timedelta(seconds=1)
            while acted is None:
                self._display.show()
                await workflow.sleep(max(pause, attempts.asked_pause))
                pause = min(pause * 2, timedelta(minutes=5))
                acted = await self._attempt(attempts)
        return acted

    async def _attempt(self, attempts: _Attempts[Result]) -> ActionResult[Result] | None:
        """Validate and act once; None if another attempt is needed."""
        action, argument = attempts.action, attempts.argument
        facts, drifts = await self._validated(action)
        while self._display.is_paused:
            # Nothing is done while paused, and once resumed, the facts are no longer fresh.
            await self._display.while_paused()
            facts, drifts = await self._validated(action)
        if drifts:
            return await self._given_up(attempts, drifts)
        fenced = action.fence(argument, facts) if action.fence else argument
        fresh = replace(action.policy, schedule_to_start=action.freshness)
        try:
            return ActionResult(await self._calls.execute(action.activity, fenced, fresh))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            if is_permanent(error):
                # If the policy now requires more than this approval, the people it requires are asked.
                refused = cause_type_of(error) == POLICY_REFUSED
                drifts = [Drift("policy", None, None, cause_of(error))] if refused else []
                acted = await self._given_up(attempts, drifts)
                if acted is None:
                    raise
                return acted
            attempts.asked_pause = getattr(error.cause, "next_retry_delay", None) or timedelta()
            name = action.activity.__name__
            if _never_started(error):
                self._display.note(f"{name} did not start while the facts were fresh; they are fetched again")
                return None
            attempts.unknown = True
            self._display.note(f"{name}: outcome unknown ({cause_of(error)}); looks what happened")
        found = await self._looked_up(action, argument)
        return ActionResult(found) if found else None

    async def _given_up(self, tried: _Attempts[Result], drifts: list[Drift]) -> ActionResult[Result] | None:
        """The result of an attempt that took effect after all; else the drifts; None if there are none.

        Waits until no attempt can take effect any more. Looks up the action even if history has no attempt: a
        server restored from an older copy has forgotten some.
        """
        action = tried.action
        if tried.unknown:
            await workflow.sleep(action.settles)
        looks = tried.unknown or workflow.patched("looks-before-giving-up")
        if looks and (found := await self._looked_up(action, tried.argument)):
            return ActionResult(found)
        if not drifts:
            return None
        self._approvals.void(action.approval, "what it rested on has changed")
        for each in drifts:
            self._display.note(f"drift: {each.premise}: {each.reason}", request=action.approval.request.id)
        told = "; ".join(f"{each.premise}: {each.reason}" for each in drifts)
        await self._notifier.tell(NoticeEvent.DRIFT, f"{action.approval.request.question} Not done: {told}")
        return ActionResult(drifts=drifts)

    async def _looked_up(self, action: Action[Result], argument: BaseModel) -> Result | None:
        """The result of an attempt with unknown outcome; the lookup is retried until it gets an answer."""
        lookup = action.lookup
        found: Result | None = await self._calls.execute_watched(lookup, argument, READ) if lookup else None
        return found

    async def _validated(self, action: Action[Any]) -> tuple[dict[str, Any], list[Drift]]:
        """The current facts by premise name, and the drifts among them."""
        found = await fetched_all(action.premises, self._calls)
        drifts = [each.drift for each in found if each.drift]
        # Checked for the end of the window, so that the envelope is still valid when the activity checks it.
        good_until = action.approval.good_until
        if good_until is not None and good_until <= workflow.now() + action.freshness:
            why = f"it held until {good_until:%Y-%m-%d %H:%M} UTC"
            drifts.append(Drift("approval", good_until, workflow.now(), why))
        if not self._approvals.is_own(action.approval):
            drifts.append(Drift("approval", None, None, "it was given to another agent, or too long ago"))
        return {each.premise.name: each.now for each in found}, drifts


def _never_started(error: ActivityError) -> bool:
    return isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.SCHEDULE_TO_START

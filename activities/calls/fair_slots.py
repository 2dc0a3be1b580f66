"""Wraps every activity: keeps one owner's long activities from taking all the slots of a worker.

Temporal dispatches waiting activities fairly between owners, but a dispatched one keeps its slot until it
ends. So an activity that can wait is put off while its owner already runs at least twice as many as there
would be free slots left. Each owner who comes later still finds slots, though fewer than the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

# How many activities an owner may run per slot left free. An owner alone gets two thirds of all slots.
FOR_EACH_FREE = 2
PUT_OFF = "PutOff"
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=10)


class FairSlots(Interceptor):
    """A worker interceptor.

    Args:
        slots: how many activities the worker runs at once.
        owner_of: returns the owner of the current activity's agent; empty if none.
    """

    def __init__(self, slots: int, owner_of: Callable[[], Awaitable[str]]) -> None:
        self._slots, self._owner_of = slots, owner_of
        self._under_way: Counter[str] = Counter()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap one activity execution."""
        return _FairSlotsInbound(next, self)

    async def take(self) -> str:
        """Take a slot for the current activity and return its owner, to be passed to `give_back`.

        Raises:
            ApplicationError: type `PutOff`, retryable: its owner has enough activities running now.
        """
        owner = await self._owner_of()
        mine, left = self._under_way[owner], self._slots - self._under_way.total() - 1
        if owner and mine and mine >= FOR_EACH_FREE * left and _may_wait():
            pause = FIRST_PAUSE * 2 ** min(activity.info().attempt - 1, 10)
            raise ApplicationError(
                "other owners' calls go first",
                type=PUT_OFF,
                next_retry_delay=min(pause, LONGEST_PAUSE),
                category=ApplicationErrorCategory.BENIGN,
            )
        self._under_way[owner] += 1
        return owner

    def give_back(self, owner: str) -> None:
        """An activity of this owner has ended."""
        self._under_way[owner] -= 1
        if not self._under_way[owner]:
            del self._under_way[owner]


class _FairSlotsInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, slots: FairSlots) -> None:
        super().__init__(next)
        self._slots = slots

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().is_local:
            return await super().execute_activity(input)
        owner = await self._slots.take()
        try:
            return await super().execute_activity(input)
        finally:
            self._slots.give_back(owner)


def _may_wait() -> bool:
    """Whether the current activity has unlimited attempts: putting it off uses one up."""
    policy = activity.info().retry_policy
    return policy is not None and policy.maximum_attempts == 0


async def owner_from_fairness_key() -> str:
    """The owner of the current activity, which is its fairness key; see `priority_of`."""
    return activity.info().priority.fairness_key or ""

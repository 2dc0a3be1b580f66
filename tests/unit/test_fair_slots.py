"""How many calls an owner may have under way on a worker, beside those of others."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.calls.fair_slots import PUT_OFF, FairSlots, owner_from_fairness_key

SLOTS = 24


class Calls:
    """Calls that begin on one worker."""

    def __init__(self) -> None:
        self.slots = FairSlots(SLOTS, owner_from_fairness_key)

    async def begin(self, owner: str, attempt: int = 1, attempts: int = 0) -> str:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            ActivityEnvironment.default_info(),
            attempt=attempt,
            priority=Priority(fairness_key=owner or None),
            retry_policy=RetryPolicy(maximum_attempts=attempts),
        )
        return await environment.run(self.slots.take)

    async def begun(self, owner: str) -> int:
        """How many of as many as can be begin."""
        tried = await asyncio.gather(*(self.begin(owner) for _ in range(SLOTS)), return_exceptions=True)
        failed = [each for each in tried if isinstance(each, ApplicationError)]
        assert {each.type for each in failed} <= {PUT_OFF}
        return len(tried) - len(failed)


async def test_each_owner_leaves_room_for_the_next() -> None:
    """One alone has two thirds of the slots; who comes later has fewer, and one at least."""
    calls = Calls()
    assert [await calls.begun(owner) for owner in ("ann", "bob", "eve", "kim")] == [16, 5, 2, 1]
    # What ends makes room for who has little, not for who has much.
    calls.slots.give_back("ann")
    assert [await calls.begun(owner) for owner in ("ann", "bob", "lee")] == [0, 0, 1]


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (4, 8), (5, 10), (5000, 10)])
async def test_what_is_put_off_comes_back_soon(attempt: int, seconds: int) -> None:
    """And is no failure that anybody has to look at."""
    calls = Calls()
    await calls.begun("ann")
    with pytest.raises(ApplicationError) as put_off:
        await calls.begin("ann", attempt)
    assert put_off.value.next_retry_delay == timedelta(seconds=seconds)
    assert put_off.value.category.name == "BENIGN"


async def test_what_has_one_attempt_or_works_for_nobody_is_never_put_off() -> None:
    """A deed whose facts are fresh must not be lost to somebody's turn."""
    calls = Calls()
    await calls.begun("ann")
    assert await calls.begin("ann", attempts=1) == "ann"
    assert [await calls.begin("") for _ in range(3)] == [""] * 3

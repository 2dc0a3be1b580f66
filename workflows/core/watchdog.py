"""Notices calls that do not get through: one timer for all of an agent's calls, and none while it sleeps."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow


@dataclass(eq=False, slots=True)
class OpenCall:
    """A call under way: its name, its node, when it began, and when it counts as stuck."""

    name: str
    node: str
    since: datetime
    due: datetime
    stuck: bool = False


class Watchdog:
    """Marks calls as stuck once they are overdue, while they go on.

    A timer per call would cost two events in history each. Instead, one timer starts with the first call
    after a rest, is moved only if a call is due sooner, and is cancelled when the agent goes to sleep.
    """

    def __init__(
        self, on_stuck: Callable[[OpenCall], Awaitable[None]], on_through: Callable[[OpenCall], None]
    ):
        self._on_stuck = on_stuck
        self._on_through = on_through
        self._calls: list[OpenCall] = []
        self._task: asyncio.Task[None] | None = None
        self._next = datetime.max

    @property
    def stuck(self) -> OpenCall | None:
        """The oldest call that is stuck now."""
        return next((call for call in self._calls if call.stuck), None)

    @contextmanager
    def watch(self, name: str, node: str, stuck_after: timedelta | None, since: datetime) -> Iterator[None]:
        """Watch the block as a call that began at `since`; without `stuck_after`, do not watch it."""
        if stuck_after is None:
            yield
            return
        call = OpenCall(name, node, since, since + stuck_after)
        self._calls.append(call)
        self._wake_by(call.due)
        try:
            yield
        finally:
            self._calls.remove(call)
            if call.stuck and not is_evicted():
                self._on_through(call)

    def rest(self) -> None:
        """Stop the timer if no call is under way: the agent is about to sleep, and must not be woken."""
        if not self._calls and self._task is not None:
            self._task.cancel()
            self._task = None

    def _wake_by(self, due: datetime) -> None:
        if self._task is not None and not self._task.done() and self._next <= due:
            return
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._run())
        self._next = due

    async def _run(self) -> None:
        while any(not call.stuck for call in self._calls):
            self._next = min(call.due for call in self._calls if not call.stuck)
            delay = self._next - workflow.now()
            if delay > timedelta():
                await workflow.sleep(delay)
            for call in [each for each in self._calls if not each.stuck and each.due <= workflow.now()]:
                call.stuck = True
                await self._on_stuck(call)


def is_evicted() -> bool:
    """Whether a block ends because the worker evicted the agent from its cache.

    The garbage collector may then run its end in the middle of another agent's task, and commands issued here
    would go to that agent.
    """
    return isinstance(sys.exc_info()[1], GeneratorExit)

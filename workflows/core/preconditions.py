"""Preconditions: what an agent will need is checked before people are asked, and waited for if missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow

from common.agents.agent import AgentState, Carried
from common.agents.needs import Missing
from common.errors import permanent
from common.notices.types import NoticeEvent
from common.temporal.search_attributes import MISSING, SEPARATOR
from workflows.core.calls import Argument, CallPolicy, Calls
from workflows.core.display import Display
from workflows.core.notify import Notifier
from workflows.core.sleep import Sleep

# The activity of a precondition: it returns what is missing.
Look = Callable[[Any, Argument], Awaitable[Missing]]

# An immediate fix is noticed within a minute; a long wait costs at most 24 checks a day.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)


class Preconditions:
    """Checks what one agent needs: once when it starts, and again before each question."""

    def __init__(
        self, carried: Carried, display: Display, calls: Calls, sleep: Sleep, notifier: Notifier
    ) -> None:
        self._carried = carried
        self._display = display
        self._calls = calls
        self._sleep = sleep
        self._notifier = notifier
        self._checks: list[Callable[[], Awaitable[Missing]]] = []
        # Concurrent questions share one wait.
        self._turn = asyncio.Lock()

    async def require(self, activity: Look[Argument], argument: Argument, policy: CallPolicy) -> None:
        """See `Agent.require`."""
        self._checks.append(partial(self._calls.execute_watched, activity, argument, policy))
        # A question left open by the previous history must be asked again at once, or nobody could answer it.
        if not self._carried.approvals.open:
            with nullcontext() if self._display.node_name else self._display.node("preconditions"):
                await self.met()

    async def met(self, *, resumable: bool = True) -> None:
        """Return once nothing is missing; until then the agent is stuck, says why, and checks again.

        Pass `resumable=False` in the middle of something, so that history does not start afresh meanwhile.

        Raises:
            ApplicationError: type `PreconditionMissing`, for an item of a batch, which is then set aside.
        """
        if not resumable and not (self._checks and workflow.patched("looks-before-every-question")):
            return
        sleep = partial(self._sleep.until, quietly=True, state=AgentState.STUCK, resumable=resumable)
        async with self._turn:
            told, pause = "", FIRST_PAUSE
            while missing := await self._missing():
                if self._notifier.is_item:
                    raise permanent("PreconditionMissing", missing)
                if missing != told:
                    await self._tell(missing)
                await sleep(workflow.now() + pause, None, MISSING + missing)
                told, pause = missing, min(pause * 2, LONGEST_PAUSE)
            if told:
                self._display.note("no longer stuck: nothing is missing any more")
                self._display.show()

    async def _missing(self) -> str:
        """What is missing, in one line; empty if nothing is."""
        reasons = [reason for check in self._checks for reason in (await check()).reasons]
        return ", and ".join(reasons).replace(SEPARATOR, ", ")

    async def _tell(self, missing: str) -> None:
        self._display.mark_stuck(self._display.node_name)
        words = f"stuck at {self._display.node_name}: {missing}"
        self._display.note(f"{words}; it looks again, at once where it is woken")
        await self._notifier.tell(NoticeEvent.STUCK, words)

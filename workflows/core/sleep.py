"""Durable sleep: days at no cost, ended by time, by a signal, or by something the agent waits for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from temporalio import workflow

from common.agents.agent import AgentState, Asleep, Carried, Receipt, WakeUp, Woken
from workflows.core.calls import Calls
from workflows.core.display import Display, Wait
from workflows.core.history import History


class Sleep:
    """Puts an agent to sleep, and keeps the `wake` signal that arrived for it."""

    def __init__(self, carried: Carried, display: Display, calls: Calls, history: History) -> None:
        self.woken: WakeUp | None = None
        self._carried = carried
        self._display = display
        self._calls = calls
        self._history = history
        # Sleeps that were under way when history started afresh; the agent comes back to each.
        self._unresumed, carried.sleeps = carried.sleeps, []

    async def until(
        self,
        until: datetime | None,
        wake_on: Callable[[], bool] | None,
        waiting_for: str,
        quietly: bool = False,
        state: AgentState | None = None,
        resumable: bool = True,
    ) -> Woken:
        """See `Agent.hibernate`; `state` is what people see the agent do meanwhile.

        A sleep that is not `resumable` keeps history from starting afresh.
        """
        wait = partial(self._history.wait, resumable=resumable)
        wakes = partial(wait, lambda: self.woken is not None or (wake_on is not None and wake_on()))
        state = state or (AgentState.AWAITING_EVENT if wake_on else AgentState.SLEEPING)
        asleep = self._resumed(waiting_for)
        if asleep is None:
            asleep = Asleep(node=self._display.node_name, waiting_for=waiting_for, until=until)
            self.woken = None
        self._carried.sleeps.append(asleep)
        try:
            asleep.woken = reason = asleep.woken or await self._slept(asleep, wakes, quietly, state)
            await self._display.while_paused(wait)
        finally:
            self._carried.sleeps = [each for each in self._carried.sleeps if each is not asleep]
        self._unresumed = []
        self._calls.has_begun = True
        return reason

    async def _slept(
        self, asleep: Asleep, wakes: Callable[..., Awaitable[bool]], quietly: bool, state: AgentState
    ) -> Woken:
        shown = Wait(state, asleep.waiting_for, asleep.until, sleeps=True)
        with self._display.waiting(shown):
            while True:
                happened = await wakes(shown.until)
                if not happened or self.woken is None or self.woken.until is None:
                    break
                shown.until, self.woken = self.woken.until, None
                asleep.until = shown.until
                self._display.note(f"sleeps until {shown.until:%Y-%m-%d %H:%M} UTC instead")
                self._display.show()
        reason = Woken.TIME if not happened else Woken.SIGNAL if self.woken else Woken.EVENT
        if reason is not Woken.TIME or not quietly:
            self._display.note(f"woke: {reason}")
        return reason

    def _resumed(self, waiting_for: str) -> Asleep | None:
        """The sleep that was under way here when history started afresh; None if there was none."""
        here = self._display.node_name, waiting_for
        found = next((each for each in self._unresumed if (each.node, each.waiting_for) == here), None)
        self._unresumed = [each for each in self._unresumed if each is not found]
        return found

    def wake(self, wake: WakeUp) -> Receipt:
        """Handle the signal `wake`, and say what comes of it."""
        # In a fresh history, a sleep that `run` has not come back to yet still counts.
        if not self._unresumed and not self._display.is_asleep:
            words = f"it does not sleep now, it is {self._display.status().state}"
            self._display.note(f"refused to wake: {words}")
            return Receipt(taken=False, words=words)
        self.woken, at = wake, f"{wake.until:%Y-%m-%d %H:%M:%S} UTC" if wake.until else ""
        words = f"it sleeps until {at} instead" if at else "it wakes"
        if wake.until and wake.until <= workflow.now():
            words = f"{at} has passed, so it wakes"
        return Receipt(taken=True, words=words + (", once it is resumed" if self._display.is_paused else ""))

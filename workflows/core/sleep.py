"""Durable sleep: days at no cost, ended by time, by a signal, or by something the agent waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

from common.agents.agent import AgentState, Receipt, WakeUp, Woken
from workflows.core.display import Display, Wait


class Sleep:
    """Puts an agent to sleep, and keeps the signal `wake` that came for it."""

    def __init__(self, display: Display) -> None:
        self.woken: WakeUp | None = None
        self._display = display
        self._wait: Wait | None = None

    async def until(
        self, until: datetime | None, wake_on: Callable[[], bool] | None, waiting_for: str
    ) -> Woken:
        """See `Agent.hibernate`."""
        wait = Wait(AgentState.AWAITING_EVENT if wake_on else AgentState.SLEEPING, waiting_for, until)
        self.woken, self._wait = None, wait
        with self._display.waiting(wait):
            while True:
                happened = await wait_until(
                    wait.until, lambda: self.woken is not None or (wake_on is not None and wake_on())
                )
                if not happened or self.woken is None or self.woken.until is None:
                    break
                wait.until, self.woken = self.woken.until, None
                self._display.note(f"sleeps until {wait.until:%Y-%m-%d %H:%M} UTC instead")
                self._display.show()
        reason = Woken.TIME if not happened else Woken.SIGNAL if self.woken else Woken.EVENT
        self._display.note(f"woke: {reason}")
        await self._display.while_paused()
        return reason

    def wake(self, wake: WakeUp) -> Receipt:
        """Take in the signal `wake`, and say what comes of it."""
        if not self._display.is_waiting(self._wait):
            words = f"it does not sleep now, it is {self._display.status().state}"
            self._display.note(f"refused to wake: {words}")
            return Receipt(taken=False, words=words)
        self.woken, at = wake, f"{wake.until:%Y-%m-%d %H:%M:%S} UTC" if wake.until else ""
        words = f"it sleeps until {at} instead" if at else "it wakes"
        if wake.until and wake.until <= workflow.now():
            words = f"{at} has passed, so it wakes"
        return Receipt(taken=True, words=words + (", once it is resumed" if self._display.is_paused else ""))


async def wait_until(until: datetime | None, condition: Callable[[], bool]) -> bool:
    """Wait for `condition`, at most until `until`; whether it came true."""
    remaining = None if until is None else until - workflow.now()
    if remaining is not None and remaining <= timedelta():
        return condition()
    try:
        await workflow.wait_condition(condition, timeout=remaining)
    except TimeoutError:
        return condition()
    return True

"""Durable sleep: days at no cost, ended by time, by a signal, or by something the agent waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

from common.agents.agent import AgentInput, AgentState, WakeUp, Woken
from workflows.core.carry_over import Carrier
from workflows.core.visible import Wait


class Sleeper(Carrier):
    """The part of an agent that sleeps."""

    def __init__(self, input: AgentInput) -> None:
        super().__init__(input)
        self._woken: WakeUp | None = None

    async def hibernate(
        self, until: datetime | None, wake_on: Callable[[], bool] | None = None, waiting_for: str = "time"
    ) -> Woken:
        """Sleep, for days if need be, at no cost. The signal `wake` ends it or moves its end.

        Args:
            until: when to wake; None sleeps until something else wakes the agent.
            wake_on: looked at after every signal; true wakes.
            waiting_for: what people see the agent wait for.

        Returns:
            Why it woke.
        """
        wait = Wait(AgentState.AWAITING_EVENT if wake_on else AgentState.SLEEPING, waiting_for, until)
        self._woken = None
        with self._waiting(wait):
            while True:
                happened = await self._until(
                    wait.until, lambda: self._woken is not None or (wake_on is not None and wake_on())
                )
                if not happened or self._woken is None or self._woken.until is None:
                    break
                wait.until, self._woken = self._woken.until, None
                self.note(f"sleeps until {wait.until:%Y-%m-%d %H:%M} UTC instead")
                self._show_all()
        reason = Woken.TIME if not happened else Woken.SIGNAL if self._woken else Woken.EVENT
        self.note(f"woke: {reason}")
        await self._while_paused()
        return reason

    async def _until(self, until: datetime | None, condition: Callable[[], bool]) -> bool:
        """Wait for `condition`, at most until `until`; whether it came true."""
        remaining = None if until is None else until - workflow.now()
        if remaining is not None and remaining <= timedelta():
            return condition()
        try:
            await workflow.wait_condition(condition, timeout=remaining)
        except TimeoutError:
            return condition()
        return True

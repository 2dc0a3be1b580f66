"""Fresh histories: when one has grown long, a new one starts from what is carried over; nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from pydantic import BaseModel
from temporalio import workflow

from common.agents.agent import AgentInput, Carried, Receipt
from workflows.core.answers import Answers
from workflows.core.calls import Calls
from workflows.core.gate import Gate


@dataclass(eq=False)
class History:
    """Starts an agent's history afresh with its input, its memory and all that the kit carries over.

    `memory` is the agent's own, kept up to date by the agent. An agent without one could not continue from
    where it was, so its history starts afresh only before it has done anything. A fresh history runs on the
    workers' current build; for a `long_lived` agent, a new build is reason enough to start one.
    """

    _input: AgentInput
    _carried: Carried
    _memory: BaseModel | None
    _calls: Calls
    _gate: Gate
    _answers: Answers
    _long_lived: bool
    _upgrade: bool = False

    @property
    def remembers(self) -> bool:
        """Whether the agent has a memory from which it can go on in a new history."""
        return self._memory is not None

    @property
    def should_start_afresh(self) -> bool:
        """Whether history should, and can, start afresh: the server suggests it, or another build waits."""
        info, begun = workflow.info(), self._calls.has_begun
        # Only once something has been done, so that moves cannot follow each other without end.
        moves = self._long_lived and begun and info.is_target_worker_deployment_version_changed()
        due = moves or self._upgrade or info.is_continue_as_new_suggested()
        return due and (self.remembers or not begun)

    def upgrade(self) -> Receipt:
        """Handle the signal `upgrade`, and say what comes of it."""
        self._upgrade = taken = self.remembers
        words = "it moves once nothing is under way" if taken else "it has no memory to go on from"
        return Receipt(taken=taken, words=words)

    def at_rest(self) -> bool:
        """Whether nothing is under way that a fresh history would lose: no call, no handler."""
        return workflow.all_handlers_finished() and not self._calls.under_way

    def is_due(self) -> bool:
        """Whether history should start afresh in the middle of a wait."""
        # Not under a flood of decisions: what is carried over is limited in bytes.
        return self.should_start_afresh and self.at_rest() and not self._gate.is_flooded

    async def wait(
        self, condition: Callable[[], bool], until: datetime | None = None, *, resumable: bool = True
    ) -> bool:
        """Like `wait_until`, but start history afresh when that is due.

        `run` of the new history must come back to this wait; pass `resumable=False` if it could not.
        """
        while True:
            happened = await wait_until(until, lambda: condition() or (resumable and self.is_due()))
            if condition() or not happened:
                return happened
            if resumable and self.is_due():
                self.start_afresh()

    def start_afresh(self) -> NoReturn:
        """End this run and go on in a new one. Call it only right after `at_rest`, without awaiting."""
        self._answers.keep()
        state = self._carried.with_memory(self._memory)
        workflow.continue_as_new(
            self._input.model_copy(update={"carried": state}),
            initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
        )


async def wait_until(until: datetime | None, condition: Callable[[], bool]) -> bool:
    """Wait for `condition`, at most until `until`; return whether it came true."""
    remaining = None if until is None else until - workflow.now()
    if remaining is not None and remaining <= timedelta():
        return condition()
    try:
        await workflow.wait_condition(condition, timeout=remaining)
    except TimeoutError:
        return condition()
    return True

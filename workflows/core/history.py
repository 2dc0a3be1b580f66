"""Fresh histories: one that has grown long starts again from what is carried over, and nothing is lost."""

from __future__ import annotations

from typing import NoReturn

from pydantic import BaseModel
from temporalio import workflow

from common.agents.agent import AgentInput, Carried
from workflows.core.calls import Calls


class History:
    """Starts an agent's history afresh with its input, its memory and all that the kit carries.

    `memory` is the agent's own, kept up to date by the agent; None where it has none, and then its history
    is never started afresh, since `run` could not go on from where it was.
    """

    def __init__(self, input: AgentInput, carried: Carried, memory: BaseModel | None, calls: Calls) -> None:
        self._input = input
        self._carried = carried
        self._memory = memory
        self._calls = calls

    @property
    def has_grown(self) -> bool:
        """Whether history should start afresh: it can, and the server suggests it."""
        return self._memory is not None and workflow.info().is_continue_as_new_suggested()

    def at_rest(self) -> bool:
        """Whether nothing is under way that would be lost half-way: no call, no handler."""
        return workflow.all_handlers_finished() and not self._calls.under_way

    def start_afresh(self) -> NoReturn:
        """End this run and go on in a new one; only while `at_rest`, with nothing in between."""
        assert self._memory is not None
        carried = self._carried.model_copy(update={"memory": self._memory.model_dump(mode="json")})
        workflow.continue_as_new(self._input.model_copy(update={"carried": carried}))

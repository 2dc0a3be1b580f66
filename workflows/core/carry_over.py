"""Carry-over: a history that has grown long starts afresh, and nothing is lost in between."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow

from workflows.core.calls import Caller

Memory = TypeVar("Memory", bound=BaseModel)


class Carrier(Caller):
    """The part of an agent that takes its state along."""

    def remembered(self, memory: type[Memory]) -> Memory | None:
        """The agent's own state as `carry_over` left it; None in a first run."""
        return None if self._kept.memory is None else memory.model_validate(self._kept.memory)

    async def carry_over(self, memory: BaseModel, *, now: bool = False) -> None:
        """Where the server suggests it (or `now`), start history afresh and take everything along.

        Decisions, seen ids, notebook and words told come along; a signal that arrives meanwhile makes the
        server hand the task out again, and is carried too.
        """
        if not (now or self._has_grown(memory)):
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        carried = self._kept.model_copy(update={"memory": memory.model_dump(mode="json")})
        workflow.continue_as_new(self._input.model_copy(update={"carried": carried}))

    def _has_grown(self, memory: BaseModel | None) -> bool:
        """Whether history should start afresh: the server suggests it, and no call is under way."""
        return memory is not None and workflow.info().is_continue_as_new_suggested() and not self._under_way

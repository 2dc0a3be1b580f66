"""Values of any size, and activities that return them or fail with them."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from common.agents.agent import AgentInput


class Poison(BaseModel):
    """Data of a given size in bytes."""

    size: int = 0
    text: str = ""


class PoisonInput(AgentInput):
    """What an agent should do, with data of which size."""

    what: str
    size: int = 0
    say: str = ""


class PoisonMemory(BaseModel):
    """A state of the requested size."""

    rounds: int = 0
    text: str = ""


class Poisons:
    """Activities that take, return, or fail with what they are asked to."""

    @activity.defn(name="take")
    async def take(self, poison: Poison) -> Poison:
        """Return the size received."""
        return Poison(size=len(poison.text))

    @activity.defn(name="give")
    async def give(self, poison: Poison) -> Poison:
        """Return data of this size."""
        return Poison(text="r" * poison.size)

    @activity.defn(name="fail")
    async def fail(self, poison: Poison) -> Poison:
        """Fail permanently with a message of this size."""
        raise ApplicationError("m" * poison.size, type="Poisoned", non_retryable=True)

    @activity.defn(name="keep-failing")
    async def keep_failing(self, poison: Poison) -> Poison:
        """Fail repeatedly with a message of this size."""
        raise ApplicationError("m" * poison.size, type="Poisoned")

    @activity.defn(name="fail-with-details")
    async def fail_with_details(self, poison: Poison) -> Poison:
        """Fail permanently with details of this size."""
        raise ApplicationError("see the details", "d" * poison.size, type="Poisoned", non_retryable=True)

"""What the agents of the bench of batches take and do."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity

from common.agents.agent import AgentInput
from common.artifacts import ArtifactRef


class BatchedInput(AgentInput):
    """The items, how many at once, and the kind of agent that does them; a trivial activity if none."""

    items: ArtifactRef
    at_once: int
    kind: str = ""


class Nap(AgentInput):
    """One that sleeps."""

    number: int


class Nothing(BaseModel):
    """A memory with nothing in it."""


class Job(BaseModel):
    """One item; also what came of it."""

    number: int


class Jobs:
    """The activity that does an item."""

    @activity.defn(name="bench_job")
    async def do(self, job: Job) -> Job:
        """Nothing."""
        return job

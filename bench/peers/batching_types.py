"""Inputs and activity of the agents of the bench of batches."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity

from common.agents.agent import AgentInput
from common.artifacts import ArtifactRef


class BatchedInput(AgentInput):
    """The items, how many at once, and the kind of agent for them; a trivial activity if none."""

    items: ArtifactRef
    at_once: int
    kind: str = ""


class Nap(AgentInput):
    """The input of a sleeper."""

    number: int


class Nothing(BaseModel):
    """An empty memory."""


class Job(BaseModel):
    """One item, and also its result."""

    number: int


class Jobs:
    """The activity that processes an item."""

    @activity.defn(name="bench_job")
    async def do(self, job: Job) -> Job:
        """Do nothing."""
        return job

"""The batcher's input, and activities for its items: they wait while held, and fail if told to."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from temporalio import activity

from activities.batch.records import Gathered, ItemResults, ItemsOf
from activities.batch.together import process_items
from common.agents.agent import AgentInput
from common.agents.batch import BatchCounts
from common.artifacts import ArtifactRef
from common.errors import permanent


class BatcherInput(AgentInput):
    """The items of its batch, how many at once, and the kind of agent for them; an activity if none.

    One activity call gets up to `together` items.
    """

    items: ArtifactRef
    at_once: int = 4
    kind: str = ""
    reports: bool = False
    together: int = 1


class BatcherMemory(BaseModel):
    """The outcome."""

    counts: BatchCounts | None = None


class Batched(BaseModel):
    """The counts, and the results gathered so far."""

    counts: BatchCounts
    so_far: Gathered | None = None


class Job(BaseModel):
    """One item."""

    name: str


class JobDone(BaseModel):
    """The item's result."""

    said: str


class Jobs:
    """The activities that process items, controlled by a test."""

    def __init__(self) -> None:
        self.running = set[str]()
        self.most = 0
        self.done = list[str]()
        self.fails = set[str]()
        self.held = dict[str, asyncio.Event]()
        self.cancelled = list[str]()
        self.calls = list[tuple[str, ...]]()
        self.stumbles = set[str]()

    def hold(self, *names: str) -> None:
        """Make these items wait until they are let go."""
        self.held.update({name: asyncio.Event() for name in names})

    def let_go(self, *names: str) -> None:
        """End their wait; all of them if none are named."""
        for name in names or tuple(self.held):
            self.held.pop(name).set()

    @activity.defn(name="job")
    async def do(self, job: Job) -> JobDone:
        """Process one item."""
        self.running.add(job.name)
        self.most = max(self.most, len(self.running))
        try:
            while (event := self.held.get(job.name)) is not None:
                activity.heartbeat()
                if activity.is_worker_shutdown():
                    raise RuntimeError("this worker ends, and another tries again")
                try:
                    await asyncio.wait_for(event.wait(), 0.2)
                except TimeoutError:
                    continue
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(job.name)
            raise
        finally:
            self.running.discard(job.name)
        if job.name in self.fails:
            raise permanent("Unreadable", f"{job.name} cannot be read")
        self.done.append(job.name)
        return JobDone(said=f"did {job.name}")

    @activity.defn(name="jobs")
    def do_several(self, jobs: ItemsOf[Job]) -> ItemResults:
        """Process items in turn; a stumbling item fails its call at first, and may be retried."""
        self.calls.append(tuple(each.key for each in jobs.items))
        return process_items(jobs, self._do_now)

    def _do_now(self, job: Job) -> JobDone:
        if job.name in self.stumbles:
            self.stumbles.discard(job.name)
            raise RuntimeError("try again")
        if job.name in self.fails:
            raise permanent("Unreadable", f"{job.name} cannot be read", job)
        self.done.append(job.name)
        return JobDone(said=f"did {job.name}")

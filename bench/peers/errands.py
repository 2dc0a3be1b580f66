"""Errands that end on command, and their worker: `python -m bench.peers.errands FOLDER`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from temporalio import activity, workflow

import worker
from activities.calls.heartbeats import heartbeats
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from common.agents.agent import AgentInput
from common.approval.signing import Authority
from common.lifecycle import exit_now
from common.settings import Settings
from common.temporal.connect import connect
from common.temporal.waiting_proxy import WaitingProxy
from workflows.core.agent import LONG, READ, Agent, CallPolicy

# The sandbox imports this file for each agent, and must not import what starts and ends workers.
with workflow.unsafe.imports_passed_through():
    from bench.harness import work_until_stopped

BEGUN, ENDED = "begun", "ended"
# Activity slots of a worker: as many as the bench has errands at once.
SLOTS = 1000
# Longer than usual, since all errands must begin before the first one ends.
PATIENT_READ = CallPolicy(start_to_close=timedelta(minutes=20), retry=READ.retry)
Line = tuple[str, str, float]


class Errand(BaseModel):
    """An errand; `wait` is how many seconds it continues after all errands were told to end."""

    name: str
    wait: float
    beats: bool = False


class ErrandInput(AgentInput):
    """An agent's input."""

    errands: list[Errand]


class Outcome(BaseModel):
    """An errand's result."""

    name: str


class Outcomes(BaseModel):
    """An agent's result."""

    names: list[str]


class Witness:
    """Records what began and ended when, in a file that survives kills."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "witness.log"

    def note(self, sign: str, name: str) -> None:
        """Append a line; it is in the file when this returns."""
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, f"{sign} {name} {time.time()}\n".encode())
        finally:
            os.close(handle)

    def lines(self) -> Sequence[Line]:
        """Every line: sign, name, when."""
        text = self._file.read_text() if self._file.exists() else ""
        return [(sign, name, float(at)) for sign, name, at in map(str.split, text.splitlines())]


class Errands:
    """The activities; all wait for one file in `folder` to appear."""

    def __init__(self, folder: Path) -> None:
        self._witness = Witness(folder)
        self._end_file = end_file(folder)
        self._end = asyncio.Event()

    async def watch(self) -> None:
        """Let errands end once the file exists."""
        while not self._end_file.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
        self._end.set()

    @activity.defn(name="errand")
    async def errand(self, errand: Errand) -> Outcome:
        """Run until told to end, and `wait` seconds longer."""
        return await self._run(errand)

    @activity.defn(name="beating-errand")
    async def beating(self, errand: Errand) -> Outcome:
        """Like `errand`, with heartbeats."""
        async with heartbeats():
            return await self._run(errand)

    async def _run(self, errand: Errand) -> Outcome:
        self._witness.note(BEGUN, errand.name)
        await self._end.wait()
        await asyncio.sleep(errand.wait)
        self._witness.note(ENDED, errand.name)
        return Outcome(name=errand.name)


@workflow.defn(name="bench-errand")
class ErrandRunner(Agent[ErrandInput, None]):
    """Runs all its errands at once."""

    @workflow.init
    def __init__(self, input: ErrandInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: ErrandInput) -> Outcomes:
        with self.node("errands"):
            outcomes = await asyncio.gather(*map(self._run, input.errands))
        return Outcomes(names=[outcome.name for outcome in outcomes])

    async def _run(self, errand: Errand) -> Outcome:
        if errand.beats:
            return await self.call(Errands.beating, errand, LONG)
        return await self.call(Errands.errand, errand, PATIENT_READ)


def end_file(folder: Path) -> Path:
    """The file that tells errands to end."""
    return folder / "end"


async def work(folder: Path, settings: Settings) -> None:
    """Work until SIGTERM."""
    client = await connect(settings, proxy=WaitingProxy())
    reports = ReliableReports(client)
    errands = Errands(folder)
    watching = asyncio.create_task(errands.watch())
    objects = [errands, DecisionChecks(Authority.load(settings)), Notices()]
    built = worker.build(
        client, settings, reports=reports, workflows=[ErrandRunner], objects=objects, slots=SLOTS
    )
    worker.tune_gc()
    await work_until_stopped(built, reports)
    watching.cancel()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Settings.read(os.environ)))
    exit_now(0)

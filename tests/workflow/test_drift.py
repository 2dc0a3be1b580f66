"""Facts that move: whatever the tolerance and whenever they move, nothing is done outside of it."""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowHandle

from activities.calendars import Calendars
from activities.decisions import DecisionChecks
from cli.children import start_child
from cli.dev_server import DevServer
from common.approval.types import ApprovalRequest, Decision
from common.settings import Settings
from testing.waiting import eventually
from tests.support.drift.agent import DriftAgent
from tests.support.drift.world import TOLERANCES, DriftInput, DriftResult, DriftWorld
from tests.support.stage import Stage, noted, state_is

ROOT = Path(__file__).parents[2]
# So many agents are played at once; each is asked again and again how it is.
AT_ONCE = 8


@dataclass(frozen=True)
class Case:
    """A value seen, what it becomes, and whether that is within; `failures` as in `DriftWorld.set`.

    `fit`: whether a plan may rest on what it becomes, where it became so before the plan.
    """

    tolerance: str
    seen: JsonValue
    becomes: JsonValue
    holds: bool
    failures: int = 0
    fit: bool = True


CASES = (
    Case("exact", 10, 10, True),
    Case("exact", 10, 11, False),
    Case("exact", [1, 2], [2, 1], False),
    Case("absolute", "10.00", "10.50", True),
    Case("absolute", "10.00", "9.50", True),
    Case("absolute", "10.00", "10.51", False),
    Case("absolute", "10.00", "9.49", False),
    Case("absolute", "10.00", "free", False, fit=False),
    Case("relative", "100.00", "101.00", True),
    Case("relative", "100.00", "101.01", False),
    # What a share closed at on one day and on the next, real prices of a bank in November 2008.
    Case("relative", "9.231", "11.741", False),
    Case("narrower is relative", "100.00", "101.00", True),
    Case("narrower is relative", "100.00", "101.50", False),
    Case("narrower is absolute", "100.00", "100.50", True),
    Case("narrower is absolute", "100.00", "100.90", False),
    Case("digest", {"text": "as read"}, {"text": "as read"}, True),
    Case("digest", {"text": "as read"}, {"text": "another"}, False),
    Case("still true", True, True, True),
    Case("still true", True, False, False, fit=False),
    Case("still true", True, "true", False, fit=False),
    Case("out of reach", 10, 10, True, failures=1),
    Case("out of reach", 10, 10, False, failures=-1),
)


def test_every_tolerance_is_met_within_and_beyond() -> None:
    """The cases leave none out, on neither side."""
    assert {(each.tolerance, each.holds) for each in CASES} == {
        (name, holds) for name in TOLERANCES for holds in (True, False)
    }


class Trial:
    """One agent and its case."""

    def __init__(self, stage: Stage, world: DriftWorld, case: Case) -> None:
        self.stage, self.world, self.case = stage, world, case
        self.agent: WorkflowHandle[Any, Any] = None  # type: ignore[assignment]

    async def start(self) -> None:
        id = f"drift-{uuid.uuid4().hex[:8]}"
        self.world.set(id, self.case.seen)
        self.agent = await self.stage.start(DriftInput(tolerance=self.case.tolerance), "drift", id=id)

    async def planned(self) -> None:
        await eventually(lambda: state_is(self.stage, self.agent, "sleeping"))

    async def asked(self) -> ApprovalRequest:
        await self.agent.signal("wake")
        return await self.stage.asked(self.agent)

    async def approve(self, request: ApprovalRequest) -> Decision:
        decision = await self.stage.decide(self.agent, request)
        assert (await self.stage.fate(self.agent, decision.id)).status == "counted"
        return decision

    def drifts(self) -> None:
        """Now."""
        self.world.set(self.agent.id, self.case.becomes, failures=self.case.failures)

    async def ends_as_it_must(self) -> None:
        """Within the tolerance the order is placed at the new value; outside there is none."""
        result = DriftResult.model_validate(await self.agent.result())
        orders = self.world.orders(self.agent.id)
        if self.case.holds:
            assert (orders, result.drifts) == ([self.case.becomes], []), self.case
        else:
            assert (orders, result.ordered, len(result.drifts)) == ([], None, 1), self.case


@dataclass
class Trials:
    """Every case at once, each with an agent of its own."""

    stage: Stage
    world: DriftWorld
    all: list[Trial]

    async def each(self, do: Callable[[Trial], Awaitable[Any]]) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def at_a_place(trial: Trial) -> None:
            async with places:
                await do(trial)

        await asyncio.gather(*map(at_a_place, self.all))


@pytest.fixture
async def trials(stage: Stage, tmp_path: Path) -> Trials:
    """A stage whose worker runs the agent whose facts drift."""
    await stage.rest()
    world = DriftWorld(tmp_path / "world", stage.authority)
    stage.agents = [DriftAgent]
    stage.objects = lambda: [world, DecisionChecks(stage.authority), Calendars(), stage.notices]  # type: ignore[method-assign]
    await stage.work()
    return Trials(stage, world, [Trial(stage, world, case) for case in CASES])


async def test_a_plan_rests_on_what_is_so_when_it_is_made(trials: Trials) -> None:
    """Before the plan nothing has been seen: the order is at the new value, if a plan can rest on it."""

    async def play(trial: Trial) -> None:
        moved = Case(trial.case.tolerance, trial.case.becomes, trial.case.becomes, trial.case.fit)
        trial.case = moved
        await trial.start()
        await trial.planned()
        await trial.approve(await trial.asked())
        await trial.ends_as_it_must()

    trials.all = [each for each in trials.all if each.case.failures >= 0]
    await trials.each(play)


async def test_drift_between_plan_and_question(trials: Trials) -> None:
    """What people are shown is the plan as it was made; the last look is what counts."""

    async def play(trial: Trial) -> None:
        await trial.start()
        await trial.planned()
        trial.drifts()
        await trial.approve(await trial.asked())
        await trial.ends_as_it_must()

    await trials.each(play)


async def test_drift_while_the_question_is_open(trials: Trials) -> None:
    """People took their time."""

    async def play(trial: Trial) -> None:
        await trial.start()
        await trial.planned()
        request = await trial.asked()
        trial.drifts()
        await trial.approve(request)
        await trial.ends_as_it_must()

    await trials.each(play)


async def test_drift_between_approval_and_validation(trials: Trials) -> None:
    """The agent was paused when the yes came, and the fact moved before it went on."""

    async def play(trial: Trial) -> None:
        await trial.start()
        await trial.planned()
        request = await trial.asked()
        await trial.agent.signal("pause")
        await trial.approve(request)
        trial.drifts()
        await trial.agent.signal("resume")
        await trial.ends_as_it_must()

    await trials.each(play)


async def test_drift_between_validation_and_action(trials: Trials) -> None:
    """The facts held; then no worker took the action within its window, and the facts moved."""
    stage, world = trials.stage, trials.world
    await stage.rest()
    async with stage.workflow_worker():
        async with stage.activity_worker(slots=len(CASES)):
            requests = {}

            async def until_question(trial: Trial) -> None:
                await trial.start()
                await trial.planned()
                requests[trial.agent.id] = await trial.asked()

            await trials.each(until_question)
            assert world.fetched == len(CASES)
            world.hold = asyncio.Event()
            await trials.each(lambda trial: trial.approve(requests[trial.agent.id]))
            await eventually(lambda: world.fetched == 2 * len(CASES))
            asyncio.get_running_loop().call_later(1, world.hold.set)
            # Leaving the block stops taking work at once and lets the fetches under way end.
        for trial in trials.all:
            trial.drifts()

        async def missed(trial: Trial) -> None:
            text = "place_order did not start while the facts were fresh; they are fetched again"
            await eventually(lambda: noted(stage, trial.agent, text))

        await trials.each(missed)
        assert not any(world.orders(trial.agent.id) for trial in trials.all)
        async with stage.activity_worker():
            await trials.each(Trial.ends_as_it_must)


async def test_drift_where_the_worker_is_killed_between_validation_and_action(
    trials: Trials, server: DevServer, settings: Settings
) -> None:
    """SIGKILL hits a process that has validated and been handed the action, and has not begun it."""
    stage, world = trials.stage, trials.world
    requests = {}
    # One within and one beyond each tolerance: no more than the worker has places for.
    trials.all = list({(each.case.tolerance, each.case.holds): each for each in trials.all}.values())

    async def until_question(trial: Trial) -> None:
        await trial.start()
        await trial.planned()
        requests[trial.agent.id] = await trial.asked()

    await trials.each(until_question)
    await stage.rest()
    world.stops_before_acting.touch()
    arguments = [str(settings.data_dir), settings.task_queue, str(trials.world.folder)]
    process = await start_child(
        [sys.executable, "-m", "tests.support.drift.worker", *arguments],
        environment={"PATH": "", "PYTHONPATH": str(ROOT), "TEMPORAL_ADDRESS": server.address},
        log=settings.data_dir / "logs" / "drift-worker.log",
    )
    try:
        await trials.each(lambda trial: stage.decide(trial.agent, requests[trial.agent.id]))
        await eventually(lambda: len(world.stopped()) == len(trials.all))
    finally:
        process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert world.stopped() == {trial.agent.id for trial in trials.all}
    assert not any(world.orders(trial.agent.id) for trial in trials.all)
    for trial in trials.all:
        trial.drifts()
    world.stops_before_acting.unlink()
    await stage.work()
    await trials.each(Trial.ends_as_it_must)
    for trial in trials.all:
        assert any("outcome unknown" in note for note in await stage.notes(trial.agent))

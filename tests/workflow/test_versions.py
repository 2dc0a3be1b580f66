"""Two builds of the workers at once: who ends where, who moves, what holds a build, and the ways back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import DeleteWorkerDeploymentVersionRequest
from temporalio.client import WorkflowHandle
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

import worker
from cli.check_agents import agents_check, builds_check, worker_check
from cli.checks import Check, Health
from cli.dev_server import DevServer
from cli.output import ExitCode
from cli.versions import move, versions
from common.approval.groups import Directory
from common.approval.signed import sign_start
from common.archive.reader import ArchivedAgents
from common.archive.search import AgentSearch
from common.client import builds, moving
from common.client.builds import Build, Builds
from common.client.client import AgentClient
from common.client.diagnosis import Diagnosis
from common.client.errors import AgentClientError, BuildRefusedError
from common.client.filters import AgentFilter
from common.client.moving import Moved, Moves
from common.client.rows import AgentRow, row_of, row_of_info
from common.client.trouble import Cause
from common.client.visibility import AGENTS, quote, rows_of
from common.notices.types import COURIER, Dispatch, Notice, NoticeEvent
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all
from testing.waiting import eventually
from tests.support.agents.agents import ErrandAgent
from tests.support.agents.brief import BriefAgent
from tests.support.agents.brief_input import BriefInput
from tests.support.agents.builds import ChangedBrief, LongErrand
from tests.support.agents.doubles import ErrandInput
from tests.support.limits import QUICK_DELETION, QUICK_ROLLOUTS, QUICK_TASKS
from tests.support.stage import Stage, noted
from workflows.courier import Courier

Agent = WorkflowHandle[Any, Any]
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
async def rollouts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    """A server that soon says what has drained, and soon forgets a poll."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path_factory.mktemp("rollouts"))})
    quick = QUICK_TASKS | QUICK_DELETION | QUICK_ROLLOUTS
    async with DevServer(settings, ui_port=None, limits=quick, scratch=True) as server:
        yield server


class Rollout:
    """Workers of several builds of one deployment, side by side."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stages: dict[str, Stage] = {}

    async def start(
        self, build: str, agents: tuple[type, ...] = (ErrandAgent, LongErrand, BriefAgent)
    ) -> Stage:
        """A worker of a build; of none where that is empty."""
        deployment = self.settings.deployment.but(
            build=build, name=self.settings.deployment.name if build else ""
        )
        client = await connect(self.settings)
        before = self.stages.get(build)
        stage = self.stages[build] = Stage(client, self.settings.but(deployment=deployment))
        stage.agents, stage.handles = [*agents, Courier], before.handles if before else []
        await stage.work()
        return stage

    async def make_current(self, build: str) -> None:
        await self.builds.set_current(build)

    @property
    def stage(self) -> Stage:
        """Any of them, for what has nothing to do with builds."""
        return next(iter(self.stages.values()))

    @property
    def builds(self) -> Builds:
        return Builds(self.stage.client, self.settings)

    @property
    def agents(self) -> AgentClient:
        return AgentClient(self.stage.client, self.settings, self.stage.signer)

    async def build(self, build: str) -> Build:
        """What is known of a build."""
        return next(each for each in (await self.builds.read()).builds if each.build == build)

    async def known(self, build: str, **wanted: Any) -> Build:
        """What is known of a build, once that is so."""

        async def find() -> Build | None:
            found = await self.build(build)
            return found if found.model_dump(include={*wanted}) == wanted else None

        return await eventually(find)

    async def move(self, agent: Agent) -> Moved:
        return await Moves(self.stage.client, self.agents, self.builds).move(agent.id)

    async def row(self, agent: Agent) -> AgentRow:
        """An agent as Temporal knows it."""
        return row_of(await agent.describe())

    async def pinned_to(self, agent: Agent) -> str:
        """The build that an agent is pinned to."""
        name, _, build = (await self.row(agent)).pinned_to.partition(":")
        assert name in ("", self.settings.deployment.name)
        return build

    async def is_pinned(self, agent: Agent, build: str) -> bool:
        return await self.pinned_to(agent) == build

    async def begun(self, build: str, *kinds: str) -> list[Agent]:
        """Agents that wait, pinned to a build; a brief one has no memory."""
        return await asyncio.gather(*(self._begun(kind, build) for kind in kinds))

    async def _begun(self, kind: str, build: str) -> Agent:
        inputs = {
            "errand": ErrandInput(steps=0, sleep=WEEK),
            "long-errand": ErrandInput(steps=3, sleep=WEEK),
            "brief": BriefInput(ending="asks"),
        }
        agent = await self.stage.start(inputs[kind], kind)
        await eventually(lambda: self.rests(agent, build))
        return agent

    async def rests(self, agent: Agent, build: str) -> bool:
        """Whether visibility, too, knows that it does, on that build."""
        rows = await rows_of(self.stage.client, [AGENTS, f"WorkflowId = {quote(agent.id)}"], 1)
        return any(
            row.pinned_to.endswith(build) and row.state in ("sleeping", "awaiting_approval") for row in rows
        )


@pytest.fixture
async def rollout(
    rollouts: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rollout]:
    monkeypatch.setenv("TEMPORAL_ADDRESS", rollouts.address)
    # A busy machine may take longer to confirm a move than people would wait.
    monkeypatch.setattr(moving, "PATIENCE", timedelta(minutes=1))
    open_all(tmp_path / "data")
    found = Rollout(
        Settings.read(
            {
                "HIBERNAUT_DATA_DIR": str(tmp_path / "data"),
                "HIBERNAUT_TASK_QUEUE": f"queue-{tmp_path.name}",
                "TEMPORAL_DEPLOYMENT_NAME": f"deployment-{tmp_path.name}",
            }
        )
    )
    yield found
    for stage in found.stages.values():
        for handle in stage.handles:
            if (await handle.describe()).close_time is None:
                await handle.terminate("the test is over")
        await stage.rest()


async def says(check: Awaitable[Check], text: str) -> bool:
    return (await check).text.startswith(text)


async def is_removable(rollout: Rollout, build: str) -> Build | None:
    found = await rollout.build(build)
    return found if found.removable else None


async def is_gone(rollout: Rollout, build: str) -> bool:
    """Whether a build was taken away; the server sees a worker for a while after its end."""
    with suppress(BuildRefusedError):
        await rollout.builds.remove(build)
        return True
    return False


async def there_are(rollout: Rollout, *builds: str) -> bool:
    return [each.build for each in (await rollout.builds.read()).builds] == [*builds]


async def test_an_old_build_is_left_by_all_and_can_go(
    rollout: Rollout, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pinned agents end on it, new ones begin on the new one, long ones move, then nothing holds it."""
    old = await rollout.start("A")
    await eventually(lambda: says(worker_check(old.client, rollout.settings), "new agents wait: no build"))
    await rollout.make_current("A")
    staying, long, forgetful = await rollout.begun("A", "errand", "long-errand", "brief")
    await rollout.start("B")
    await rollout.make_current("B")
    assert not await says(worker_check(old.client, rollout.settings), "new agents wait")
    [begun] = await rollout.begun("B", "errand")
    # Each wakes, and comes to its next wait: the long one there moves, the other stays.
    for agent in (staying, long):
        await agent.signal("wake")
    request = await old.asked(staying)
    await eventually(lambda: rollout.is_pinned(long, "B"))
    assert await noted(old, long, "woke: signal")
    assert (await old.status(long)).wake_at is not None
    assert await rollout.is_pinned(staying, "A")
    await rollout.known("A", status="draining", drained=False, agents=2, asleep=2, open_end=2)
    wakes = [row.wake_at for row in (await rollout.row(begun), await rollout.row(long)) if row.wake_at]
    assert len(set(wakes)) == 2
    await rollout.known("B", status="current", agents=2, asleep=2, open_end=0, asleep_until=max(wakes))
    capsys.readouterr()
    await worker.say_who_needs(old.client, old.settings)
    need = "2 agents need it (2 asleep, 2 without an end)"
    assert capsys.readouterr().err == f"this worker of build A has ended; {need}\n"
    with pytest.raises(
        BuildRefusedError, match=r"A cannot be taken away: 2 agents need it \(2 asleep, 2 without"
    ):
        await rollout.builds.remove("A")
    # What has no memory goes over with its history, which replays there.
    moved = await rollout.move(forgetful)
    assert (moved.moved, moved.words) == (
        True,
        "went over to build B: it has no memory to start afresh from",
    )
    assert await rollout.is_pinned(forgetful, "B")
    await old.decide(staying, request)
    assert "approved by ann" in (await staying.result())["words"]
    free = await eventually(lambda: is_removable(rollout, "A"))
    assert (free.status, free.drained, free.agents, free.closed) == ("drained", True, 0, 1)
    assert "1 agent that ended on it not archived yet" in free.reason
    await old.rest()
    await eventually(lambda: is_gone(rollout, "A"))
    await eventually(lambda: there_are(rollout, "B"))
    with pytest.raises(AgentClientError, match="there is no build 'A'; there are: B"):
        await rollout.builds.remove("A")
    await old.decide(forgetful, await old.asked(forgetful))
    assert "approved by ann" in await forgetful.result()


async def test_no_build_is_taken_past_the_most(rollout: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers poll in vain and say nothing, so that people are told before, and why a rollout hangs."""
    rollout.settings = rollout.settings.but(deployment=rollout.settings.deployment.but(most=2))
    old = await rollout.start("A")
    await rollout.make_current("A")
    await rollout.begun("A", "brief")
    await rollout.start("B")
    await rollout.make_current("B")
    near = await builds_check(old.client, rollout.settings)
    assert (near.health, near.text.partition(" in ")[0]) == (Health.WARNING, "2 of at most 2")
    await rollout.start("C")
    await eventually(
        lambda: says(builds_check(old.client, rollout.settings), "workers of build C poll in vain")
    )
    monkeypatch.setattr(builds, "ARRIVAL", timedelta())
    with pytest.raises(BuildRefusedError, match=r"'C' not found in .*; it takes none past 2: `starter"):
        await rollout.make_current("C")
    assert (await rollout.build("C")).status == "unknown"


async def test_a_rollback_takes_back_who_moves(rollout: Rollout, capsys: pytest.CaptureFixture[str]) -> None:
    """What began on the bad build goes to the old one that is current again, asleep as it was."""
    old = await rollout.start("A")
    await rollout.make_current("A")
    await rollout.start("B")
    await rollout.make_current("B")
    asleep, forgetful = await rollout.begun("B", "errand", "brief")
    before = (await old.status(asleep)).wake_at
    await rollout.make_current("A")
    [begun] = await rollout.begun("A", "errand")
    capsys.readouterr()
    assert await move(rollout.settings, None, "B", as_json=True) is ExitCode.DONE
    moved = {each["id"]: each["words"] for each in json.loads(capsys.readouterr().out)}
    assert moved == {
        asleep.id: "started afresh on build A",
        forgetful.id: "went over to build A: it has no memory to start afresh from",
    }
    assert await move(rollout.settings, begun.id, None, as_json=False) is ExitCode.DONE
    assert capsys.readouterr().err == f"{begun.id}: on build A already.\n"
    await rollout.known("A", agents=3)
    await rollout.known("B", agents=0)
    await versions(rollout.settings, None, None, unversioned=False, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["current"] == "A"
    assert {each["build"]: (each["agents"], len(each["workers"])) for each in shown["builds"]} == {
        "A": (3, 1),
        "B": (0, 1),
    }
    await versions(rollout.settings, None, None, unversioned=False, as_json=False)
    columns, *rows = capsys.readouterr().out.splitlines()
    assert columns.split()[:4] == ["BUILD", "STATUS", "AGENTS", "ASLEEP"]
    assert "A      current" in "\n".join(rows)
    assert [await rollout.pinned_to(agent) for agent in (asleep, forgetful, begun)] == ["A", "A", "A"]
    assert (await old.status(asleep)).wake_at == before
    await rollout.stages["B"].rest()
    await asleep.signal("wake")
    await old.asked(asleep)


async def troubles(rollout: Rollout) -> dict[str, list[Cause]]:
    """What `find --troubled` names."""
    client = rollout.stage.client
    look = Diagnosis(client, Directory.load(rollout.settings), rollout.settings.task_queue)
    search = AgentSearch(client, ArchivedAgents.open(rollout.settings), look)
    found = await search.find(AgentFilter(troubled=True), datetime.now(UTC))
    return {row.id: [each.cause for each in row.trouble] for row in found.agents if row.pinned_to}


async def are_troubled(rollout: Rollout, expected: dict[str, list[Cause]]) -> bool:
    return await troubles(rollout) == expected


async def has_no_worker(rollout: Rollout, build: str) -> bool:
    return not (await rollout.build(build)).workers


async def forgets(rollout: Rollout, build: str) -> bool:
    """Somebody has the server forget a build that agents need; not while it sees a worker of any kind."""
    version = WorkerDeploymentVersion(rollout.settings.deployment.name, build)._to_proto()
    request = DeleteWorkerDeploymentVersionRequest(
        namespace="default", deployment_version=version, skip_drainage=True, identity="somebody"
    )
    try:
        await rollout.stage.client.workflow_service.delete_worker_deployment_version(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.FAILED_PRECONDITION:
            raise
        return False
    return True


async def test_a_build_that_nobody_polls_is_named(rollout: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    """By all that show agents, with what to do; and what is moved then goes on where it can."""
    old = await rollout.start("A")
    await rollout.make_current("A")
    asleep, forgetful = await rollout.begun("A", "errand", "brief")
    await rollout.start("B", (ErrandAgent, LongErrand, ChangedBrief))
    await rollout.make_current("B")
    [well] = await rollout.begun("B", "errand")
    await eventually(lambda: are_troubled(rollout, {}))
    await old.rest()
    await eventually(lambda: has_no_worker(rollout, "A"))
    expected = {agent.id: [Cause.BUILD_GONE] for agent in (asleep, forgetful)}
    await eventually(lambda: are_troubled(rollout, expected))
    [shown] = (await rollout.agents.view(asleep.id)).trouble
    assert shown.words.startswith("it is pinned to build A, for which no worker polls")
    assert "`starter.py wake --for-upgrade --build A`" in shown.fix
    rows = await rollout.agents.list_agents(AgentFilter())
    await rollout.agents.diagnosis.look(rows, datetime.now(UTC))
    listed = {row.id: [each.cause for each in row.trouble] for row in rows if row.trouble}
    assert listed == expected, well.id
    unwell = await builds_check(old.client, rollout.settings)
    assert unwell.health is Health.NEEDS_FIX
    assert unwell.text.startswith("no worker of build A: 2 agents need it (2 asleep, the last until 20")
    assert (await agents_check(old.client, rollout.settings)).text.startswith("2 in trouble")
    monkeypatch.setattr(builds, "ARRIVAL", timedelta())
    with pytest.raises(BuildRefusedError, match="no worker of build A polls"):
        await rollout.make_current("A")
    await eventually(lambda: forgets(rollout, "A"))
    await rollout.known("A", status="forgotten", agents=2, removable=False)
    await eventually(lambda: are_troubled(rollout, expected))
    # The histories go over as they are: one replays there, the other does not, and is left.
    moved, left = await rollout.move(asleep), await rollout.move(forgetful)
    assert (moved.moved, moved.words) == (True, "went over to build B: no worker of build A polls")
    assert (left.moved, left.words) == (False, "left on build A: its history does not replay on build B")
    await eventually(lambda: are_troubled(rollout, {forgetful.id: [Cause.BUILD_GONE]}))
    await asleep.signal("wake")
    await old.asked(asleep)
    # Its own build is back, and it never noticed.
    await rollout.start("A")
    await old.decide(forgetful, await old.asked(forgetful))
    assert "approved by ann" in await forgetful.result()


async def test_the_way_back_to_unversioned_workers(rollout: Rollout) -> None:
    """No build is current, and who is pinned moves off; what serves agents was never pinned."""
    plain = await rollout.start("")
    [before] = await rollout.begun("", "errand")
    await rollout.start("A")
    await rollout.make_current("A")
    pinned, forgetful = await rollout.begun("A", "errand", "brief")
    # An agent from before goes over by itself, with its next step.
    await before.signal("tell", "hello")
    await eventually(lambda: rollout.is_pinned(before, "A"))
    await rollout.make_current("")
    [begun] = await rollout.begun("", "errand")
    moved = [await rollout.move(agent) for agent in (before, pinned, forgetful, begun)]
    assert [(each.moved, each.words.partition(":")[0]) for each in moved] == [
        (True, "started afresh on unversioned workers"),
        (True, "started afresh on unversioned workers"),
        (True, "went over to unversioned workers"),
        (True, "pinned to no build"),
    ]

    async def nothing_needs_it() -> bool:
        found = await rollout.builds.read()
        return (found.current, found.agents, found.builds[0].agents) == ("", 4, 0)

    await eventually(nothing_needs_it)
    await rollout.stages["A"].rest()
    await plain.decide(forgetful, await plain.asked(forgetful))
    assert "approved by ann" in await forgetful.result()


async def test_what_serves_agents_is_pinned_to_no_build(rollout: Rollout) -> None:
    """A courier outlives builds; on a worker without one it is no different from before."""
    behaviors = []
    for build in ("", "A"):
        stage = await rollout.start(build)
        await rollout.make_current(build) if build else None
        notice = Notice(
            id="1", agent="a", kind="errand", owner="ann", event=NoticeEvent.FINISHED, text="done"
        )
        courier = await stage.client.start_workflow(
            COURIER,
            sign_start(COURIER, Dispatch(notice=notice, places=()), stage.signer),
            id=f"courier-{stage.settings.task_queue}-{build}",
            task_queue=stage.settings.task_queue,
        )
        await courier.result()
        found = (await courier.describe()).raw_info
        assert row_of_info(found).pinned_to == ""
        behaviors.append(int(found.versioning_info.behavior))
    assert behaviors == [VersioningBehavior.UNSPECIFIED, VersioningBehavior.AUTO_UPGRADE]

"""Agents that do not get on: each is found by one query and says why; those that do well are not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from cli.agents import _after_a_moment
from common.agents.states import RunStatus
from common.approval.groups import Directory
from common.approval.types import ApprovalPolicy
from common.archive.reader import ArchivedAgents
from common.archive.search import AgentSearch, FoundAgent
from common.client import diagnosis, limits, pollers
from common.client.client import AgentClient
from common.client.diagnosis import Diagnosis
from common.client.filters import AgentFilter
from common.client.trouble import Cause
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.brief import BriefAgent
from tests.support.agents.brief_input import BriefInput
from tests.support.agents.doubles import ErrandInput
from tests.support.agents.troubled import TroubledAgent
from tests.support.stage import OWNER, Stage, state_is


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """A stage whose agents get into trouble, so that there is nothing to replay."""
    stage = Stage(await connect(settings), settings)
    stage.agents += [BriefAgent, TroubledAgent]
    async with stage.at_work(replays=False):
        yield stage


async def troubled(stage: Stage) -> dict[str, list[FoundAgent]]:
    """What the query finds of this stage's agents, by cause."""
    look = Diagnosis(stage.client, Directory.load(stage.settings), stage.settings.task_queue)
    search = AgentSearch(stage.client, ArchivedAgents.open(stage.settings), look)
    found = await search.find(AgentFilter(troubled=True, owner=OWNER), datetime.now(UTC))
    ours = [row for row in found.agents if row.id in {each.id for each in stage.handles}]
    causes = {each.cause for row in ours for each in row.trouble}
    return {cause: [row for row in ours if cause in {each.cause for each in row.trouble}] for cause in causes}


async def have_trouble(stage: Stage, causes: set[Cause]) -> dict[str, list[FoundAgent]] | None:
    found = await troubled(stage)
    return found if set(found) >= causes else None


async def are_in_trouble(stage: Stage, expected: dict[Cause, set[str]]) -> bool:
    """Whether these are found, and no other."""
    return {cause: {row.id for row in rows} for cause, rows in (await troubled(stage)).items()} == expected


async def test_each_kind_of_trouble_is_found_and_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cause, words for a person, and what to do; by `show`, by lists, and by the query."""
    monkeypatch.setattr(diagnosis, "UNSERVED_AFTER", timedelta(seconds=1))
    stage.world.step_fails = 10**6
    nobody = ApprovalPolicy(approvers=("@nobody",))
    stage.world.step_text = "no route"
    agents = {
        Cause.TASK_FAILS: await stage.start(BriefInput(say="bug"), "troubled"),
        Cause.UNKNOWN_KIND: await stage.start(BriefInput(), "no-such-kind"),
        Cause.UNKNOWN_ACTIVITY: await stage.start(BriefInput(say="unknown activity"), "troubled"),
        Cause.NO_WORKER: await stage.start(BriefInput(say="elsewhere"), "troubled"),
        Cause.ACTIVITY_FAILS: await stage.start(ErrandInput()),
        Cause.WAITS_FOR_NOBODY: await stage.start(ErrandInput(steps=0, policy=nobody)),
    }
    endless = await stage.start(BriefInput(ending="sleeps"), "brief")
    fine = [
        await stage.start(BriefInput(ending="asks"), "brief"),
        await stage.start(ErrandInput(steps=0, sleep=timedelta(days=9))),
    ]
    expected = {cause: {agent.id} for cause, agent in agents.items()}
    expected[Cause.WAITS_FOR_NOBODY].add(endless.id)
    await eventually(lambda: are_in_trouble(stage, expected))
    door = AgentClient(stage.client, stage.settings, stage.signer)
    words = {
        Cause.TASK_FAILS: r"its workflow task fails \(attempt .*\): KeyError: 'a typo' \(tests/.*\.py:\d+\)",
        Cause.UNKNOWN_KIND: r"no worker has the kind no-such-kind \(attempt .*",
        Cause.UNKNOWN_ACTIVITY: r"no worker has the activity no-such: attempt .*",
        Cause.NO_WORKER: r".*no worker polls nobody's",
        Cause.ACTIVITY_FAILS: r"step: attempt .*next try at 20.*",
        Cause.WAITS_FOR_NOBODY: r".*of @nobody nobody can decide",
    }
    for cause, agent in agents.items():

        async def shown(agent: WorkflowHandle[Any, Any] = agent, cause: Cause = cause) -> bool:
            """At other moments the next try is under way, or a task has run out of time for once."""
            [trouble] = (await door.view(agent.id)).trouble
            assert trouble.cause is cause
            assert trouble.fix
            return bool(re.fullmatch(words[cause], trouble.words, re.DOTALL))

        await eventually(shown)
    ours = {each.id for each in stage.handles}
    rows = [row for row in await door.list_agents(AgentFilter(owner=OWNER), 1000) if row.id in ours]
    await door.diagnosis.look(rows, datetime.now(UTC), patience=timedelta(minutes=1))
    listed = {row.id: {each.cause for each in row.trouble} for row in rows}
    assert {cause for agent in agents.values() for cause in listed[agent.id]} == set(agents)
    assert all(not listed[agent.id] for agent in fine)


async def test_whoever_starts_or_tests_an_agent_whose_code_fails_is_told(stage: Stage) -> None:
    """Within moments, with the line that fails, and not by waiting in vain."""
    agent = await stage.start(BriefInput(say="bug"), "troubled")
    door = AgentClient(stage.client, stage.settings, stage.signer)
    fails = r"its workflow task fails .*KeyError: 'a typo' \(tests/.*\.py:\d+\)"

    async def told() -> str:
        """Each task that a busy machine runs out of time for is a try that says nothing."""
        ending, missing, trouble = await _after_a_moment(door, agent.id)
        assert (ending.status, missing) == (RunStatus.RUNNING, "")
        return trouble[0].words if trouble else ""

    async def told_why() -> bool:
        return bool(re.fullmatch(fails, await told()))

    await eventually(told_why)
    with pytest.raises(AssertionError, match=f"{agent.id}: {fails}; fix its code"):
        await stage.status(agent)


async def is_well(stage: Stage, agent: WorkflowHandle[Any, Any]) -> bool:
    door = AgentClient(stage.client, stage.settings, stage.signer)
    return not (await door.view(agent.id)).trouble


async def test_what_is_mended_is_no_trouble_any_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group gets a member, a worker comes back: nothing else has to be done."""
    monkeypatch.setattr(diagnosis, "UNSERVED_AFTER", timedelta(seconds=1))
    monkeypatch.setattr(pollers, "POLLED_WITHIN", timedelta(seconds=2))
    asking = await stage.start(ErrandInput(steps=0, policy=ApprovalPolicy(approvers=("@treasury",))))
    await eventually(lambda: have_trouble(stage, {Cause.WAITS_FOR_NOBODY}))
    (stage.settings.data_dir / "groups.json").write_text('{"treasury": ["ann"]}')
    await eventually(lambda: is_well(stage, asking))
    await stage.rest()
    await asking.signal("tell", "hello")
    await eventually(lambda: are_in_trouble(stage, {Cause.NO_WORKER: {asking.id}}))
    await stage.work()
    await eventually(lambda: is_well(stage, asking))


async def test_a_long_history_is_named_before_it_is_too_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an agent that sleeps, too, which visibility knows nothing about."""
    agent = await stage.start(ErrandInput(steps=0, sleep=timedelta(days=9)))
    await eventually(lambda: state_is(stage, agent, "sleeping"))
    await asyncio.gather(*(agent.signal("tell", f"word {number}") for number in range(30)))
    monkeypatch.setattr(limits, "MAX_EVENTS", 30)

    async def asleep() -> list[FoundAgent]:
        found = (await troubled(stage)).get(Cause.LONG_HISTORY, [])
        return [row for row in found if row.state == "sleeping"]

    [row] = await eventually(asleep)
    assert row.id == agent.id
    [trouble] = row.trouble
    assert "events in 0.0 MB" in trouble.words

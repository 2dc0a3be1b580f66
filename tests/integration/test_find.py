"""`find` over agents of known fates, half of them archived: it finds those that fit and no others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import Notebook
from common.agents.states import RunStatus
from common.archive.search import FoundAgent
from common.client.client import AgentClient
from common.client.filters import AgentFilter
from common.grammar import parse_moment
from common.temporal.search_attributes import STUCK_AT
from testing.stage import answer_of
from testing.waiting import eventually
from tests.support.agents.brief import BriefAgent
from tests.support.agents.brief_input import BriefInput
from tests.support.archive.stage import ArchiveStage, archive_stage
from tests.support.desk import Desk
from tests.support.seeds import seed

pytestmark = pytest.mark.seeded
COUNT = 48
DAYS = 5
AT_ONCE = 12
STEP = timedelta(hours=1)


@dataclass(frozen=True)
class Fate:
    """What is known of an agent: the day it came to its node, whether it got stuck there, how it ended.

    A skip of time may overshoot, so the days are those that the agent itself noted when they were there.
    """

    id: str
    owner: str
    node: str
    day: date
    stuck: bool
    ending: str
    word: str
    archived: bool
    closed: datetime | None = None

    @property
    def status(self) -> RunStatus:
        return {"done": RunStatus.COMPLETED, "fails": RunStatus.FAILED, "sleeps": RunStatus.RUNNING}[
            self.ending
        ]


@dataclass
class World:
    """A server on which time has passed, and what is known of its agents."""

    stage: ArchiveStage
    fates: list[Fate]
    now: datetime

    async def found(self, **query: object) -> list[FoundAgent]:
        search = self.stage.search
        for _ in range(3):
            findings = await search.find(AgentFilter(**query), self.now)  # type: ignore[arg-type]
            if not findings.gaps:
                return findings.agents
        # A busy worker may have answered late, and the search said so; not again and again.
        raise AssertionError(findings.gaps)

    def at(self, words: str) -> datetime:
        return parse_moment(words, self.now, ZoneInfo("UTC"))


async def live_through(stage: ArchiveStage, fate: Fate, noon: datetime) -> Fate:
    """Start the agent and let its days pass; what is known of it then."""
    client: Client = stage.skipper.client
    agents = AgentClient(client, stage.settings, stage.signer)
    after = noon - datetime.now(UTC)
    input = BriefInput(
        say=f"the word is {fate.word}",
        after=after,
        node=fate.node,
        stuck_for=STEP if fate.stuck else None,
        ending=fate.ending,
    )
    await agents.start("brief", input, id=fate.id, owner=fate.owner)
    handle = stage.client.get_workflow_handle(fate.id)
    # Not before it sleeps: its days would pass before they began.
    await came_to(handle, lambda event: event.event_type == EventType.EVENT_TYPE_TIMER_STARTED)
    await skip(stage, handle, after + timedelta(minutes=20))
    if fate.stuck:
        # In steps shorter than the call: a leap over its end would find it through before it counts as stuck.
        for _ in range(3):
            with suppress(TimeoutError):
                await came_to(handle, says_stuck, 2)
                break
            await skip(stage, handle, timedelta(minutes=10))
        await came_to(handle, says_stuck)
        await skip(stage, handle, STEP)
    if fate.ending == "sleeps":
        await eventually(lambda: is_at_its_end(stage, fate.id))
    else:
        with suppress(WorkflowFailureError):
            await handle.result()
    notebook = await answer_of(handle, "notebook", Notebook)
    begins = "stuck: " if fate.stuck else "says "
    [noted] = [entry.at for entry in notebook.entries if entry.text.startswith(begins)]
    return replace(fate, day=noted.date(), closed=(await handle.describe()).close_time)


async def skip(stage: ArchiveStage, handle: WorkflowHandle[Any, Any], time: timedelta) -> None:
    """Let its time pass; a skip before may have overshot, to its very end."""
    try:
        await stage.skipper.fast_forward(handle, time)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def came_to(
    handle: WorkflowHandle[Any, Any], fits: Callable[[HistoryEvent], bool], seconds: float = 120
) -> None:
    """Wait for an event without asking again and again: hundreds of agents live at a time."""
    async with asyncio.timeout(seconds):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if fits(event):
                return
    raise AssertionError(f"{handle.id} has ended")


def says_stuck(event: HistoryEvent) -> bool:
    upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes
    return STUCK_AT.name in upserted.indexed_fields


async def is_at_its_end(stage: ArchiveStage, id: str) -> bool:
    found = await stage.attributes(stage.client.get_workflow_handle(id))
    return found.get("AgentNode") == "end" and found.get("AgentState") == "sleeping"


def fates(chance: random.Random, today: date) -> list[Fate]:
    made = []
    for number in range(COUNT):
        archived = number % 2 == 0
        # Whatever is drawn, one in each half gets stuck at the Login node on a late day.
        certain = number < 2
        made.append(
            Fate(
                id=f"agent-{number:03}",
                owner=chance.choice(["ann", "bob"]),
                node="Login" if certain else chance.choice(["Login", "Checkout", "Login2"]),
                day=today + timedelta(days=DAYS - 1 if certain else 1 + chance.randrange(DAYS)),
                stuck=certain or chance.random() < 0.5,
                ending=chance.choice(["done", "fails"] if archived else ["done", "fails", "sleeps"]),
                word=chance.choice(["heron", "Curlew", "o'stilt%_"]),
                archived=archived,
            )
        )
    return made


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    today = datetime.now(UTC).date()
    planned, known = fates(random.Random(seed("FIND_SEED")), today), list[Fate]()
    with pytest.MonkeyPatch.context() as patch:
        async with archive_stage(tmp_path_factory.mktemp("find"), patch) as stage:
            stage.agents.append(BriefAgent)
            await stage.rest()
            await stage.work()
            for archived in (True, False):
                known += await _live(stage, [fate for fate in planned if fate.archived is archived])
                if archived:
                    # By their own clocks they closed in days to come.
                    report = await stage.archive(-timedelta(days=30))
                    assert (report.archived, report.passed_over) == (COUNT // 2, {})
            # The evening after the last day on which one got stuck at the Login node.
            yesterday = max(fate.day for fate in known if fate.stuck and fate.node == "Login")
            now = datetime.combine(yesterday + timedelta(days=1), time(20), UTC)
            yield World(stage, known, now)


async def _live(stage: ArchiveStage, some: list[Fate]) -> list[Fate]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def live(fate: Fate) -> Fate:
        async with slots:
            return await live_through(stage, fate, datetime.combine(fate.day, time(12), UTC))

    lived = list(await asyncio.gather(*map(live, some)))

    async def all_seen() -> bool:
        query = "AgentOwner IS NOT NULL AND (CloseTime IS NOT NULL OR AgentNode = 'end')"
        return {fate.id for fate in some} <= {each.id async for each in stage.client.list_workflows(query)}

    await eventually(all_seen)
    return lived


def ids(rows: list[FoundAgent]) -> list[str]:
    return sorted(row.id for row in rows)


async def test_all_that_got_stuck_at_the_login_node_yesterday(world: World) -> None:
    """Precision and recall are both 1, and an agent that went on since is found."""
    yesterday = (world.now - timedelta(days=1)).date()
    expected = sorted(
        fate.id for fate in world.fates if fate.stuck and fate.node == "Login" and fate.day == yesterday
    )
    found = await world.found(node="Login", stuck=True, since=world.at("yesterday"), until=world.at("today"))
    assert expected
    assert ids(found) == expected
    assert {row.archived for row in found} == {True, False}
    assert all(row.state != "stuck" for row in found)


@pytest.mark.parametrize("back", range(DAYS))
async def test_any_node_and_any_days(world: World, back: int) -> None:
    """Whatever the node and from whichever day on, in both halves and in either alone."""
    since = datetime.combine((world.now - timedelta(days=back)).date(), time(), UTC)
    for node in ("Login", "Login2", "Checkout", None):
        expected = [
            fate
            for fate in world.fates
            if fate.stuck and node in (None, fate.node) and since.date() <= fate.day <= world.now.date()
        ]
        for where in (None, "live", "archived"):
            found = await world.found(node=node, stuck=True, since=since, where=where)
            assert ids(found) == sorted(
                fate.id for fate in expected if where in (None, "archived" if fate.archived else "live")
            ), (node, where)


async def test_owner_status_kind_and_text(world: World) -> None:
    """Each alone and together; words are found in any case, and are no pattern."""
    for owner in ("ann", "bob", "nobody"):
        expected = sorted(fate.id for fate in world.fates if fate.owner == owner)
        assert ids(await world.found(owner=owner)) == expected
        assert ids(await world.found(owner=owner, kind="brief")) == expected
        assert ids(await world.found(owner=owner, kind="other")) == []
    for status in RunStatus:
        expected = sorted(fate.id for fate in world.fates if fate.status is status)
        assert ids(await world.found(status=status)) == expected
    for words in ("word is HERON", "o'stilt%_", "o%stilt"):
        expected = sorted(
            fate.id for fate in world.fates if words.casefold() in f"the word is {fate.word}".casefold()
        )
        assert ids(await world.found(text=words)) == expected, words
    stuck = await world.found(stuck=True)
    assert ids(stuck) == sorted(fate.id for fate in world.fates if fate.stuck)


async def test_who_lived_when(world: World) -> None:
    """All began today and lived until the day they came to their node, or live still."""
    morning = datetime.combine(world.now.date() - timedelta(days=2), time(1), UTC)
    expected = sorted(fate.id for fate in world.fates if fate.closed is None or fate.closed >= morning)
    assert ids(await world.found(since=morning)) == expected
    assert ids(await world.found(since=morning, until=world.now)) == expected
    assert await world.found(until=datetime.now(UTC) - timedelta(days=1)) == []


async def test_the_newest_few_are_those_of_the_whole(world: World) -> None:
    """A limit cuts the one list that both halves make."""
    whole = await world.found(stuck=True)
    search = world.stage.search
    for limit in (1, 10, COUNT // 2, COUNT - 5):
        few = await search.find(AgentFilter(stuck=True), world.now, limit)
        assert [row.id for row in few.agents] == [row.id for row in whole][:limit]


async def test_the_command_line_says_the_same(world: World) -> None:
    """One document, rows with commas, a count; what cannot be is one line and a code."""
    desk = Desk(world.stage.settings, world.stage.client.service_client.config.target_host)
    desk.environment["HIBERNAUT_PAYLOAD_KEYS"] = world.stage.settings.state.payload_keys
    expected = sorted(fate.id for fate in world.fates if fate.stuck and fate.node == "Login")
    asked = ("find", "--node", "Login", "--stuck")
    ran = await desk.run(*asked, "--json")
    assert sorted(each["id"] for each in ran.json) == expected
    assert (await desk.run(*asked, "--count")).out == f"{len(expected)}\n"
    rows = (await desk.run(*asked, "--csv", "--archived")).out.splitlines()
    assert rows[0].startswith("id,kind,owner,")
    assert rows[0].endswith(",trouble,about")
    assert len(rows) == 1 + sum(fate.archived for fate in world.fates if fate.id in expected)
    assert (await desk.run(*asked, "--since", "someday")).code == 2
    assert (await desk.run("find", "--owner", "x' OR '1'='1")).code == 2
    archived = next(fate for fate in world.fates if fate.archived and fate.status is RunStatus.COMPLETED)
    shown = await desk.run("show", archived.id, "--json")
    assert (shown.code, shown.json["result"]) == (0, f"the word is {archived.word}")
    assert "was archived" in shown.err
    assert (await desk.run("archive", "show", archived.id, "--json")).json == shown.json
    assert (await desk.run("result", archived.id)).json == shown.json["result"]
    assert (await desk.run("start", "code-auditor", "--set", "path=/x", "--id", archived.id)).code == 2
    for process in desk.spawned:
        await process.wait()

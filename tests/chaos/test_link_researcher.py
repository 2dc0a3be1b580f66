"""The link researcher with real processes: a host asks for patience, and every worker dies meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.agents.researcher import ResearcherInput, ResearchResult
from common.agents.states import RunStatus
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.client.view import AgentView
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.stack import Stack
from tests.support.web import Route, WebServer

TOPIC = "the tides of five harbours"
HARBOURS = ("north", "south", "east", "west", "old")
PATHS = [f"/{name}" for name in HARBOURS]
WAIT = 30  # seconds that a host asks for


def harbour(name: str) -> Route:
    text = f"The tides of the {name} harbour rise twice a day and fall twice a day, the {name} pilots say. "
    text += f"Ships enter the {name} harbour when its tides are high."
    return Route(f"<html><title>The {name} harbour</title><body><main><p>{text}</p></main></body></html>")


@pytest.fixture
def site() -> Iterator[WebServer]:
    """Five harbours, listed in the order of `PATHS`."""
    with WebServer({path: harbour(path[1:]) for path in PATHS}, "127.0.0.2") as site:
        links = "".join(f'<p><a href="{path}">The tides of a harbour</a></p>' for path in PATHS)
        site.routes["/"] = Route(f"<html><body>{links}</body></html>")
        os.environ["HIBERNAUT_ALLOWED_HOSTS"] = site.host
        os.environ["HIBERNAUT_FETCH_RATE"] = "5"
        yield site


async def told_to_wait(stack: Stack, id: str) -> bool:
    """Whether Temporal has been told when to come back, so that nothing but Temporal holds the wait."""
    client = await connect(stack.settings)
    pending = (await client.get_workflow_handle(id).describe()).raw_description.pending_activities
    return any("SiteBusy" in each.last_failure.application_failure_info.type for each in pending)


async def asking(agents: AgentClient, id: str) -> AgentView | None:
    view = await agents.view(id)
    return view if view.approval else None


async def view_without_worker(stack: Stack, agents: AgentClient, id: str) -> AgentView:
    """What the agent shows once a worker is there again: a notebook is asked of the workflow itself."""
    await stack.start_worker()

    async def find() -> AgentView | None:
        view = await agents.view(id)
        return view if view.notebook else None

    return await eventually(find)


async def ended(agents: AgentClient, id: str) -> bool:
    view = await agents.view(id)
    assert view.running or view.status is RunStatus.COMPLETED, view.failure
    return not view.running


async def test_a_wait_that_a_host_asked_for_outlives_every_worker(tmp_path: Path, site: WebServer) -> None:
    """Five links saved; at the third, 429: all workers die in the wait; a new one goes on with link three."""
    site.routes[PATHS[2]] = Route(
        "busy", status=429, headers={"Retry-After": str(WAIT)}, times=1, then=harbour(PATHS[2][1:])
    )
    reports = tmp_path / "reports"
    reports.mkdir()
    input = ResearcherInput(topic=TOPIC, sites=[site.url()], links=5, publish=str(reports))
    async with Stack(tmp_path / "data") as stack:
        agents = await stack.agents()
        id = await agents.start("link-researcher", input, owner="local")
        await eventually(lambda: told_to_wait(stack, id))
        await stack.kill_worker()
        before = site.paths()
        assert [path for path in before if path in PATHS] == PATHS[:3], "the third link was refused"

        await asyncio.sleep(2)
        assert site.paths() == before, "nothing is alive that could fetch"
        notes = [line.text for line in (await view_without_worker(stack, agents, id)).notebook]
        saved = [note.rpartition("/")[2] for note in notes if note.startswith("link ")]
        assert saved == list(HARBOURS), "five links were saved"

        view = await eventually(lambda: asking(agents, id), 120 + WAIT)
        after = site.hits()[len(before) :]
        paths = [hit.path for hit in after]
        assert paths == PATHS[2:], "link three, then the rest; none of the first two again"
        refused, _ = site.hits(PATHS[2])
        assert min(hit.at for hit in after) - refused.at >= WAIT

        assert view.approval is not None
        assert len(view.approval.plan["sources"]) == 5
        await agents.decide(id, Verdict.APPROVE, by="local", through="cli")
        await eventually(lambda: ended(agents, id), 120)
        result = ResearchResult.model_validate((await agents.view(id)).result)
        assert sorted(result.places) == sorted(str(file) for file in reports.iterdir())
        assert Counter(site.paths())[PATHS[0]] == 2, "once to read, once to validate"

"""The gateway and agents that Temporal does not know any more: shown, followed, and their ids refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.service import RPCError

from common.agents.auditor import AuditInput
from common.agents.states import RunStatus
from common.client.client import AgentClient
from common.client.errors import AgentExistsError
from common.client.filters import AgentFilter
from common.client.tokens import Scope, TokenFile
from common.settings import Settings
from gateway.app import build
from gateway.services import Gateway, open_gateway
from testing.waiting import eventually
from tests.support.archive.stage import ArchiveStage, archive_stage, closed
from tests.support.desk import Desk, StandIn
from tests.support.gateway.world import bearer, session, without_date
from tests.support.serving import Serving


class ArchiveWorld:
    """A gateway over a stage that archives; `http` is a client of it."""

    def __init__(self, stage: ArchiveStage, http: httpx.AsyncClient, gateway: Gateway) -> None:
        self.stage, self.http, self.gateway = stage, http, gateway

    def forget(self, id: str) -> None:
        """What was read a moment ago is read again."""
        self.gateway.forget(id)

    async def start(self, key: str, who: str = "owner", **body: Any) -> httpx.Response:
        return await self.http.post(
            "/agents/code-auditor",
            headers={**bearer(who), "Idempotency-Key": key},
            json={"path": "/x/ends", **body},
        )

    async def ended(self, key: str) -> str:
        """An agent of `owner` that has come to its end."""
        answer = await self.start(key)
        assert answer.status_code == 202, answer.text
        id: str = answer.json()["id"]
        await eventually(lambda: closed(self.stage.client.get_workflow_handle(id)))
        return id

    async def archive(self, *ids: str) -> None:
        """Move everything that has ended out of Temporal, these among it."""
        await self.stage.archive()
        for id in ids:
            assert await self.stage.archived.find(id)
            with pytest.raises(RPCError, match="not found"):
                await self.stage.client.get_workflow_handle(id).describe()

    async def get(self, path: str, who: str = "owner", **headers: str) -> httpx.Response:
        return await self.http.get(path, headers={**bearer(who), **headers})


@asynccontextmanager
async def served(stage: ArchiveStage, settings: Settings) -> AsyncIterator[ArchiveWorld]:
    outward = httpx.AsyncClient()  # closed by the application
    gateway = await open_gateway(settings, outward)
    async with (
        Serving(build(gateway, outward)) as serving,
        httpx.AsyncClient(base_url=serving.address, timeout=60) as http,
    ):
        yield ArchiveWorld(stage, http, gateway)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ArchiveWorld]:
    with pytest.MonkeyPatch.context() as patch:
        async with archive_stage(tmp_path_factory.mktemp("gateway"), patch) as stage:
            stage.agents.append(StandIn)
            await stage.rest()
            await stage.work()
            tokens = TokenFile.of(stage.settings)
            for who in ("owner", "stranger"):
                tokens.add(who, [Scope.READ, Scope.WRITE, Scope.DECIDE], who)
            tokens.add("operator", [Scope.OPERATOR], "operator")
            async with served(stage, stage.settings) as world:
                yield world


async def test_an_archived_agent_is_shown_as_it_was_to_whom_it_was(world: ArchiveWorld) -> None:
    """Byte for byte, with its events and its page; for a stranger it is not there, as it never was."""
    id = await world.ended("shown")
    before = await world.get(f"/agents/{id}")
    followed = await world.get(f"/agents/{id}/events")
    assert (before.status_code, before.json()["live"]) == (200, True)
    await world.archive(id)

    for who in ("owner", "operator"):
        after = await world.get(f"/agents/{id}", who)
        assert (after.status_code, after.content) == (200, before.content)
        assert "Retry-After" not in after.headers
        again = await world.get(f"/agents/{id}", who, **{"If-None-Match": after.headers["ETag"]})
        assert again.status_code == 304
        events = await world.get(f"/agents/{id}/events", who)
        assert (events.status_code, events.text) == (200, followed.text)
        last = [line[4:] for line in events.text.splitlines() if line.startswith("id: ")][-1]
        over = await world.get(f"/agents/{id}/events", who, **{"Last-Event-ID": last})
        assert over.status_code == 204

    for query in ("kind=code-auditor&where=archived&owner=owner", "where=archived"):
        listed = await world.get(f"/agents?{query}")
        assert [(row["id"], row["archived"]) for row in listed.json()] == [(id, True)]
        assert (await world.get(f"/agents?{query}", "stranger")).json() == []
    for path in ("/agents/{}", "/agents/{}/events"):
        theirs = await world.get(path.format(id), "stranger")
        missing = await world.get(path.format("no-such-agent"), "stranger")
        assert theirs.status_code == 404
        assert (theirs.content, without_date(theirs)) == (missing.content, without_date(missing))
    for who, status in (("owner", 200), ("stranger", 404)):
        cookie, _ = await session(world.http, who)
        page = await world.http.get(f"/ui/agents/{id}", headers={"Cookie": cookie})
        assert page.status_code == status
        assert (
            (status == 200) == ("Archived; this is how it was in the end." in page.text) == (id in page.text)
        )
        assert "Steer it" not in page.text
        assert "looked at" in page.text or status == 404


async def test_nothing_is_asked_of_an_archived_agent(world: ArchiveWorld) -> None:
    """409 to whom it belongs, 404 to others, as with one that has only ended."""
    archived = await world.ended("asked")
    await world.archive(archived)
    ended = await world.ended("only ended")
    bodies: dict[str, Any] = {"tell": {"text": "x"}, "decisions": {"verdict": "approve", "digest": "0"}}
    for what in ("tell", "pause", "resume", "wake", "cancel", "decisions"):
        answers = {
            (who, id): await world.http.post(
                f"/agents/{id}/{what}", headers=bearer(who), json=bodies.get(what)
            )
            for who in ("owner", "stranger")
            for id in (archived, ended)
        }
        for (who, id), answer in answers.items():
            assert answer.status_code == (409 if who == "owner" else 404), (what, who, id, answer.text)


async def test_the_id_of_an_archived_agent_is_refused_at_both_doors(world: ArchiveWorld) -> None:
    """The key that started it starts no other one, whatever the body; until then it is the one start."""
    id = await world.ended("refused")
    repeated = await world.start("refused")
    assert (repeated.status_code, repeated.json()["id"]) == (202, id)
    await world.archive(id)

    for body in ({}, {"path": "/x/other"}):
        answer = await world.start("refused", **body)
        assert answer.status_code == 409, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert (
            answer.json()["detail"]
            == f"This Idempotency-Key started {id}, which is archived since; use another."
        )
    agents = AgentClient(world.stage.client, world.stage.settings, world.stage.signer)

    async def is_gone() -> bool:
        return id not in [row.id for row in await agents.list_agents(AgentFilter(owner="owner"))]

    await eventually(is_gone)
    desk = Desk(world.stage.settings, world.stage.client.service_client.config.target_host)
    desk.environment["HIBERNAUT_PAYLOAD_KEYS"] = world.stage.settings.state.payload_keys
    ran = await desk.run("start", "code-auditor", "--set", "path=/x/ends", "--id", id)
    assert (ran.code, ran.err) == (
        2,
        f"error: there was an agent with the id {id}, archived since; choose another.\n",
    )
    # Somebody else's key of the same name is another one's.
    assert (await world.start("refused", "stranger")).status_code == 202

    # In both, as a kill between copying and deleting leaves it: then Temporal decides.
    await agents.start("code-auditor", AuditInput(path="/x/ends"), id=id, owner="owner")
    await world.stage.archived.refuse(agents, id)
    with pytest.raises(AgentExistsError, match="running or ended"):
        await agents.start("code-auditor", AuditInput(path="/x/ends"), id=id, owner="owner")


async def test_one_that_no_worker_answered_for_ends_its_stream(world: ArchiveWorld) -> None:
    """Nobody will answer any more, so nothing is waited for."""
    id = await world.ended("silent")
    world.stage.agents.remove(StandIn)
    await world.stage.rest()
    await world.stage.work()
    try:
        await world.archive(id)
    finally:
        world.stage.agents.append(StandIn)
        await world.stage.rest()
        await world.stage.work()
    shown = await world.get(f"/agents/{id}")
    assert (shown.json()["live"], shown.json()["status"]) == (False, RunStatus.COMPLETED)
    events = await world.get(f"/agents/{id}/events")
    assert events.text.count("event: state") == 1
    cookie, _ = await session(world.http, "owner")
    page = await world.http.get(f"/ui/agents/{id}", headers={"Cookie": cookie})
    assert re.search(r'<p id="silent"[^>]* hidden>', page.text)


async def test_a_damaged_archive_is_told_to_operators_alone(world: ArchiveWorld) -> None:
    """Whose it was may not be readable either, so for everybody else it is not there."""
    id = await world.ended("damaged")
    await world.archive(id)
    objects = world.stage.settings.data_dir / "objects" / "archive"
    for pattern in ("*.view", "record.json"):
        [file] = [path for path in objects.rglob(pattern) if id in path.parts]
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        world.forget(id)
        for who, status in (("operator", 500), ("owner", 404), ("stranger", 404)):
            answer = await world.get(f"/agents/{id}", who)
            assert answer.status_code == status, answer.text
            assert ("archive verify" in answer.text) == (who == "operator")
        file.write_bytes(whole)
        world.forget(id)
        assert (await world.get(f"/agents/{id}")).status_code == 200


async def test_an_archive_that_is_away_is_said(world: ArchiveWorld) -> None:
    """What Temporal knows is shown; whether anything else was there, or an id is free, is not guessed."""
    runs = (await world.start("runs", path="/x/sleeps")).json()["id"]
    settings = world.stage.settings
    state = settings.state.but(s3_bucket="none", s3_endpoint="http://127.0.0.1:1", s3_region="us-east-1")
    async with served(world.stage, settings.but(state=state)) as cut_off:
        assert (await cut_off.get(f"/agents/{runs}")).status_code == 200
        for answer in (await cut_off.get("/agents/no-such-agent"), await cut_off.start("away")):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), answer.text
            assert answer.json()["detail"] == "The object store cannot be reached just now."
        keyless = await cut_off.http.post(
            "/agents/code-auditor", headers=bearer("owner"), json={"path": "/x/ends"}
        )
        assert keyless.status_code == 202

"""Temporal on PostgreSQL while the database or one of the server's roles is away."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest
from temporalio.api.enums.v1 import EventType

from cli.cluster.cluster import Cluster
from tests.support.agents.doubles import ErrandInput
from tests.support.seeds import seed
from tests.support.stage import Stage

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

OUTAGE = 30
SIGNALS, SENDERS, KILLS = 300, 20, 3


async def test_a_decision_while_the_database_is_gone_for_30_s_counts_once_it_is_back(
    stage: Stage, server: Cluster
) -> None:
    """Those who asked before and those who are decided meanwhile act, once each; nobody repairs anything."""
    agents = [await stage.start(ErrandInput(steps=2)) for _ in range(10)]
    requests = [await stage.asked(agent) for agent in agents]
    async with server.outage("PostgreSQL"):
        deciding = [
            asyncio.create_task(stage.decide(agent, request))
            for agent, request in zip(agents, requests, strict=True)
        ]
        await asyncio.sleep(OUTAGE)
        assert not any(task.done() for task in deciding), "nothing is acknowledged that is not stored"
    await asyncio.gather(*deciding)
    keys = {(await agent.result())["confirmation"]["key"] for agent in agents}
    assert len(keys) == len(agents)
    assert keys == set(stage.world.acted)


@pytest.mark.parametrize("role", ["history", "matching", "frontend", "worker"])
async def test_each_role_is_killed_while_agents_are_at_work(stage: Stage, server: Cluster, role: str) -> None:
    """It is started again, and the agents go on."""
    agents = [await stage.start(ErrandInput(steps=3)) for _ in range(5)]
    async with server.outage(f"Temporal's {role}"):
        await asyncio.sleep(2)
    for agent in agents:
        await stage.decide(agent, await stage.asked(agent))
        await agent.result()
    assert len(stage.world.acted) >= len(agents)


async def test_what_was_acknowledged_survives_a_database_killed_in_mid_commit(
    stage: Stage, server: Cluster
) -> None:
    """Signals under way while it is killed again and again: each that was acknowledged is there, and once."""
    chance = random.Random(seed("CLUSTER_SEED"))
    await stage.rest()
    agents = [await stage.start(ErrandInput()) for _ in range(SENDERS)]
    acknowledged: set[str] = set()
    left = iter([uuid.uuid4().hex for _ in range(SIGNALS)])

    async def send(number: int) -> None:
        for word in left:
            await agents[number].signal("tell", word)
            acknowledged.add(word)

    sending = [asyncio.create_task(send(number)) for number in range(SENDERS)]
    for kill in range(1, KILLS + 1):
        while len(acknowledged) < kill * SIGNALS // (KILLS + 2):
            await asyncio.sleep(0.01)
        await asyncio.sleep(chance.uniform(0, 0.2))
        under_way = sum(not task.done() for task in sending)
        async with server.outage("PostgreSQL"):
            assert under_way, "in the middle of it"
    await asyncio.gather(*sending)
    there = [
        event.workflow_execution_signaled_event_attributes.input.payloads[0].data.decode().strip('"')
        for agent in agents
        async for event in agent.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]
    assert len(acknowledged) == SIGNALS
    assert sorted(there) == sorted(acknowledged)
    await stage.work()

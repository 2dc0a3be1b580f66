"""A worker that is killed while a language model thinks: the call is made again, and the budget holds."""

from __future__ import annotations

import signal
import sqlite3
import sys
import threading
from asyncio.subprocess import Process
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from cli.children import end_child, start_child
from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.talker import Talker
from tests.support.agents.talker_doubles import TalkInput
from tests.support.model_servers import ModelRequest, ModelServer, serving
from tests.support.stage import Stage

ROOT = Path(__file__).parents[2]
# What the server charges for a call, and the limit: some four calls.
CHARGED, LIMIT = 900, 3500
KILLED_AT = 2


async def start_worker(settings: Settings, server: DevServer, model: ModelServer) -> Process:
    return await start_child(
        [sys.executable, "-m", "tests.support.thinking_worker"],
        environment={
            "PATH": "",
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": server.address,
            "HIBERNAUT_DATA_DIR": str(settings.data_dir),
            "HIBERNAUT_TASK_QUEUE": settings.task_queue,
            "HIBERNAUT_MODEL": "openai:gpt-4o-mini",
            "HIBERNAUT_MODEL_ADDRESS": model.address,
        },
        log=settings.data_dir / "logs" / "thinking-worker.log",
    )


async def test_a_call_that_dies_with_its_worker_is_made_again_within_the_budget(
    server: DevServer, settings: Settings
) -> None:
    """What was sent counts, answered or not; then the agent asks a human, at most one call past its limit."""
    stage = Stage(await connect(settings), settings)
    stage.agents = [Talker]
    asked, killed = threading.Event(), threading.Event()

    def answer(seen: ModelRequest) -> str:
        if len(model.seen) == KILLED_AT:
            asked.set()
            killed.wait(60)
        return "yes"

    with serving("openai", answer) as model:
        model.usage = (CHARGED - 100, 100)
        first = await start_worker(settings, server, model)
        talk = TalkInput(
            rounds=20,
            budget_tokens=LIMIT,
            max_output_tokens=100,
            # Its worker's death is noticed after this; it beats every five seconds.
            heartbeat=timedelta(seconds=12),
        )
        agent = await stage.start(talk, "talker")
        try:
            await eventually(lambda: asked.is_set())
        finally:
            first.kill()
        assert await first.wait() == -signal.SIGKILL
        killed.set()
        second = await start_worker(settings, server, model)
        try:
            request = await stage.asked(agent)
            assert request.question.startswith("The budget agent:")
            attempts = [
                event.activity_task_started_event_attributes.attempt
                async for event in agent.fetch_history_events()
                if event.HasField("activity_task_started_event_attributes")
            ]
            await stage.replay_all()
        finally:
            await agent.terminate("the test is over")
            await end_child(second, 30)
        assert attempts[KILLED_AT - 1] == 2, attempts
        assert model.seen[KILLED_AT - 1].body == model.seen[KILLED_AT].body
        assert len(model.seen) > KILLED_AT + 1, "it went on after that"
        assert LIMIT < len(model.seen) * CHARGED <= LIMIT + CHARGED
    with closing(sqlite3.connect(settings.data_dir / "model-ledger.sqlite")) as ledger:
        states, counts, most = ledger.execute(
            "SELECT group_concat(DISTINCT state), sum(tokens), max(tokens) FROM calls"
        ).fetchone()
    assert set(states.split(",")) == {"answered", "lost"}
    assert LIMIT <= counts < LIMIT + most

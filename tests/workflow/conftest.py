"""A stage with a worker at work, and a replay of every history that a test made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.stage import Stage


@pytest.fixture(params=[1000, 0], ids=["cached", "uncached"])
async def stage(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Stage]:
    """A stage with a worker at work; run once with a cache, once replaying at every task."""
    stage = Stage(await connect(settings), settings, request.param)
    await stage.work()
    try:
        yield stage
        await stage.replay_all()
    finally:
        await stage.rest()
        for handle in stage.handles:
            if (await handle.describe()).status == 1:
                await handle.terminate("the test is over")


@pytest.fixture
async def short_histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A stage on a server that suggests a fresh history after thirty events."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "short")})
    limits = {"limit.historyCount.suggestContinueAsNew": "30"}
    async with DevServer(settings, ui_port=None, limits=limits) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        stage = Stage(await connect(settings), settings, cached=1000)
        await stage.work()
        try:
            yield stage
            await stage.replay_all()
        finally:
            await stage.rest()

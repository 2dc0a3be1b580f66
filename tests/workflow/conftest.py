"""A stage with a worker at work, and a replay of every history that a test made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.connect import connect
from tests.support import limits
from tests.support.stage import Stage


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """A stage with a worker at work; its histories are replayed in the end."""
    stage = Stage(await connect(settings), settings)
    async with stage.at_work():
        yield stage


@pytest.fixture
async def short_histories(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """A stage on a server that suggests a fresh history after thirty events; with more limits if given."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "short")})
    short = limits.short_histories(30) | limits.QUICK_TASKS | getattr(request, "param", {})
    async with DevServer(settings, ui_port=None, limits=short, scratch=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        stage = Stage(await connect(settings), settings)
        await stage.work()
        try:
            yield stage
            await stage.replay_all()
        finally:
            await stage.rest()

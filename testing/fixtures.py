"""Fixtures of pytest: `stage`, on `settings` and `server`. `tests/conftest.py` offers them to every test."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.connect import connect
from testing.stage import Stage
from worker import activity_names
from workflows.check_kinds import KindError, check_kinds

# A task that a worker dropped or died with is handed out again after this; by default after ten seconds.
QUICK_TASKS = {"history.defaultWorkflowTaskTimeout": '"2s"'}
# A history that starts afresh within a second of the last waits out that second by default. In skipped time
# the server counts what it has skipped so far into that wait: the agent would wake hours or days too late.
AFRESH_AT_ONCE = {"history.workflowIdReuseMinimalInterval": '"0s"'}
# Tests run on the server at this address, if there is one, and not on one of their own.
GIVEN = os.environ.get("TEST_SERVER", "")


class GivenServer:
    """The server that `TEST_SERVER` names."""

    address = GIVEN


@pytest.fixture(scope="session")
def session_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a data folder of this test session's own."""
    folder = tmp_path_factory.mktemp("hibernaut")
    return Settings.read({"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_UNSIGNED": "refuse"})


@pytest.fixture(scope="session")
async def server(session_settings: Settings) -> AsyncIterator[DevServer | GivenServer]:
    """The real Temporal dev server, one for the whole session; tests use ids of their own."""
    if GIVEN:
        yield GivenServer()
        return
    async with DevServer(
        session_settings, ui_port=None, limits=QUICK_TASKS | AFRESH_AT_ONCE, scratch=True
    ) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: DevServer | GivenServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a data folder and a task queue of the test's own, pointing at the session's server."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    open_all(tmp_path / "data")
    return Settings.read(
        {
            **{key: value for key, value in os.environ.items() if not key.startswith("HIBERNAUT_")},
            "HIBERNAUT_DATA_DIR": str(tmp_path / "data"),
            "HIBERNAUT_TASK_QUEUE": f"queue-{tmp_path.name}",
        }
    )


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """A worker with every kind of agent and every activity; in the end all histories are replayed."""
    stage = Stage(await connect(settings), settings)
    try:
        check_kinds(activity_names(stage.objects()))
    except KindError as error:
        pytest.fail(str(error), pytrace=False)
    async with stage.at_work():
        yield stage


def open_all(data: Path) -> None:
    """Name the whole disk as the root of everybody; the data folder itself stays closed."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "roots.json").write_text(json.dumps({"*": ["/"]}))

"""Pytest fixtures: `stage`, which uses `settings` and `server`. `tests/conftest.py` exports them."""

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

# Retry a task that a worker dropped or died with after this; the default is ten seconds.
QUICK_TASKS = {"history.defaultWorkflowTaskTimeout": '"2s"'}
# By default, a continue-as-new within a second of the last one waits out that second. With skipped time the
# server adds all time skipped so far to that wait: the agent would wake hours or days too late.
AFRESH_AT_ONCE = {"history.workflowIdReuseMinimalInterval": '"0s"'}
# Run tests on the server at this address, if given, instead of their own.
EXTERNAL_SERVER = os.environ.get("TEST_SERVER", "")


class GivenServer:
    """The server that `TEST_SERVER` names."""

    address = EXTERNAL_SERVER


@pytest.fixture(scope="session")
def session_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a data folder for this test session."""
    folder = tmp_path_factory.mktemp("hibernaut")
    return Settings.read({"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_UNSIGNED": "refuse"})


@pytest.fixture(scope="session")
async def server(session_settings: Settings) -> AsyncIterator[DevServer | GivenServer]:
    """The real Temporal dev server, shared by the session; each test uses its own ids."""
    if EXTERNAL_SERVER:
        yield GivenServer()
        return
    async with DevServer(
        session_settings, ui_port=None, limits=QUICK_TASKS | AFRESH_AT_ONCE, scratch=True
    ) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: DevServer | GivenServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the test's own data folder and task queue, pointing at the session's server."""
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
    """A worker with every kind of agent and every activity; at the end all histories are replayed."""
    stage = Stage(await connect(settings), settings)
    try:
        check_kinds(activity_names(stage.objects()))
    except KindError as error:
        pytest.fail(str(error), pytrace=False)
    async with stage.at_work():
        yield stage


def open_all(data: Path) -> None:
    """Let everybody use the whole disk as root; the data folder itself stays closed."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "roots.json").write_text(json.dumps({"*": ["/"]}))

"""What all tests share: a real Temporal dev server, and settings of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.dev_server import DevServer
from common.settings import Settings
from tests.support.limits import QUICK_TASKS

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A file is one worker's; those that take minutes begin first, so that none is left alone with one at the end.
LONG = ("test_chain_machine.py", "test_archive.py", "test_bench_exactly_once.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def session_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a data folder of this test session's own."""
    folder = tmp_path_factory.mktemp("hibernaut")
    return Settings.read({"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_UNSIGNED": "refuse"})


@pytest.fixture(scope="session")
async def server(session_settings: Settings) -> AsyncIterator[DevServer]:
    """The real Temporal dev server, one for the whole session; tests use ids of their own."""
    async with DevServer(session_settings, ui_port=None, limits=QUICK_TASKS) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: DevServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a data folder and a task queue of the test's own, pointing at the session's server."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    return Settings.read(
        {
            **{key: value for key, value in os.environ.items() if not key.startswith("HIBERNAUT_")},
            "HIBERNAUT_DATA_DIR": str(tmp_path / "data"),
            "HIBERNAUT_TASK_QUEUE": f"queue-{tmp_path.name}",
        }
    )

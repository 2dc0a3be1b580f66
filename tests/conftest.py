"""What all tests share: a real Temporal dev server, and settings of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis.internal.conjecture import providers

from cli.dev_server import DevServer
from common.settings import Settings
from tests.support.limits import QUICK_TASKS
from tests.support.roots import open_all

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    # Hypothesis also draws constants of the modules loaded so far; which those are differs from run to run.
    if config.getoption("--hypothesis-profile") == "ci":
        providers._get_local_constants = lambda: providers._local_constants


# A file is one worker's. Those that take minutes begin first and unit tests come last, so that no worker is
# left alone with one at the end.
LONG = (
    "chaos/test_chaos",
    *("integration/test_cli", "workflow/test_archive", "workflow/test_kit", "chaos/test_archive"),
    *("integration/test_gateway_schema", "workflow/test_drift", "chaos/test_contract_auditor_kills"),
    *("chaos/test_code_auditor_kills", "workflow/test_chain_machine"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder, name = item.path.with_suffix("").parts[-2:]
        long = f"{folder}/{name}" in LONG
        return LONG.index(f"{folder}/{name}") if long else len(LONG) + (folder == "unit")

    items.sort(key=place)


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
    open_all(tmp_path / "data")
    return Settings.read(
        {
            **{key: value for key, value in os.environ.items() if not key.startswith("HIBERNAUT_")},
            "HIBERNAUT_DATA_DIR": str(tmp_path / "data"),
            "HIBERNAUT_TASK_QUEUE": f"queue-{tmp_path.name}",
        }
    )

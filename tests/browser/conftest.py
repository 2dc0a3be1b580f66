"""A real browser, and a gateway over a worker with the real agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

# Else loaded with the first file that is served, in a thread, where Python 3.11 fails to compile what pytest
# makes of its plugins, of which anyio is one.
import anyio._core._fileio  # noqa: F401
import pytest

import worker
from activities.calls.interceptor import ReliableReports
from cli.dev_server import DevServer
from tests.support.browser import ROOT, Pages, chromium
from tests.support.gateway.world import open_world


@pytest.fixture(scope="module")
async def _pages(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pages]:
    """Shared by the tests of a file; skipped by name where there is no chromium."""
    folder = tmp_path_factory.mktemp("browser")
    async with open_world(server, folder, works=False) as world:
        built = worker.build(world.desk.client, world.settings, reports=ReliableReports(world.desk.client))
        async with built, chromium() as browser:
            yield Pages(world, browser, tmp_path_factory.mktemp("shops"))


@pytest.fixture
async def pages(_pages: Pages) -> AsyncIterator[Pages]:
    """What a test leaves open or in a console is none of the next one's."""
    yield _pages
    for context in _pages.contexts:
        await context.close()
    _pages.contexts.clear()
    _pages.complaints.clear()


@pytest.fixture
async def shots() -> Path:
    """Where screenshots go, to be looked at."""
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

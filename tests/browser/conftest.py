"""A real browser, and a gateway over a worker with the real agents."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

import worker
from activities.calls.interceptor import ReliableReports
from cli.dev_server import DevServer
from tests.support.browser import CHROMIUM, FLAGS, ROOT, Pages
from tests.support.gateway.world import open_world


@pytest.fixture(scope="module")
async def pages(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pages]:
    """Shared by the tests of a file; skipped by name where there is no chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing; Debian's package chromium has it")
    before = os.environ.get("TEMPORAL_ADDRESS")
    folder = tmp_path_factory.mktemp("browser")
    async with open_world(server, folder, works=False) as world:
        built = worker.build(world.desk.client, world.settings, reports=ReliableReports(world.desk.client))
        async with built, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
            pages = Pages(world, browser, tmp_path_factory.mktemp("shops"))
            yield pages
            await browser.close()
    os.environ.pop("TEMPORAL_ADDRESS")
    if before:
        os.environ["TEMPORAL_ADDRESS"] = before


@pytest.fixture
async def shots() -> Path:
    """Where screenshots go, to be looked at."""
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

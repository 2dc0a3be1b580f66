"""The scraper's activities as agents call them, for tests against local sites."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.fetching.records import FetchRequest, FoundLinks, LinksRequest, Page
from activities.fetching.scraper import Scraper
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from common.settings import Settings
from tests.support.web import WebServer


class Reader:
    """A scraper with a data folder, called like agents call it; only the given sites are allowed."""

    def __init__(self, folder: Path, *sites: WebServer, **environment: str) -> None:
        settings = Settings.read(
            {
                "HIBERNAUT_DATA_DIR": str(folder),
                "HIBERNAUT_FETCH_RATE": "500",
                "HIBERNAUT_ALLOWED_HOSTS": ",".join(each.host for each in sites),
                **environment,
            }
        )
        self.artifacts = ArtifactStore(FolderStore(folder / "artifacts"))
        self.scraper = Scraper.build(settings, self.artifacts)

    async def run(
        self, activity: Callable[..., Any], argument: Any, agent: str = "agent-1", age: float = 0
    ) -> Any:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info,
            workflow_id=agent,
            scheduled_time=datetime.now(UTC) - timedelta(seconds=age),
            started_time=datetime.now(UTC),
        )
        return await environment.run(activity, argument)

    async def page(self, url: str, fresh: bool = False, **more: Any) -> Page:
        page = await self.run(self.scraper.fetch_page, FetchRequest(url=url, fresh=fresh), **more)
        assert isinstance(page, Page)
        return page

    async def links(self, site: str, **more: Any) -> FoundLinks:
        found = await self.run(self.scraper.find_links, LinksRequest(site=site, **more))
        assert isinstance(found, FoundLinks)
        return found

    def text(self, page: Page) -> str:
        return self.artifacts.get(page.text).decode()


async def refused(reader: Reader, url: str, **more: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await reader.page(url, **more)
    return caught.value

"""A small agent that reads pages, for tests of polite fetching."""

from __future__ import annotations

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.fetching.addresses import fairness_key
    from activities.fetching.records import FetchRequest
    from activities.fetching.scraper import Scraper
    from tests.support.agents.readings import Reading, ReadingInput
from workflows.core.agent import FETCH, Agent


@workflow.defn(name="reader")
class ReaderAgent(Agent[ReadingInput, None]):
    """Fetches all pages, concurrently or one after another, and returns their titles."""

    @workflow.init
    def __init__(self, input: ReadingInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: ReadingInput) -> Reading:
        with self.node("read"):
            if input.side_by_side:
                titles = list(await asyncio.gather(*(self._title(url) for url in input.urls)))
            else:
                titles = [await self._title(url) for url in input.urls]
        return Reading(titles=titles)

    async def _title(self, url: str) -> str:
        page = await self.call(Scraper.fetch_page, FetchRequest(url=url), FETCH.fair(fairness_key(url)))
        return page.title

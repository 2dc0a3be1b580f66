"""A test stage for market analysts: its price source uses the agent's time and counts the looks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from activities.market.look import MarketWatch
from activities.market.records import LookRequest, LookResult
from activities.market.report import MarketReports
from activities.quotes.quotes import Fault, quote_error
from common.agent_files import AgentFiles
from common.agents.market import MarketInput, MarketResult
from common.artifacts import ArtifactStore
from common.quotes import Quote
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.stage import Stage
from workflows.market_analyst import MarketAnalyst

MAX_SKIPS = 50_000


class Exchange:
    """A random walk of prices from 5,000, the same in every run."""

    def __init__(self) -> None:
        self.now: datetime | None = None
        self.looks: list[datetime] = []
        self.price: Decimal | None = None
        self.is_down = False
        self._chance = random.Random(7)
        self._walk = 5000.0

    async def quote(self, symbol: str) -> Quote:
        assert self.now is not None
        self.looks.append(self.now)
        if symbol == "NONE":
            raise quote_error(Fault.UNKNOWN_SYMBOL, "the exchange has no NONE")
        if self.is_down:
            raise quote_error(Fault.UNREACHABLE, "the exchange does not answer")
        self._walk *= 1 + self._chance.gauss(0, 0.001)
        price = self.price if self.price is not None else Decimal(f"{self._walk:.2f}")
        return Quote(symbol=symbol, price=price, at=self.now, source="test exchange")


class SkippedTimeWatch(MarketWatch):
    """The real activity, with an exchange that gets the agent's (skipped) time."""

    def __init__(self, exchange: Exchange, artifacts: ArtifactStore) -> None:
        super().__init__(exchange, artifacts)
        self._exchange = exchange

    @activity.defn(name="look_at_market")
    async def look(self, request: LookRequest) -> LookResult:
        self._exchange.now = request.at
        return await super().look(request)


@dataclass(frozen=True)
class Run:
    """One run of an agent: its number of events and the size of its input in bytes."""

    events: int
    carried: int


class MarketStage(Stage):
    """A test stage with a simulated exchange."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.exchange = Exchange()
        # By default the server stops skipping after about two hundred skips.
        self.skipper = TimeSkipper(self.client, config=TimeSkippingConfig(max_session_skip_count=MAX_SKIPS))
        self.agents = [MarketAnalyst]

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, *, replays: bool = True) -> AsyncIterator[Self]:
        stage = cls(await connect(settings), settings)
        async with stage.at_work(replays=replays):
            yield stage

    def objects(self) -> list[Any]:
        artifacts = ArtifactStore.of(self.settings)
        return [
            *super().objects(),
            SkippedTimeWatch(self.exchange, artifacts),
            MarketReports(artifacts, AgentFiles.of(self.settings), self.settings.data_dir / "reports"),
        ]

    async def watch(self, *, skipping: bool = True, **wanted: Any) -> WorkflowHandle[Any, Any]:
        fields = {"index": "SPX", "calendar": "24/7", "approvers": ["ann"], **wanted}
        return await self.start(MarketInput.model_validate(fields), "market-analyst", skipping=skipping)

    async def result(self, agent: WorkflowHandle[Any, Any], seconds: float = 90) -> MarketResult:
        async with asyncio.timeout(seconds):
            return MarketResult.model_validate(await agent.result())

    async def runs(self, agent: WorkflowHandle[Any, Any]) -> list[Run]:
        """All runs of the agent, in order."""
        found = []
        run_id: str | None = (await agent.describe()).raw_description.workflow_execution_info.first_run_id
        while run_id:
            history = await self.client.get_workflow_handle(agent.id, run_id=run_id).fetch_history()
            given = history.events[0].workflow_execution_started_event_attributes.input
            found.append(Run(len(history.events), sum(len(each.data) for each in given.payloads)))
            last = history.events[-1]
            run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id or None
        return found

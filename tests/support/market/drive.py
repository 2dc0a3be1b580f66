"""Runs the market watch activity like the workflow does, without a server and without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.market.look import MarketWatch
from activities.market.records import LookRequest, LookResult
from activities.market.series import SeriesStore
from common.agents.market import Crossing, Point, Series
from common.agents.market_rules import parse_rule
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from common.quotes import Quote

PriceSource = Callable[[datetime], Quote | Exception]


def quote(price: str | float | Decimal, at: datetime) -> Quote:
    return Quote(symbol="SPX", price=Decimal(str(price)), at=at, source="test")


class WatchDriver:
    """Watches prices that `says` gives for each time; `looks` has the result of each look."""

    def __init__(
        self,
        folder: Path,
        says: PriceSource,
        *,
        start: datetime,
        lasts: timedelta = timedelta(days=7),
        rules: Iterable[str] = (),
        calendar: str = "XNYS",
        every: timedelta = timedelta(minutes=15),
    ) -> None:
        self.artifacts = ArtifactStore(FolderStore(folder / "artifacts"))
        self.asked: list[datetime] = []
        self.looks: list[tuple[datetime, LookResult]] = []
        self.at: datetime | None = start
        self.request = LookRequest(
            index="SPX",
            calendar=calendar,
            every=every,
            rules=tuple(map(parse_rule, rules)),
            started=start,
            until=start + lasts,
            at=start,
            series=Series(),
        )
        self.activity = MarketWatch(self, self.artifacts)
        self._says = says

    async def quote(self, symbol: str) -> Quote:
        assert self.at is not None
        self.asked.append(self.at)
        found = self._says(self.at)
        if isinstance(found, Exception):
            raise found
        return found

    async def look(self) -> LookResult:
        """One look, at the current time."""
        assert self.at is not None
        self.request = self.request.model_copy(update={"at": self.at})
        looked = await ActivityEnvironment().run(self.activity.look, self.request)
        self.looks.append((self.at, looked))
        self.request = self.request.model_copy(update={"series": looked.series})
        self.at = looked.next_at
        return looked

    async def to_the_end(self, most: int = 5000) -> None:
        """Look at each time that the previous look named, until the end."""
        while self.at is not None:
            await self.look()
            assert len(self.looks) < most

    async def until(self, moment: datetime) -> None:
        """Look at each time that the previous look named, up to `moment`."""
        while self.at is not None and self.at <= moment:
            await self.look()

    @property
    def series(self) -> Series:
        return self.request.series

    @property
    def points(self) -> list[Point]:
        return SeriesStore(self.artifacts).points(self.series)

    @property
    def crossings(self) -> list[Crossing]:
        return [crossing for _, looked in self.looks for crossing in looked.crossings]

    @property
    def notes(self) -> list[str]:
        return [note for _, looked in self.looks for note in looked.notes]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def prices(table: dict[str, Any]) -> PriceSource:
    """A price source: at any time it returns the newest price of `table`."""
    times = {utc(text): value for text, value in table.items()}

    def says(now: datetime) -> Quote | Exception:
        known = [at for at in times if at <= now]
        return quote(times[max(known)], max(known))

    return says

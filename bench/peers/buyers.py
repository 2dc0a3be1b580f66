"""A worker process for buyers: `python -m bench.peers.buyers JOURNAL MARKET`, the market as a JSON file."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import worker
from activities.calendars import Calendars
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from activities.preconditions import Preconditions
from activities.quotes.quotes import Quotes
from activities.trading.orders import Orders
from activities.trading.paper_faults import Faults
from bench.harness import work_until_stopped
from bench.peers.fleet import Fleet
from bench.peers.market import Journal, PriceBoard, WatchedBroker
from common.approval.signing import Authority
from common.lifecycle import exit_now
from common.settings import Settings
from common.temporal.connect import connect
from workflows.buyer import Buyer


@dataclass(frozen=True)
class SharedMarket:
    """Where all workers trade: a folder for prices and book, the broker's faults, units filled per poll."""

    folder: Path
    faults: Faults
    liquidity: Decimal | None = None

    def save(self, file: Path) -> None:
        """Write the market for the workers to read."""
        file.write_text(
            json.dumps(
                {
                    "folder": str(self.folder),
                    "faults": asdict(self.faults),
                    "liquidity": self.liquidity and str(self.liquidity),
                }
            )
        )

    @classmethod
    def load(cls, file: Path) -> SharedMarket:
        """The market as it was saved."""
        found = json.loads(file.read_text())
        liquidity = found["liquidity"] and Decimal(found["liquidity"])
        return cls(Path(found["folder"]), Faults(**found["faults"]), liquidity)

    @property
    def board(self) -> PriceBoard:
        """The prices."""
        return PriceBoard(self.folder / "board.json")

    def broker(self, faults: Faults = Faults()) -> WatchedBroker:  # noqa: B008 - frozen
        """A broker on the shared book; the market is always open, and money is no object."""
        return WatchedBroker(
            self.folder / "paper.db",
            self.board.quote,
            lambda: datetime.now(UTC),
            faults,
            hours=None,
            liquidity=self.liquidity,
            cash=Decimal(10**9),
        )


def fleet_of(market: SharedMarket, settings: Settings, server: str, size: int) -> Fleet:
    """Worker processes that share a market, `size` at a time."""
    file = market.folder / "market.json"
    market.save(file)
    environment = {
        "TEMPORAL_ADDRESS": server,
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "HIBERNAUT_DATA_DIR": str(settings.data_dir),
    }
    return Fleet(
        market.folder,
        environment,
        size,
        lambda journal: (sys.executable, "-m", "bench.peers.buyers", str(journal), str(file)),
    )


async def work(journal: Path, market: SharedMarket, settings: Settings) -> None:
    """Work until SIGTERM."""
    client = await connect(settings)
    reports = ReliableReports(client)
    authority = Authority.load(settings)
    broker = market.broker(market.faults)
    broker.journal = Journal(journal)
    objects = [
        DecisionChecks(authority),
        Notices(),
        Calendars(),
        Quotes(market.board),
        Orders(broker, authority),
        Preconditions(settings, broker.market_open),
    ]
    built = worker.build(client, settings, reports=reports, workflows=[Buyer], objects=objects)
    await work_until_stopped(built, reports)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), SharedMarket.load(Path(sys.argv[2])), Settings.read(os.environ)))
    exit_now(0)

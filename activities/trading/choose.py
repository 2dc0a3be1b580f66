"""Builds the price feed and the broker that the settings ask for. Heavy imports happen only if needed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from activities.trading.broker import Broker
from activities.trading.paper import PaperBroker
from activities.trading.paper_faults import Faults
from activities.trading.quotes import QuoteFeed
from activities.trading.quotes_csv import CsvFeed
from common.business_time import NYSE
from common.settings import TradingSettings

# A year of real daily closes of twenty shares, from November 2008.
SAMPLE = Path(__file__).parent / "sample_closes.csv"
Clock = Callable[[], datetime]


def price_feed(settings: TradingSettings, folder: Path, clock: Clock) -> QuoteFeed:
    """The feed of `HIBERNAUT_QUOTES`; the sample where it is empty. `folder` keeps a replay's position."""
    if settings.quotes == "alpaca":
        from activities.trading.quotes_alpaca import AlpacaFeed

        return AlpacaFeed(
            settings.alpaca_key,
            settings.alpaca_secret,
            clock=clock,
            stale_after=settings.stale,
            url=settings.alpaca_address or None,
        )
    if "{symbol}" in settings.quotes:
        import httpx

        from activities.trading.quotes_http import HttpFeed

        return HttpFeed(
            settings.quotes,
            settings.price,
            httpx.AsyncClient(timeout=20),
            clock=clock,
            at=settings.time or None,
            stale_after=settings.stale,
        )
    return CsvFeed(
        Path(settings.quotes).expanduser() if settings.quotes else SAMPLE,
        folder / "quotes.json",
        speed=settings.speed,
        clock=clock,
        stale_after=settings.stale,
    )


def broker(settings: TradingSettings, folder: Path, feed: QuoteFeed, clock: Clock) -> Broker:
    """The broker of `HIBERNAUT_BROKER`; the paper broker keeps its book in `folder`."""
    if settings.broker == "paper":
        hours = NYSE if settings.market == "NYSE" else None
        return PaperBroker(folder / "paper.db", feed.quote, clock, Faults(), hours=hours)
    from activities.trading.alpaca_broker import AlpacaBroker

    return AlpacaBroker(
        settings.alpaca_key,
        settings.alpaca_secret,
        paper=settings.broker == "alpaca-paper",
        clock=clock,
        url=settings.alpaca_address or None,
    )

"""Builds the broker that the settings ask for. Heavy imports only happen if needed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL

from activities.quotes.quotes import QuoteFeed
from activities.trading.broker import Broker
from activities.trading.paper import PaperBroker
from activities.trading.paper_faults import Faults
from common.business_time import NYSE
from common.settings import TradingSettings

Clock = Callable[[], datetime]


def broker(settings: TradingSettings, book: Path | URL, feed: QuoteFeed, clock: Clock) -> Broker:
    """The broker of `HIBERNAUT_BROKER`; the paper broker keeps its book in the database at `book`."""
    if settings.broker == "paper":
        hours = NYSE if settings.market == "NYSE" else None
        return PaperBroker(book, feed.quote, clock, Faults(), hours=hours)
    from activities.trading.alpaca_broker import AlpacaBroker

    return AlpacaBroker(
        settings.alpaca_key,
        settings.alpaca_secret,
        paper=settings.broker == "alpaca-paper",
        clock=clock,
        url=settings.alpaca_address or None,
    )

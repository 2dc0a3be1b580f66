"""Builds the price feed that the settings ask for. Heavy imports only happen if needed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import URL

from activities.quotes.csv_feed import CsvFeed
from activities.quotes.quotes import QuoteFeed
from common.allowed_hosts import AllowedHosts
from common.settings import TradingSettings

# A year of real daily closes of twenty shares, from November 2008.
SAMPLE = Path(__file__).parent / "sample_closes.csv"
Clock = Callable[[], datetime]


def rehearsed_feed(settings: TradingSettings, replay: Path | URL, clock: Clock) -> QuoteFeed:
    """The feed for a rehearsal: files are read, services are replaced by made-up prices."""
    if settings.quotes in ("alpaca", "twelvedata") or "{symbol}" in settings.quotes:
        from activities.quotes.rehearsed import RehearsedFeed

        # Use only an address's host: the rest may contain a key.
        return RehearsedFeed(urlsplit(settings.quotes).hostname or settings.quotes)
    return price_feed(settings, replay, clock)


def price_feed(
    settings: TradingSettings, replay: Path | URL, clock: Clock, allowed: AllowedHosts | None = None
) -> QuoteFeed:
    """The feed of `HIBERNAUT_QUOTES`; the sample if that is empty.

    `allowed` are the internal hosts that a price source may be at. The database at `replay` stores the
    position of a replay.
    """
    if settings.quotes == "alpaca":
        from activities.quotes.alpaca_feed import AlpacaFeed

        return AlpacaFeed(
            settings.alpaca_key,
            settings.alpaca_secret,
            clock=clock,
            stale_after=settings.stale,
            url=settings.alpaca_address or None,
        )
    if settings.quotes == "twelvedata":
        from activities.fetching.guard import guarded_client
        from activities.quotes.twelve_data import ADDRESS, TwelveDataFeed

        return TwelveDataFeed(
            settings.twelve_data_key,
            guarded_client(allowed),
            clock=clock,
            stale_after=settings.stale,
            address=settings.twelve_data_address or ADDRESS,
        )
    if "{symbol}" in settings.quotes:
        import httpx

        from activities.quotes.http_feed import HttpFeed

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
        replay,
        speed=settings.speed,
        clock=clock,
        stale_after=settings.stale,
    )

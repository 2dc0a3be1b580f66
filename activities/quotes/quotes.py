"""Current prices: one activity over any feed, and the one place that classifies its errors."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from common.errors import permanent, retry_after
from common.quotes import Quote, Symbol


class Fault(StrEnum):
    """Why there is no quote: the type of the error that an agent sees."""

    UNKNOWN_SYMBOL = "UnknownSymbol"
    REFUSED = "QuotesRefused"
    MISSING = "PriceMissing"
    BAD_PRICE = "BadPrice"
    STALE = "StaleQuote"
    UNREADABLE = "UnreadableQuote"
    UNREACHABLE = "QuotesUnreachable"
    TOO_MANY = "TooManyRequests"


# How far a source's clock may be ahead of this machine's.
MAX_AHEAD = timedelta(minutes=5)
# Faults that need a change to the order or a setting. Any other may pass in a minute, and must not end an
# agent that waits for days: it is retried, and the agent shows as stuck meanwhile.
_PERMANENT = frozenset({Fault.UNKNOWN_SYMBOL, Fault.REFUSED})


def quote_error(fault: Fault, message: str, delay: timedelta | None = None) -> ApplicationError:
    """The error for `fault`, classified; `delay` is the wait that the source asked for."""
    if fault in _PERMANENT:
        return permanent(fault, message)
    if delay is not None:
        return retry_after(fault, message, delay)
    return ApplicationError(message, type=fault)


def status_fault(status: int) -> Fault:
    """What an error status means for a quote."""
    if status in (401, 403):
        return Fault.REFUSED
    if status == 404:
        return Fault.UNKNOWN_SYMBOL
    return Fault.TOO_MANY if status == 429 else Fault.UNREACHABLE


class QuoteRequest(BaseModel, frozen=True):
    """Asks what one unit of `symbol` costs."""

    symbol: Symbol


class QuoteFeed(Protocol):
    """A source of prices."""

    async def quote(self, symbol: str) -> Quote:
        """The latest price of `symbol`.

        Raises:
            ApplicationError: there is none; the type is a `Fault`.
        """
        ...


class Quotes:
    """The activity that asks a feed."""

    def __init__(self, feed: QuoteFeed) -> None:
        self._feed = feed

    @activity.defn(name="quote")
    async def quote(self, request: QuoteRequest) -> Quote:
        """What one unit of the symbol costs now."""
        return await self._feed.quote(request.symbol)


def checked_quote(symbol: str, price: object, at: datetime, source: str) -> Quote:
    """A quote from a source's answer, if that is a price: a decimal number above zero, never a float.

    Raises:
        ApplicationError: type `PriceMissing` or `BadPrice`.
    """
    if price is None or price == "":
        raise quote_error(Fault.MISSING, f"{source} has no price for {symbol} at {at:%Y-%m-%d %H:%M}")
    if isinstance(price, bool) or not isinstance(price, str | int | Decimal):
        raise quote_error(Fault.BAD_PRICE, f"{source}: the price of {symbol} is no decimal number")
    try:
        return Quote(symbol=symbol, price=price, at=at, source=source)
    except ValidationError:
        said = str(price)[:40]
        raise quote_error(Fault.BAD_PRICE, f"{source}: {said!r} is no price for {symbol}") from None


def check_age(quote: Quote, now: datetime, limit: timedelta | None) -> Quote:
    """`quote`, if it is no older than `limit` (None allows any age) and not from the future.

    Raises:
        ApplicationError: type `StaleQuote` or `BadPrice`.
    """
    if quote.at - now > MAX_AHEAD:
        raise quote_error(
            Fault.BAD_PRICE,
            f"{quote.source}: the price of {quote.symbol} is of {quote.at:%F %R}, in the future",
        )
    if limit is not None and now - quote.at > limit:
        raise quote_error(
            Fault.STALE, f"{quote.source}: the newest price of {quote.symbol} is of {quote.at:%F %R}"
        )
    return quote

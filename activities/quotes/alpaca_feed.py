"""Prices from Alpaca's market data: the latest trade of a symbol, through its own library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import requests

from activities.quotes.alpaca import CREDENTIALS, SECONDS, check_credentials, disable_retries, read_refusal
from activities.quotes.quotes import Fault, check_age, checked_quote, quote_error, status_fault
from common.flaws import flaw_of
from common.quotes import Quote

SOURCE = "Alpaca"


class AlpacaFeed:
    """Market data for the key's account; `url` replaces Alpaca's address."""

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        clock: Callable[[], datetime],
        stale_after: timedelta | None = None,
        url: str | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """Raises:
        SettingsError: key or secret is missing.
        """
        from alpaca.common.exceptions import APIError
        from alpaca.data.historical.stock import StockHistoricalDataClient

        check_credentials(key, secret)
        self._client = StockHistoricalDataClient(key, secret, raw_data=True, url_override=url)
        disable_retries(self._client, seconds)
        self._clock = clock
        self._stale_after = stale_after
        self._api_error = APIError

    async def quote(self, symbol: str) -> Quote:
        """The latest trade."""
        trade = await asyncio.to_thread(self._latest, symbol)
        try:
            price, at = trade["p"], datetime.fromisoformat(trade["t"])
        except (KeyError, TypeError, ValueError) as error:
            raise quote_error(
                Fault.UNREADABLE, f"{SOURCE}: no trade in the answer: {flaw_of(error)}"
            ) from error
        return check_age(checked_quote(symbol, price, at, SOURCE), self._clock(), self._stale_after)

    def _latest(self, symbol: str) -> Any:
        from alpaca.data.requests import StockLatestTradeRequest

        try:
            trades = self._client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=symbol))
        except self._api_error as error:
            refusal = read_refusal(error, self._clock)
            fault = Fault.UNKNOWN_SYMBOL if refusal.status in (400, 422) else status_fault(refusal.status)
            hint = f". Check {CREDENTIALS}." if fault is Fault.REFUSED else ""
            raise quote_error(fault, f"{SOURCE}: {symbol}: {refusal.message}{hint}", refusal.wait) from error
        except requests.RequestException as error:
            raise quote_error(Fault.UNREACHABLE, f"{SOURCE}: {error}") from error
        except ValueError as error:
            raise quote_error(Fault.UNREADABLE, f"{SOURCE}: {flaw_of(error)}") from error
        if symbol not in trades:
            raise quote_error(Fault.UNKNOWN_SYMBOL, f"{SOURCE} does not know {symbol}")
        return trades[symbol]

"""Prices from Twelve Data: the latest value of an index, a share or a currency. Its answers are untrusted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import httpx

from activities.quotes.json_answers import fetch_json, moment
from activities.quotes.quotes import Fault, check_age, checked_quote, quote_error, status_fault
from common.quotes import Quote

SOURCE = "Twelve Data"
ADDRESS = "https://api.twelvedata.com"


class TwelveDataFeed:
    """The endpoint `/quote` at `address`. The key is sent in a header, to keep it out of URL logs."""

    def __init__(
        self,
        key: str,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], datetime],
        stale_after: timedelta | None = None,
        address: str = ADDRESS,
    ) -> None:
        self._headers = {"Authorization": f"apikey {key}"}
        self._client = client
        self._clock = clock
        self._stale_after = stale_after
        self._address = address.rstrip("/") + "/quote"

    async def quote(self, symbol: str) -> Quote:
        """The latest value, as of the minute when the source last saw it change."""
        answer = await fetch_json(
            self._client,
            self._address,
            symbol,
            SOURCE,
            self._clock,
            parameters={"symbol": symbol},
            headers=self._headers,
        )
        if not isinstance(answer, dict):
            raise quote_error(Fault.UNREADABLE, f"{SOURCE}: no quote in the answer")
        # It may answer 200 with the real status in the body.
        if answer.get("status") == "error":
            code = answer.get("code")
            status = code if isinstance(code, int) else 500
            fault = Fault.UNKNOWN_SYMBOL if status == 400 else status_fault(status)
            hint = ". Check HIBERNAUT_TWELVE_DATA_KEY." if fault is Fault.REFUSED else ""
            raise quote_error(fault, f"{SOURCE} answers {status} for {symbol}{hint}")
        at = moment(answer.get("last_quote_at")) or moment(answer.get("timestamp"))
        if at is None:
            raise quote_error(Fault.UNREADABLE, f"{SOURCE}: no time in the answer")
        return check_age(
            checked_quote(symbol, answer.get("close"), at, SOURCE), self._clock(), self._stale_after
        )

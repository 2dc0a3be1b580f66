"""Prices from any address that answers with JSON. The answers are untrusted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote as quote_url
from urllib.parse import urlsplit

import httpx

from activities.quotes.json_answers import fetch_json, moment
from activities.quotes.quotes import Fault, check_age, checked_quote, quote_error
from common.quotes import Quote


class HttpFeed:
    """A feed at `address`, which contains `{symbol}`; `price` is the price's path, such as `data.0.last`.

    `at` is the path to the price's time (ISO 8601 text, or Unix seconds). Without it, the price counts as
    current, and its age cannot be checked.
    """

    def __init__(
        self,
        address: str,
        price: str,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], datetime],
        at: str | None = None,
        stale_after: timedelta | None = None,
    ) -> None:
        if "{symbol}" not in address:
            raise ValueError(f"the address of a price feed needs {{symbol}} in it: {address}")
        if stale_after is not None and at is None:
            raise ValueError("to check the age of a price, give the path to its time")
        self._address = address
        self._price = price
        self._at = at
        self._client = client
        self._clock = clock
        self._stale_after = stale_after
        self._source = urlsplit(address).hostname or address

    async def quote(self, symbol: str) -> Quote:
        """The price in the answer from the address."""
        address = self._address.replace("{symbol}", quote_url(symbol, safe=""))
        answer = await fetch_json(self._client, address, symbol, self._source, self._clock)
        now = self._clock()
        at = now if self._at is None else moment(_at_path(answer, self._at))
        if at is None:
            raise quote_error(Fault.UNREADABLE, f"{self._source} has no time at {self._at}")
        return check_age(
            checked_quote(symbol, _at_path(answer, self._price), at, self._source), now, self._stale_after
        )


def _at_path(answer: Any, path: str) -> Any:
    """The value at `path` (keys and indices, separated by dots); None if there is none."""
    for step in path.split("."):
        if isinstance(answer, dict):
            answer = answer.get(step)
        elif isinstance(answer, list) and step.isdecimal() and int(step) < len(answer):
            answer = answer[int(step)]
        else:
            return None
    return answer

"""Prices from any address that answers with JSON. The answers are untrusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote as quote_url
from urllib.parse import urlsplit

import httpx

from activities.calls.retry_header import asked_wait
from activities.trading.quotes import Fault, check_age, checked_quote, no_quote, status_fault
from common.agents.buyer import Quote
from common.errors import flaw_of

MAX_BYTES = 1_000_000


class HttpFeed:
    """A feed at `address`, with `{symbol}` in it; `price` is the path to the price, such as `data.0.last`.

    `at` is the path to the price's time (ISO 8601 text, or Unix seconds). Without it the price counts as of
    now, and its age cannot be checked.
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
        """The price that the address answers with."""
        answer = self._parsed(await self._fetch(symbol))
        now = self._clock()
        at = now if self._at is None else _moment(_at_path(answer, self._at))
        if at is None:
            raise no_quote(Fault.UNREADABLE, f"{self._source} has no time at {self._at}")
        return check_age(
            checked_quote(symbol, _at_path(answer, self._price), at, self._source), now, self._stale_after
        )

    async def _fetch(self, symbol: str) -> bytes:
        address = self._address.replace("{symbol}", quote_url(symbol, safe=""))
        try:
            async with self._client.stream("GET", address, follow_redirects=False) as response:
                if response.status_code != httpx.codes.OK:
                    raise no_quote(
                        status_fault(response.status_code),
                        f"{self._source} answers {response.status_code} for {symbol}",
                        asked_wait(response.headers.get("retry-after"), self._clock()),
                    )
                return await _read(response, self._source)
        except httpx.HTTPError as error:
            raise no_quote(Fault.UNREACHABLE, f"{self._source}: {type(error).__name__} {error}") from error

    def _parsed(self, body: bytes) -> Any:
        try:
            return json.loads(body, parse_float=Decimal, parse_constant=str)
        # Nested too deeply, a number too long for an int, not UTF-8, not JSON.
        except (RecursionError, ValueError) as error:
            raise no_quote(Fault.UNREADABLE, f"{self._source}: no JSON: {flaw_of(error)}") from error


async def _read(response: httpx.Response, source: str) -> bytes:
    """The body, unpacked; counted chunk by chunk, as a small body may unpack to a large one."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise no_quote(Fault.UNREADABLE, f"{source} sends more than {MAX_BYTES} bytes")
    return bytes(body)


def _at_path(answer: Any, path: str) -> Any:
    """The value at `path` (keys and indices, separated by dots); None where there is none."""
    for step in path.split("."):
        if isinstance(answer, dict):
            answer = answer.get(step)
        elif isinstance(answer, list) and step.isdecimal() and int(step) < len(answer):
            answer = answer[int(step)]
        else:
            return None
    return answer


def _moment(value: Any) -> datetime | None:
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None

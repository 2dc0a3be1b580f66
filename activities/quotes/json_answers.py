"""Reads JSON answers of price sources: untrusted, limited in size, and numbers never become floats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx

from activities.calls.retry_header import parse_retry_after
from activities.fetching.guard import AddressRefusedError
from activities.quotes.quotes import Fault, quote_error, status_fault
from common.flaws import flaw_of

MAX_BYTES = 1_000_000


async def fetch_json(
    client: httpx.AsyncClient,
    address: str,
    symbol: str,
    source: str,
    clock: Callable[[], datetime],
    *,
    parameters: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """The JSON that `address` answers with.

    Raises:
        ApplicationError: there is no usable answer; the type is a `Fault`.
    """
    try:
        async with client.stream(
            "GET", address, params=parameters, headers=headers, follow_redirects=False
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise quote_error(
                    status_fault(response.status_code),
                    f"{source} answers {response.status_code} for {symbol}",
                    parse_retry_after(response.headers.get("retry-after"), clock()),
                )
            body = await _read(response, source)
    except AddressRefusedError as error:
        raise quote_error(Fault.REFUSED, f"{source}: {error}") from None
    except httpx.HTTPError as error:
        raise quote_error(Fault.UNREACHABLE, f"{source}: {type(error).__name__} {error}") from error
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=str)
    # Nested too deeply; or a number too long for an int, not UTF-8, not JSON.
    except (RecursionError, ValueError) as error:
        raise quote_error(Fault.UNREADABLE, f"{source}: no JSON: {flaw_of(error)}") from error


async def _read(response: httpx.Response, source: str) -> bytes:
    """The decompressed body, measured chunk by chunk, because a small body may expand into a large one."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise quote_error(Fault.UNREADABLE, f"{source} sends more than {MAX_BYTES} bytes")
    return bytes(body)


def moment(value: Any) -> datetime | None:
    """The time in ISO 8601 text or Unix seconds; None if `value` is neither."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None

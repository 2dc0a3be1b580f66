"""Shared by Alpaca's broker and price feed: turns off its library's retries, and parses its errors.

The library imports pandas, so it is imported only where a client is built.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import requests

from activities.calls.retry_header import parse_retry_after
from common.settings import SettingsError

if TYPE_CHECKING:
    from alpaca.common.exceptions import APIError
    from alpaca.common.rest import RESTClient

CREDENTIALS = "HIBERNAUT_ALPACA_KEY and HIBERNAUT_ALPACA_SECRET"
SECONDS = 20.0


class _Session(requests.Session):
    """A session with a timeout, which the library does not set, and JSON numbers as decimals, not floats."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        # Settings come from one place, so ignore .netrc; only a proxy may come from the environment.
        self.auth = _no_auth

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """One exchange."""
        response = super().request(*arguments, **{"timeout": self._seconds, **options})
        response.json = partial(response.json, parse_float=Decimal)  # type: ignore[method-assign]
        return response


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """A no-op auth handler: keeps requests from sending credentials from a .netrc file."""
    return request


def disable_retries(client: RESTClient, seconds: float) -> None:
    """Turn off the library's retries, and limit every exchange to `seconds`.

    The library would repeat a POST on 429 and 504, and its constructor has no option to prevent that.
    """
    client._retry = 0
    client._session = _Session(seconds)


def check_credentials(key: str, secret: str) -> None:
    """Check that key and secret are set.

    Raises:
        SettingsError: one of them is missing; the message names the settings.
    """
    if not key or not secret:
        raise SettingsError(f"Alpaca needs an API key and its secret: set {CREDENTIALS}.")


@dataclass(frozen=True)
class Refusal:
    """An error answer from Alpaca: HTTP status, its own code (0 for none), message, requested wait."""

    status: int
    code: int
    message: str
    wait: timedelta | None


def read_refusal(error: APIError, clock: Callable[[], datetime]) -> Refusal:
    """Parse an error of the library. The body may not be JSON: gateways in between send their own."""
    response = error.response
    headers = response.headers if response is not None else {}
    try:
        body = json.loads(str(error))
        code, message = int(body.get("code", 0)), str(body.get("message", ""))
    except (ValueError, AttributeError, TypeError, RecursionError):
        code, message = 0, str(error)
    wait = parse_retry_after(headers.get("retry-after"), clock()) or _until_reset(headers, clock())
    return Refusal(status=error.status_code or 0, code=code, message=message[:300], wait=wait)


def _until_reset(headers: Any, now: datetime) -> timedelta | None:
    """The wait until `X-RateLimit-Reset`, a time in Unix seconds."""
    text = str(headers.get("x-ratelimit-reset", ""))
    if not (text.isascii() and text.isdecimal()) or len(text) > 11:
        return None
    wait = datetime.fromtimestamp(int(text), UTC) - now
    return min(max(wait, timedelta(seconds=1)), timedelta(hours=1))

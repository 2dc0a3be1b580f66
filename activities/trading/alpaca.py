"""What the broker and the price feed of Alpaca share: its library made quiet, and its errors read.

The library imports pandas, so it is imported where a client is built and nowhere else.
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

from activities.calls.retry_header import asked_wait
from common.settings import SettingsError

if TYPE_CHECKING:
    from alpaca.common.exceptions import APIError
    from alpaca.common.rest import RESTClient

CREDENTIALS = "HIBERNAUT_ALPACA_KEY and HIBERNAUT_ALPACA_SECRET"
SECONDS = 20.0


class _Session(requests.Session):
    """A session with a time-out, which the library sets none of, and without floats in what it reads."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        # Settings come from one place; a proxy is the one thing taken from the environment.
        self.auth = _leave_alone

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """One exchange."""
        response = super().request(*arguments, **{"timeout": self._seconds, **options})
        response.json = partial(response.json, parse_float=Decimal)  # type: ignore[method-assign]
        return response


def _leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands in for credentials of a .netrc file, which would be sent along else."""
    return request


def make_quiet(client: RESTClient, seconds: float) -> None:
    """Turn the library's own retries off, and give every exchange `seconds` at most.

    It would try a POST again on 429 and 504 by itself, and its constructor cannot be told not to.
    """
    client._retry = 0
    client._session = _Session(seconds)


def check_credentials(key: str, secret: str) -> None:
    """Raises:
    SettingsError: one of them is missing; the message names the settings.
    """
    if not key or not secret:
        raise SettingsError(f"Alpaca needs an API key and its secret: set {CREDENTIALS}.")


@dataclass(frozen=True)
class Refusal:
    """What Alpaca answered in place of a result: HTTP status, its code (0 for none), words, asked wait."""

    status: int
    code: int
    message: str
    wait: timedelta | None


def read_refusal(error: APIError, clock: Callable[[], datetime]) -> Refusal:
    """What an error of the library says. The body need not be JSON: a gateway in between writes its own."""
    response = error.response
    headers = response.headers if response is not None else {}
    try:
        body = json.loads(str(error))
        code, message = int(body.get("code", 0)), str(body.get("message", ""))
    except (ValueError, AttributeError, TypeError, RecursionError):
        code, message = 0, str(error)
    wait = asked_wait(headers.get("retry-after"), clock()) or _until_reset(headers, clock())
    return Refusal(status=error.status_code or 0, code=code, message=message[:300], wait=wait)


def _until_reset(headers: Any, now: datetime) -> timedelta | None:
    """`X-RateLimit-Reset` is a moment in Unix seconds."""
    text = str(headers.get("x-ratelimit-reset", ""))
    if not (text.isascii() and text.isdecimal()) or len(text) > 11:
        return None
    wait = datetime.fromtimestamp(int(text), UTC) - now
    return min(max(wait, timedelta(seconds=1)), timedelta(hours=1))

"""Parses the HTTP header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# The server is untrusted, so the wait it can impose is bounded.
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=1)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long the server asks to wait, from a second to a day; None if the value is unusable."""
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return min(max(timedelta(seconds=min(int(text[:9]), 10**6)), SHORTEST), LONGEST)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - now, SHORTEST), LONGEST)

"""Times in words: `yesterday`, `3 days ago`, `monday`, `2026-11-22 14:30`, ISO 8601. No clock in here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMED = {"today": 0, "yesterday": 1, "tomorrow": -1}
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_AGO = re.compile(r"(\d{1,5}|[a-z]+) ?(second|minute|hour|day|week)s?( ago)?")
_LEAST, _MOST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)


class UnreadableTimeError(ValueError):
    """A time that cannot be read; the message says what can."""


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name, `Europe/Vienna` for example.

    Raises:
        UnreadableTimeError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnreadableTimeError(f"{name[:60]!r} is no time zone; give one such as Europe/Vienna.") from None


def parse_moment(text: str, now: datetime, zone: ZoneInfo | None) -> datetime:
    """The moment that `text` names, in UTC.

    `today`, `yesterday`, `tomorrow` and a weekday (the last one that has begun) are the beginnings of those
    days. `3 days ago` is the beginning of that day too; hours and less count back from now.

    Args:
        text: the words.
        now: the time, with a zone.
        zone: whose days and clock are meant; None is this machine's.

    Raises:
        UnreadableTimeError: it is no time.
    """
    words = " ".join(text.strip().lower().split())
    try:
        found = _in_words(words, now, zone) or _written(text.strip(), zone)
    except (OverflowError, OSError, ValueError):
        found = None
    if found is None or not _LEAST < found < _MOST:
        raise UnreadableTimeError(
            f"{text[:60]!r} is no time: say yesterday, 3 days ago, monday, 2026-11-22 or 2026-11-22T14:30."
        )
    return found


def parse_span(text: str) -> timedelta:
    """A length of time: `30d`, `12h`, `90m`, `45s`, `2w`.

    Raises:
        UnreadableTimeError: it is none.
    """
    number, unit = text.strip()[:-1], _UNITS.get(text.strip()[-1:])
    if not unit or not number.isascii() or not number.isdecimal() or len(number) > 5:
        raise UnreadableTimeError(f"{text[:60]!r} is no length of time: say 30d, 12h or 90m.")
    return timedelta(**{unit: int(number)})


def _in_words(words: str, now: datetime, zone: ZoneInfo | None) -> datetime | None:
    if words == "now":
        return now.astimezone(UTC)
    today = now.astimezone(zone).replace(tzinfo=None)
    if words in _NAMED:
        return _day(today - timedelta(days=_NAMED[words]), zone)
    weekday = words.removeprefix("last ")
    if weekday in _DAYS:
        back = (today.weekday() - _DAYS.index(weekday)) % 7
        return _day(today - timedelta(days=back or (7 if weekday != words else 0)), zone)
    ago = _AGO.fullmatch(words)
    if ago is None:
        return None
    number = int(ago[1]) if ago[1].isdecimal() else _NUMBERS.get(ago[1])
    if number is None or not ago[3]:
        return None
    back_by = timedelta(**{f"{ago[2]}s": number})
    if ago[2] in ("day", "week"):
        return _day(today - back_by, zone)
    return now.astimezone(UTC) - back_by


def _written(text: str, zone: ZoneInfo | None) -> datetime:
    return _in_zone(datetime.fromisoformat(text), zone)


def _day(at: datetime, zone: ZoneInfo | None) -> datetime:
    return _in_zone(datetime.combine(at.date(), time()), zone)


def _in_zone(at: datetime, zone: ZoneInfo | None) -> datetime:
    """`at` in UTC; without a zone of its own it is on the clock of `zone`."""
    if at.tzinfo is None and zone is not None:
        at = at.replace(tzinfo=zone)
    return at.astimezone(UTC)

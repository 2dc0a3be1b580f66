"""How people write times, durations and numbers: one grammar for settings, command line, HTTP and inputs.

Pure functions: the caller passes the current time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

# Beyond these a timer cannot be set, a sum overflows, or a time cannot be printed in every zone.
LONGEST = timedelta(days=3653)
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

_SHORT = re.compile(r"(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
_WORDS = {"d": "day", "h": "hour", "min": "minute", "s": "second"}
_ISO = TypeAdapter(timedelta)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMED = {"today": 0, "yesterday": 1, "tomorrow": -1}
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_COUNTED = re.compile(r"(\d{1,5}|[a-z]+) ?(second|minute|hour|day|week)s?", re.ASCII)

Value = TypeVar("Value")


class UnreadableTimeError(ValueError):
    """A time or a duration that cannot be read; the message says what can."""


def parse_span(text: str) -> timedelta:
    """A duration up to ten years: `30d`, `12h`, `1h30m`, `2w`, ISO 8601 (`P2D`, `PT90M`) or `12:00:00`.

    Raises:
        UnreadableTimeError: it is none.
    """
    text = text.strip()
    try:
        found = _short(text)
        if found is None:
            found = _ISO.validate_python(text if text.startswith("P") or ":" in text else "")
    except (ValidationError, OverflowError):
        found = -LONGEST
    if not timedelta() <= found <= LONGEST:
        raise UnreadableTimeError("give a time such as 90s, 15m, 1h30m or 2d, of at most ten years")
    return found


def parse_period(text: str) -> timedelta:
    """A duration as `parse_span` reads it, longer than nothing.

    Raises:
        UnreadableTimeError: it is none.
    """
    if not (found := parse_span(text)):
        raise UnreadableTimeError("give a time longer than nothing, such as 15m or 2d")
    return found


def short(span: timedelta | None) -> str:
    """A duration as `parse_span` reads it, such as `1d12h`."""
    counts = _in_units(span or timedelta())
    return "".join(f"{count}{unit[0]}" for count, unit in counts) or "0s"


def rounded(span: timedelta, units: int = 2) -> str:
    """A duration for people in its largest `units`, such as `1 d 12 h`; `0 s` if it is under a second."""
    counts = _in_units(span)[:units]
    return " ".join(f"{count} {unit}" for count, unit in counts) or "0 s"


def in_words(span: timedelta) -> str:
    """A duration written out in full, to the second, such as `2 days 4 hours`."""
    counts = ((count, _WORDS[unit]) for count, unit in _in_units(span))
    return " ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in counts) or "0 seconds"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 agent`, `2 agents`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _in_units(span: timedelta) -> list[tuple[int, str]]:
    """A duration in days, hours, minutes and seconds, without zeros."""
    left, counts = max(int(span.total_seconds()), 0), []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            counts.append((count, unit))
    return counts


def parse_moment(text: str, now: datetime, zone: ZoneInfo | None, *, ahead: bool = False) -> datetime:
    """The time that `text` names, in UTC, from 1970 to 2200.

    `today`, `yesterday`, `tomorrow` and a weekday mean the beginning of that day. `3 days ago` means the
    beginning of that day too; hours and less count back from now. `in 3 days`, `2d ago` and `1h30m` are
    counted from now to the second. Dates and times are written as in ISO 8601.

    Args:
        text: the words.
        now: the time, with a zone.
        zone: the zone whose days and clock are meant; None is this machine's.
        ahead: a weekday means the next one, and a bare duration is counted forward from now; otherwise the
            last one, and backward.

    Raises:
        UnreadableTimeError: it is not a time.
    """
    words = " ".join(text.lower().split())
    try:
        found = _in_words(words, now, zone, ahead=ahead)
        found = found or _in_zone(datetime.fromisoformat(text.strip()), zone)
    except (OverflowError, OSError, ValueError):
        found = None
    if found is None or not EARLIEST <= found <= LATEST:
        raise UnreadableTimeError(
            "say yesterday, tomorrow, monday, 2h, 3 days ago, in 3 days, 2026-11-22 or 2026-11-22T14:30"
        )
    return found


def in_utc(at: datetime) -> datetime:
    """`at` in UTC, for display. It never raises: beyond the range of dates, the offset is dropped."""
    try:
        return at.astimezone(UTC)
    except (OverflowError, ValueError):
        return at.replace(tzinfo=UTC)


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name, such as `Europe/Vienna`.

    Raises:
        UnreadableTimeError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnreadableTimeError("give a time zone such as Europe/Vienna") from None


def _in_words(words: str, now: datetime, zone: ZoneInfo | None, *, ahead: bool) -> datetime | None:
    if words == "now":
        return now.astimezone(UTC)
    today = now.astimezone(zone).replace(tzinfo=None)
    if words in _NAMED:
        return _day(today - timedelta(days=_NAMED[words]), zone)
    weekday = words.removeprefix("last ")
    if weekday in _DAYS:
        back = (today.weekday() - _DAYS.index(weekday)) % 7
        if ahead and weekday == words:
            back -= 7
        return _day(today - timedelta(days=back or (7 if weekday != words else 0)), zone)
    ahead = words.startswith("in ") or (ahead and not words.endswith(" ago"))
    length = words.removeprefix("in ") if ahead else words.removesuffix(" ago")
    by = _short(length) or (_counted(length) if length != words else None)
    if not by:
        return None
    if words.endswith(("day ago", "days ago", "week ago", "weeks ago")):
        return _day(today - by, zone)
    return now.astimezone(UTC) + (by if ahead else -by)


def _short(text: str) -> timedelta | None:
    """A duration such as `1h30m`; None if it is written differently."""
    short = _SHORT.fullmatch(text) if text else None
    return timedelta(**dict(zip(_UNITS, map(int, short.groups("0")), strict=True))) if short else None


def _counted(text: str) -> timedelta | None:
    """A duration such as `three days`; None if it is written differently."""
    found = _COUNTED.fullmatch(text)
    number = found and (int(found[1]) if found[1].isdecimal() else _NUMBERS.get(found[1]))
    return timedelta(**{f"{found[2]}s": number}) if found and number is not None else None


def _day(at: datetime, zone: ZoneInfo | None) -> datetime:
    return _in_zone(datetime.combine(at.date(), time()), zone)


def _in_zone(at: datetime, zone: ZoneInfo | None) -> datetime:
    """`at` in UTC; if it has no zone of its own, it is in `zone`."""
    if at.tzinfo is None and zone is not None:
        at = at.replace(tzinfo=zone)
    return at.astimezone(UTC)


def _read_span(value: object) -> object:
    return parse_span(value) if isinstance(value, str) else value


def _written(value: object) -> object:
    # A number, also in quotes, might be seconds or milliseconds.
    if not isinstance(value, datetime) and not (isinstance(value, str) and value.count("-") >= 2):
        raise ValueError("write the time out, with its zone, as in 2026-11-23T10:00:00Z")
    return value


def _bounded(at: datetime) -> datetime:
    if not EARLIEST <= at <= LATEST:
        raise ValueError(f"give a time between {EARLIEST.year} and {LATEST.year}")
    return at.astimezone(UTC)


def _plain(value: Value) -> Value:
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError("give a number in plain digits, such as 5 or 0.1")
    return value


# Field types that are parsed with this grammar.
Duration = Annotated[timedelta, Field(ge=timedelta(), le=LONGEST), BeforeValidator(_read_span)]
Span = Annotated[timedelta, Field(gt=timedelta(), le=LONGEST), BeforeValidator(_read_span)]
# A time with an offset, kept in UTC. In JSON it may have any form of RFC 3339; this one is guaranteed.
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written),
    AfterValidator(_bounded),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(19[7-9]|20[0-9]|21[0-9])[0-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
            r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$",
            "examples": ["2026-11-23T10:00:00Z"],
        }
    ),
]
# Python accepts `1_000` and the digits of every script; people who read a plan do not.
PLAIN_NUMBER: Any = BeforeValidator(_plain)

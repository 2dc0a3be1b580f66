"""Business hours, with the holidays and weekends of the `holidays` library.

The functions are pure except for the data of that library and of time zones, which change with releases; so a
workflow asks the activity in `activities/calendars.py`. Times are returned in UTC. Elapsed time counts, so a
session over a clock change is an hour longer or shorter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, model_validator

if TYPE_CHECKING:
    import holidays

# How far ahead to look, so that the search ends on a calendar that never opens.
REACH = timedelta(days=3660)


class NeverOpenError(ValueError):
    """There is no such time within ten years."""


class UnknownCalendarError(ValueError):
    """There is no such calendar or time zone."""


class BusinessHours(BaseModel, frozen=True):
    """Opening hours in local time, on all days but weekends and the holidays of `calendar`.

    `calendar` is a country (`US`), a part of one (`DE-BY`) or a market (`NYSE`, `XNYS`, `ECB`), as the
    `holidays` library names them. Half days close at the time that the library gives in their names
    (`markets close at 1:00pm`, as for NYSE); where it gives none, at the usual time.

    That calendar and time zone exist is only checked when time is counted: these hours pass through
    workflows, which must not read data that changes with releases.
    """

    calendar: str
    timezone: str
    opens: time
    closes: time

    @model_validator(mode="after")
    def _closes_after_it_opens(self) -> BusinessHours:
        if self.opens.tzinfo or self.closes.tzinfo:
            raise ValueError("opens and closes are local times, without an offset")
        if self.closes <= self.opens:
            raise ValueError(f"closes ({self.closes}) must be later in the day than opens ({self.opens})")
        return self

    def check_countable(self, durations: Iterable[timedelta]) -> None:
        """Check that `durations` of open time surely end within the ten years that are searched.

        Raises:
            ValueError: one may not. Even with weekends and holidays, more than half of all days are open.
        """
        a_day = datetime.combine(date.min, self.closes) - datetime.combine(date.min, self.opens)
        longest = max(durations, default=timedelta())
        if longest > a_day * (REACH.days // 2):
            days = longest / a_day
            raise ValueError(
                f"{longest} in business hours of {a_day} a day are {days:,.0f} days; give at most "
                f"{REACH.days // 2:,} such days"
            )


def is_open(hours: BusinessHours, at: datetime) -> bool:
    """Whether `at` is in a session, from its first moment up to, but not at, its closing time."""
    at = _aware(at)
    zone = _zone(hours)
    # A session that runs into a skipped hour may end on the next date.
    today = at.astimezone(zone).date()
    days = (today - timedelta(days=1), today)
    return any(
        session[0] <= at < session[1] for day in days if (session := _session(hours, zone, day)) is not None
    )


def next_open(hours: BusinessHours, at: datetime) -> datetime:
    """The first moment from `at` on at which it is open; `at` itself if it is open then.

    Raises:
        NeverOpenError: there is none within ten years.
    """
    opens, _ = next(_sessions(hours, at))
    return max(opens, _aware(at))


def closes_at(hours: BusinessHours, at: datetime) -> datetime:
    """When the session at `at` closes; if it is closed then, when the next one does.

    Raises:
        NeverOpenError: there is none within ten years.
    """
    _, closes = next(_sessions(hours, at))
    return closes


def add(hours: BusinessHours, start: datetime, duration: timedelta) -> datetime:
    """The first moment by which `duration` of open time has passed since `start`.

    `timedelta(days=1)` is 24 open hours, not a day of the calendar. A duration that is used up exactly at
    the end of a session ends there, not at the next opening.

    Raises:
        NeverOpenError: that is more than ten years away.
        ValueError: `duration` is negative, or `start` has no time zone.
    """
    if duration < timedelta(0):
        raise ValueError(f"a duration of open time cannot be negative: {duration}")
    moment = _aware(start)
    sessions = _sessions(hours, start)
    while duration:
        opens, closes = next(sessions)
        moment = max(opens, moment)
        spent = min(duration, closes - moment)
        moment += spent
        duration -= spent
    return moment


def _aware(at: datetime) -> datetime:
    """`at` in UTC, where differences are elapsed time. A naive time would be taken as the machine's."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    if not 1 < at.year < 9900:
        raise ValueError(f"{at} is too near the end of all dates")
    return at.astimezone(UTC)


def _sessions(hours: BusinessHours, at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The sessions that end after `at`, in order, as (first moment, closing time)."""
    at = _aware(at)
    zone = _zone(hours)
    day = at.astimezone(zone).date() - timedelta(days=1)
    last = day + REACH
    while day < last:
        session = _session(hours, zone, day)
        if session and session[1] > at:
            yield session
        day += timedelta(days=1)
    raise NeverOpenError(f"{hours.calendar} is not open for that long within ten years from {at:%Y-%m-%d}")


def _session(hours: BusinessHours, zone: ZoneInfo, day: date) -> tuple[datetime, datetime] | None:
    year = _year(hours.calendar, day.year)
    if not year.is_working_day(day):
        return None
    opens = datetime.combine(day, hours.opens, zone).astimezone(UTC)
    closes = datetime.combine(day, min(hours.closes, _early_close(hours.calendar, day)), zone).astimezone(UTC)
    # A zone may skip the opening hours, and even a whole date (Samoa's 30 December 2011).
    if closes <= opens or opens.astimezone(zone).date() != day:
        return None
    return opens, closes


def _early_close(calendar: str, day: date) -> time:
    """The closing time in the name of a half day; the end of the day if there is none."""
    name = _half_days(calendar, day.year).get(day, "")
    told = re.search(r"close at (\d{1,2}):(\d\d) ?([ap])\.?m", name)
    if not told:
        return time.max
    return time(int(told[1]) % 12 + (12 if told[3] == "p" else 0), int(told[2]))


# The library's calendars are filled year by year, so a second thread could see a year half filled; these are
# complete before they are shared. Neighbouring years bring holidays that are observed across New Year.
@lru_cache(maxsize=256)
def _year(calendar: str, year: int) -> holidays.HolidayBase:
    return _entity(calendar, years=range(year - 1, year + 2))


@lru_cache(maxsize=256)
def _half_days(calendar: str, year: int) -> dict[date, str]:
    known = _entity(calendar)
    if "half_day" not in known.supported_categories:
        return {}
    english = next((each for each in known.supported_languages if each.startswith("en")), None)
    return dict(_entity(calendar, years=[year], categories="half_day", language=english))


def _zone(hours: BusinessHours) -> ZoneInfo:
    try:
        return ZoneInfo(hours.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownCalendarError(
            f"unknown time zone {hours.timezone!r}: give a name such as Europe/Berlin"
        ) from error


def _entity(calendar: str, **options: object) -> holidays.HolidayBase:
    import holidays  # slow; not every command needs it

    name, _, part = calendar.partition("-")
    is_country = name in holidays.list_supported_countries(include_aliases=True)
    build = holidays.country_holidays if is_country else holidays.financial_holidays
    try:
        return build(name, subdiv=part or None, expand=False, **options)  # type: ignore[arg-type]
    except (NotImplementedError, ValueError) as error:
        raise UnknownCalendarError(
            f"unknown calendar {calendar!r}: give a country (US), a part (DE-BY) or a market (NYSE)"
        ) from error


NYSE = BusinessHours(calendar="NYSE", timezone="America/New_York", opens=time(9, 30), closes=time(16))

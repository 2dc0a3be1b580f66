"""When a market is open: sessions, half days, lunch breaks and clock changes, by `exchange-calendars`.

New releases of the library add closures and moved holidays, so agents do not store its answers but ask it
again at every look. Importing it takes seconds, so only activities do.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any

from common.errors import permanent

YEAR = timedelta(days=365)
_SOME_DAYS = timedelta(days=15)
_building = Lock()


@dataclass(frozen=True)
class Period:
    """A period of open market: a whole session, or its part before or after lunch; `session` is the date."""

    opens: datetime
    closes: datetime
    session: date
    is_last: bool = True

    def seconds_until(self, at: datetime) -> int:
        """Seconds of this period that have passed at `at`."""
        return max(0, round((min(at, self.closes) - self.opens).total_seconds()))


@dataclass(frozen=True)
class Hours:
    """The periods of one market over some time, in order.

    Attributes:
        zone: the market's time zone.
        known_until: the library knows nothing after this.
        periods: the periods up to then.
    """

    name: str
    zone: str
    known_until: datetime
    periods: tuple[Period, ...]

    def at(self, moment: datetime) -> Period | None:
        """The period that contains `moment`; its close is not part of it."""
        place = bisect_right(self._opens, moment) - 1
        found = self.periods[place] if place >= 0 else None
        return found if found and moment < found.closes else None

    def before(self, moment: datetime) -> Period | None:
        """The last period that has closed by `moment`."""
        place = bisect_right(self._closes, moment) - 1
        return self.periods[place] if place >= 0 else None

    def after(self, moment: datetime) -> Period | None:
        """The first period that opens after `moment`."""
        place = bisect_right(self._opens, moment)
        return self.periods[place] if place < len(self.periods) else None

    def open_between(self, start: datetime, end: datetime) -> int:
        """Seconds of open market between two times."""
        first = max(0, bisect_right(self._opens, start) - 1)
        last = bisect_right(self._opens, end)
        return sum(
            max(0, each.seconds_until(end) - each.seconds_until(start)) for each in self.periods[first:last]
        )

    def ends_at(self, start: datetime, until: datetime) -> datetime | None:
        """When a watch ends that began at `start` and is to last until `until`; None if not known yet.

        It ends at the last market close up to `until`; without one, at `until`; or, if the market is never
        open in that time, at the first close afterwards.
        """
        closes = [each.closes for each in self.periods if each.is_last and each.closes > start]
        if until > self.known_until:
            return None
        by_then = [each for each in closes if each <= until]
        if by_then:
            return by_then[-1]
        if self.open_between(start, until):
            return until
        return closes[0] if closes else None

    @cached_property
    def open_a_year(self) -> int:
        """Seconds of open market in the last year of the known periods."""
        end = self.periods[-1].closes if self.periods else self.known_until
        return self.open_between(end - YEAR, end)

    @cached_property
    def _opens(self) -> list[datetime]:
        return [each.opens for each in self.periods]

    @cached_property
    def _closes(self) -> list[datetime]:
        return [each.closes for each in self.periods]


def hours(name: str, start: datetime, end: datetime) -> Hours:
    """The periods of the market `name`, from a year before `start` to some weeks after `end`.

    Raises:
        ApplicationError: type `UnknownCalendar`, permanent.
    """
    # Round to months, so that all looks of a month share a cache entry.
    first = (start - YEAR - _SOME_DAYS).date().replace(day=1)
    last = (end + 3 * _SOME_DAYS).date().replace(day=28)
    with _building:
        return _hours(name, first, last)


@lru_cache(maxsize=32)
def _hours(name: str, first: date, last: date) -> Hours:
    import exchange_calendars

    known = _known(name)
    earliest, latest = (_date(bound) for bound in (known.bound_min(), known.bound_max()))
    start, end = max(first, earliest or first), min(last, latest or last)
    known_until = datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)
    if start > end:
        return Hours(name, str(known.tz), known_until, ())
    calendar = exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
    return Hours(name, str(calendar.tz), known_until, tuple(_periods(calendar.schedule)))


@lru_cache(maxsize=32)
def _known(name: str) -> Any:
    """The library's calendar of a market, for its default range of years."""
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        return exchange_calendars.get_calendar(name)
    except InvalidCalendarName:
        told = f"{name} is no calendar of an exchange: give its code, such as XNYS, XLON, XTKS or 24/7"
        raise permanent("UnknownCalendar", told) from None


def _periods(schedule: Any) -> list[Period]:
    import pandas

    found: list[Period] = []
    columns = (schedule[name] for name in ("open", "break_start", "break_end", "close"))
    for session, opens, rests, resumes, closes in zip(schedule.index, *columns, strict=True):
        day, begin, end = session.date(), opens.to_pydatetime(), closes.to_pydatetime()
        if pandas.isna(rests):
            found.append(Period(begin, end, day))
        else:
            found.append(Period(begin, rests.to_pydatetime(), day, is_last=False))
            found.append(Period(resumes.to_pydatetime(), end, day))
    return found


def _date(bound: Any) -> date | None:
    return None if bound is None else bound.date()

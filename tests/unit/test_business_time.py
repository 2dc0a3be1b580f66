"""Business time: sessions, holidays, early closes, changes of the clocks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.calendars import BusinessTimesRequest, Calendars
from common import business_time
from common.approval.types import ApprovalPolicy
from common.business_time import NYSE, BusinessHours, NeverOpenError, add, closes_at, is_open, next_open

OFFICES = [
    NYSE,
    BusinessHours(calendar="DE-BY", timezone="Europe/Berlin", opens=time(9), closes=time(17)),
    BusinessHours(calendar="SA", timezone="Asia/Riyadh", opens=time(8), closes=time(14, 30)),
    # Open over the hour that the clocks skip and the one they repeat.
    BusinessHours(calendar="IL", timezone="Asia/Jerusalem", opens=time(0, 30), closes=time(23, 30)),
    BusinessHours(calendar="AU-NSW", timezone="Australia/Lord_Howe", opens=time(1, 45), closes=time(2, 15)),
    BusinessHours(calendar="ECB", timezone="Europe/Berlin", opens=time(7), closes=time(18)),
]
hours_ = st.sampled_from(OFFICES)
# Whole minutes: the oracle steps from one to the next.
DAY = date(2026, 11, 23)
moments = st.integers(0, 25 * 365 * 24 * 60).map(
    lambda minutes: datetime(2010, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


def new_york(*when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo("America/New_York"))  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (new_york(2026, 11, 25, 9, 29), False),  # a Wednesday
        (new_york(2026, 11, 25, 9, 30), True),
        (new_york(2026, 11, 25, 15, 59), True),
        (new_york(2026, 11, 25, 16, 0), False),
        (new_york(2026, 11, 26, 12, 0), False),  # Thanksgiving
        (new_york(2026, 11, 27, 12, 59), True),  # the day after, which closes at one
        (new_york(2026, 11, 27, 13, 0), False),
        (new_york(2026, 11, 28, 12, 0), False),  # Saturday
        (new_york(2026, 7, 3, 12, 0), False),  # 4 July falls on a Saturday
        (new_york(2012, 10, 29, 12, 0), False),  # closed for a hurricane
        (new_york(2021, 12, 31, 12, 0), True),  # New Year's Day on a Saturday is not moved back
    ],
)
def test_the_exchange_is_open_in_its_sessions(at: datetime, expected: bool) -> None:
    """Weekends, holidays and early closes of the New York Stock Exchange are known."""
    assert is_open(NYSE, at) is expected


def test_regions_have_holidays_of_their_own() -> None:
    """Epiphany closes Munich and not Hamburg, and a Sunday is a working day in Riyadh."""
    epiphany = datetime(2027, 1, 6, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    office = OFFICES[1]
    assert not is_open(office, epiphany)
    assert is_open(office.model_copy(update={"calendar": "DE-HH"}), epiphany)
    assert is_open(OFFICES[2], datetime(2026, 11, 22, 9, tzinfo=ZoneInfo("Asia/Riyadh")))
    assert not is_open(OFFICES[2], datetime(2026, 11, 20, 9, tzinfo=ZoneInfo("Asia/Riyadh")))


def test_open_time_passes_over_nights_weekends_and_holidays() -> None:
    """Four open hours from Wednesday 15:00 end on Friday at 12:30: Thursday is Thanksgiving."""
    assert add(NYSE, new_york(2026, 11, 25, 15), timedelta(hours=4)) == new_york(2026, 11, 27, 12, 30)
    assert add(NYSE, new_york(2026, 11, 27, 12), timedelta(hours=2)) == new_york(2026, 11, 30, 10, 30)


def test_a_span_that_fits_the_session_ends_with_it() -> None:
    """The last moment of a session is not put off to the next one."""
    assert add(NYSE, new_york(2026, 11, 25, 15), timedelta(hours=1)) == new_york(2026, 11, 25, 16)


def test_sessions_keep_local_time_when_the_clocks_change() -> None:
    """The exchange opens at 9:30 before and after; in UTC that is an hour apart."""
    assert next_open(NYSE, new_york(2026, 10, 30, 20)) == datetime(2026, 11, 2, 14, 30, tzinfo=UTC)
    assert next_open(NYSE, new_york(2026, 10, 29, 20)) == datetime(2026, 10, 30, 13, 30, tzinfo=UTC)


def test_a_repeated_hour_counts_twice() -> None:
    """Open time is elapsed time: in the night of 25 October 2026 the clocks of Jerusalem go back."""
    night = BusinessHours(calendar="IL", timezone="Asia/Jerusalem", opens=time(0), closes=time(6))
    midnight = datetime(2026, 10, 25, tzinfo=ZoneInfo("Asia/Jerusalem"))
    assert add(night, midnight, timedelta(hours=7)) == closes_at(night, midnight)
    later = midnight.replace(minute=30)
    assert add(night, later, timedelta(hours=6.5)) == closes_at(night, midnight)


def test_a_date_that_a_zone_skipped_has_no_session() -> None:
    """Samoa went from 29 to 31 December 2011."""
    shop = BusinessHours(calendar="WS", timezone="Pacific/Apia", opens=time(9), closes=time(17))
    evening = datetime(2011, 12, 29, 18, tzinfo=ZoneInfo("Pacific/Apia"))
    assert next_open(shop, evening) == datetime(2012, 1, 3, 9, tzinfo=ZoneInfo("Pacific/Apia"))


@settings(max_examples=50, deadline=None)
@given(hours_, moments, st.integers(1, 1500))
def test_adding_agrees_with_counting_minutes(hours: BusinessHours, start: datetime, minutes: int) -> None:
    """The result is the first moment by which that many open minutes have been counted one by one."""
    end = add(hours, start, timedelta(minutes=minutes))
    moment, counted = start, 0
    while counted < minutes:
        counted += is_open(hours, moment)
        moment += timedelta(minutes=1)
        if not is_open(hours, moment):
            # Nights are long; skip them by the clock, never by the rule under test.
            while not is_open(hours, moment) and counted < minutes:
                moment += timedelta(minutes=15 if moment.minute % 15 == 0 else 1)
    assert end == moment


@settings(max_examples=300, deadline=None)
@given(hours_, moments, st.timedeltas(timedelta(0), timedelta(8)), st.timedeltas(timedelta(0), timedelta(8)))
def test_spans_can_be_added_in_pieces(
    hours: BusinessHours, start: datetime, first: timedelta, second: timedelta
) -> None:
    """A reminder that is moved on lands where one long one would."""
    assert add(hours, add(hours, start, first), second) == add(hours, start, first + second)


@settings(max_examples=300, deadline=None)
@given(hours_, moments)
def test_the_next_opening_is_open_and_nothing_before_it_is(hours: BusinessHours, at: datetime) -> None:
    """`next_open` is `at` itself where that is open, else the first moment that is."""
    opening = next_open(hours, at)
    assert is_open(hours, opening)
    assert (opening == at) is is_open(hours, at)
    assert not is_open(hours, opening - timedelta(microseconds=1)) or opening == at
    assert not any(is_open(hours, at + (opening - at) * step / 50) for step in range(50) if opening > at)
    assert closes_at(hours, at) > opening
    assert is_open(hours, closes_at(hours, at) - timedelta(microseconds=1))
    assert not is_open(hours, closes_at(hours, at))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("closes", time(9, 30), "later in the day"),
        ("opens", time(9, 30, tzinfo=UTC), "without an offset"),
    ],
)
def test_hours_that_make_no_sense_are_refused(field: str, value: object, says: str) -> None:
    """The message names what is wrong."""
    with pytest.raises(ValidationError, match=says) as caught:
        BusinessHours.model_validate({**NYSE.model_dump(), field: value})
    assert caught.value.error_count() == 1


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("calendar", "ZZ", "unknown calendar 'ZZ'"),
        ("calendar", "DE-ZZ", "unknown calendar 'DE-ZZ'"),
        ("timezone", "Mars/Olympus", "unknown time zone 'Mars/Olympus'"),
        ("timezone", "../../etc/passwd", "unknown time zone"),
        ("timezone", "America", "unknown time zone"),
    ],
)
async def test_a_calendar_that_does_not_exist_is_a_permanent_failure(
    field: str, value: str, says: str
) -> None:
    """The message names what is wrong and what to give."""
    hours = BusinessHours.model_validate({**NYSE.model_dump(), field: value})
    request = BusinessTimesRequest(hours=hours, start=new_york(2026, 11, 26), after=[timedelta(hours=1)])
    with pytest.raises(ApplicationError, match=says) as caught:
        await ActivityEnvironment().run(Calendars().moments, request)
    assert (caught.value.type, caught.value.non_retryable) == ("UnknownCalendar", True)


@pytest.mark.parametrize("ask", [next_open, closes_at, lambda h, at: add(h, at, timedelta(hours=1))])
def test_a_calendar_that_never_opens_is_an_error(
    ask: Callable[[BusinessHours, datetime], datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search ends after ten years."""
    monkeypatch.setattr(business_time, "_session", lambda hours, zone, day: None)
    with pytest.raises(NeverOpenError, match="within ten years"):
        ask(NYSE, new_york(2026, 11, 24))


def test_a_time_without_a_zone_is_refused() -> None:
    """It would silently be read in the zone of the machine."""
    with pytest.raises(ValueError, match="no time zone"):
        is_open(NYSE, datetime(2026, 11, 24))


def test_threads_see_whole_years_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads that ask at once about years nobody has asked about all know the holidays."""
    business_time._year.cache_clear()
    christmas = [new_york(year, 12, 25, 12) for year in range(1995, 2025)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda at: is_open(NYSE, at), christmas * 8))
    assert not any(answers)


async def test_the_activity_answers_in_the_order_asked() -> None:
    """A reminder ladder comes back as moments, zero being the next opening."""
    request = BusinessTimesRequest(
        hours=NYSE,
        start=new_york(2026, 11, 26, 12),
        after=[timedelta(hours=2), timedelta(0), timedelta(hours=1)],
    )
    answer = await ActivityEnvironment().run(Calendars().moments, request)
    assert answer.at == [new_york(2026, 11, 27, hour, 30) for hour in (11, 9, 10)]


async def test_what_never_comes_is_permanent() -> None:
    """No retry mends it."""
    request = BusinessTimesRequest(hours=NYSE, start=new_york(2026, 11, 26), after=[timedelta(days=5000)])
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(Calendars().moments, request)
    assert (caught.value.type, caught.value.non_retryable) == ("UnknownCalendar", True)


@pytest.mark.parametrize("which", ["reminders", "escalate_after", "expires_after"])
def test_deadlines_in_business_hours_that_end_too_far_away_are_refused_where_they_are_read(
    which: str,
) -> None:
    """A thousand days around the clock are four thousand of six and a half hours."""
    span: object = timedelta(days=1000)
    more = {"escalate_to": ["bob"]} if which == "escalate_after" else {}
    wanted = {"approvers": ["ann"], which: [span] if which == "reminders" else span, **more}
    assert ApprovalPolicy.model_validate(wanted)
    with pytest.raises(ValidationError, match="3,692 days; give at most 1,830"):
        ApprovalPolicy.model_validate(wanted | {"business_hours": NYSE})


async def test_the_longest_ladder_of_a_policy_can_be_counted() -> None:
    """A hundred reminders, an escalation and an end, each as far away as is read."""
    most = (datetime.combine(DAY, NYSE.closes) - datetime.combine(DAY, NYSE.opens)) * 1830
    policy = ApprovalPolicy(
        approvers=("ann",),
        reminders=(most,) * 100,
        escalate_after=most,
        escalate_to=("bob",),
        expires_after=most,
        business_hours=NYSE,
    )
    request = BusinessTimesRequest(hours=NYSE, start=new_york(2026, 11, 26), after=policy.durations)
    assert len(request.after) == 102
    one = request.model_copy(update={"after": request.after[-1:]})
    assert (await Calendars().moments(one)).at[0].year < 2036

"""When markets are open: half days, lunch, clock changes, the end of what is known, and when a watch ends."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from temporalio.exceptions import ApplicationError

from activities.market.hours import Hours, hours
from tests.support.market.drive import utc

NOW = utc("2026-11-20T12:00")


def sessions(market: Hours, first: str, last: str) -> list[tuple[str, str, str]]:
    """Date, opening and closing time in UTC of each period."""
    return [
        (each.session.isoformat(), f"{each.opens:%H:%M}", f"{each.closes:%H:%M}")
        for each in market.periods
        if first <= each.session.isoformat() <= last
    ]


def test_new_york_closes_at_one_on_the_half_days_of_2026_and_not_at_all_on_the_holidays() -> None:
    """13:00 in New York is 18:00 UTC; Thanksgiving and Christmas are no sessions."""
    market = hours("XNYS", NOW, utc("2026-12-31T00:00"))
    assert sessions(market, "2026-11-25", "2026-11-30") == [
        ("2026-11-25", "14:30", "21:00"),
        ("2026-11-27", "14:30", "18:00"),
        ("2026-11-30", "14:30", "21:00"),
    ]
    assert sessions(market, "2026-12-23", "2026-12-28") == [
        ("2026-12-23", "14:30", "21:00"),
        ("2026-12-24", "14:30", "18:00"),
        ("2026-12-28", "14:30", "21:00"),
    ]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        # The United States leave summer time on 2026-11-01, Europe on 2026-10-25.
        ("XNYS", ("2026-10-30", "13:30", "20:00"), ("2026-11-02", "14:30", "21:00")),
        ("XLON", ("2026-10-23", "07:00", "15:30"), ("2026-10-26", "08:00", "16:30")),
        # Australia begins its own on 2026-10-04.
        ("XASX", ("2026-10-02", "00:00", "06:00"), ("2026-10-05", "23:00", "05:00")),
    ],
)
def test_sessions_move_with_the_clock_of_their_place(
    name: str, before: tuple[str, str, str], after: tuple[str, str, str]
) -> None:
    """The same hour there is another hour elsewhere once the clocks have changed."""
    market = hours(name, utc("2026-10-01T00:00"), utc("2026-11-10T00:00"))
    assert sessions(market, before[0], before[0]) == [before]
    assert sessions(market, after[0], after[0]) == [after]


def test_a_lunch_break_is_closed_and_no_close() -> None:
    """Tokyo rests from 11:30 to 12:30; a watch does not end with the morning."""
    market = hours("XTKS", NOW, utc("2026-11-30T00:00"))
    morning, afternoon = [each for each in market.periods if each.session.isoformat() == "2026-11-24"]
    assert (morning.is_last, afternoon.is_last) == (False, True)
    assert market.at(utc("2026-11-24T02:29")) is morning
    assert market.at(utc("2026-11-24T02:30")) is None
    assert market.after(utc("2026-11-24T02:30")) is afternoon
    started = utc("2026-11-24T01:00")
    assert market.ends_at(started, utc("2026-11-24T12:00")) == afternoon.closes
    whole = market.open_between(morning.opens, afternoon.closes)
    assert whole == 3600 * 2.5 + (afternoon.closes - afternoon.opens).total_seconds()


def test_periods_come_in_order_and_open_time_adds_up() -> None:
    """Over any cut the two parts are the whole."""
    market = hours("XHKG", NOW, utc("2026-12-31T00:00"))
    assert all(one.closes <= other.opens for one, other in pairwise(market.periods))
    start, end = utc("2026-11-20T00:00"), utc("2026-12-30T00:00")
    whole = market.open_between(start, end)
    assert whole == sum(
        (p.closes - p.opens).total_seconds() for p in market.periods if start <= p.opens < end
    )
    for step in range(0, 40 * 24, 7):
        cut = start + timedelta(hours=step)
        assert market.open_between(start, cut) + market.open_between(cut, end) == whole


def test_what_lies_beyond_the_known_sessions_is_not_made_up() -> None:
    """Shanghai's holidays are announced year by year: past the end nobody knows when a watch ends."""
    known = hours("XSHG", NOW, utc("2026-12-20T00:00"))
    bound = known.known_until
    far = hours("XSHG", NOW, bound + timedelta(days=200))
    assert far.known_until == bound
    assert far.periods[-1].closes < bound
    assert far.ends_at(NOW, bound + timedelta(days=100)) is None
    assert far.ends_at(NOW, bound - timedelta(days=10)) is not None
    assert hours("XSHG", bound + timedelta(days=800), bound + timedelta(days=900)).periods == ()


@pytest.mark.parametrize(
    ("start", "until", "end"),
    [
        # From Wednesday for a week: with the last close by then.
        ("2026-11-18T15:07", "2026-11-25T15:07", "2026-11-24T21:00"),
        # Over the weekend: the Friday before.
        ("2026-11-22T10:00", "2026-11-29T10:00", "2026-11-27T18:00"),
        # Ten minutes of an open market: just then.
        ("2026-11-18T15:07", "2026-11-18T15:17", "2026-11-18T15:17"),
        # An hour of a Saturday: there is nothing to watch before Monday's session.
        ("2026-11-21T10:00", "2026-11-21T11:00", "2026-11-23T21:00"),
    ],
)
def test_a_watch_ends_with_a_close(start: str, until: str, end: str) -> None:
    """The last one within its time, where there is one."""
    market = hours("XNYS", utc(start), utc(until))
    assert market.ends_at(utc(start), utc(until)) == utc(end)


def test_a_calendar_that_does_not_exist_is_one_clear_line() -> None:
    """Permanent: somebody has to name another."""
    with pytest.raises(ApplicationError, match="QQQQ is no calendar of an exchange: give its code") as caught:
        hours("QQQQ", NOW, NOW)
    assert (caught.value.type, caught.value.non_retryable) == ("UnknownCalendar", True)
    assert hours("NYSE", NOW, NOW).zone == "America/New_York"
    assert hours("24/7", NOW, NOW).at(utc("2026-11-21T03:00")) is not None

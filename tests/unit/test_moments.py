"""Times in words, in any zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.grammar import UnreadableTimeError, parse_moment, parse_span, zone_named

VIENNA = ZoneInfo("Europe/Vienna")
NOW = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)  # a Tuesday; in Vienna it is Wednesday, 00:30


@pytest.mark.parametrize(
    ("words", "zone", "moment"),
    [
        ("now", "UTC", "2026-11-24T23:30Z"),
        ("today", "UTC", "2026-11-24T00:00Z"),
        ("yesterday", "UTC", "2026-11-23T00:00Z"),
        (" Yesterday ", "Europe/Vienna", "2026-11-23T23:00Z"),
        ("tomorrow", "UTC", "2026-11-25T00:00Z"),
        ("3 days ago", "UTC", "2026-11-21T00:00Z"),
        ("three  days ago", "Europe/Vienna", "2026-11-21T23:00Z"),
        ("a week ago", "UTC", "2026-11-17T00:00Z"),
        ("90 minutes ago", "Europe/Vienna", "2026-11-24T22:00Z"),
        ("an hour ago", "UTC", "2026-11-24T22:30Z"),
        ("tuesday", "UTC", "2026-11-24T00:00Z"),
        ("last tuesday", "UTC", "2026-11-17T00:00Z"),
        ("wednesday", "UTC", "2026-11-18T00:00Z"),
        ("2026-11-22", "UTC", "2026-11-22T00:00Z"),
        ("2026-11-22", "Asia/Tokyo", "2026-11-21T15:00Z"),
        ("2026-11-22 14:30", "Europe/Vienna", "2026-11-22T13:30Z"),
        ("2026-07-22T14:30", "Europe/Vienna", "2026-07-22T12:30Z"),
        ("2026-11-22T14:30:00+05:00", "Europe/Vienna", "2026-11-22T09:30Z"),
    ],
)
def test_words_and_dates_name_a_moment(words: str, zone: str, moment: str) -> None:
    """Days begin where the zone's days begin; summer time counts."""
    assert parse_moment(words, NOW, ZoneInfo(zone)) == datetime.fromisoformat(moment)


def test_a_day_with_25_hours_is_one_day() -> None:
    """The night the clocks go back."""
    now = datetime(2026, 10, 26, 12, tzinfo=UTC)
    yesterday, today = (parse_moment(word, now, VIENNA) for word in ("yesterday", "today"))
    assert today - yesterday == timedelta(hours=25)


def test_without_a_zone_this_machines_clock_is_meant() -> None:
    """And its days."""
    local = NOW.astimezone()
    begins = local.replace(hour=0, minute=0, second=0, microsecond=0)
    assert parse_moment("today", NOW, None) == begins
    assert parse_moment("2026-11-22", NOW, None) == datetime(2026, 11, 22).astimezone()


@pytest.mark.parametrize(
    "words", ["", "soon", "3 days", "ago", "2026-13-01", "999999 weeks ago", "0001-01-01"]
)
def test_what_is_no_time_is_refused(words: str) -> None:
    """In one line that says what can be said."""
    with pytest.raises(UnreadableTimeError, match="say yesterday"):
        parse_moment(words, NOW, VIENNA)


@given(st.text(max_size=30))
def test_no_text_does_anything_else(text: str) -> None:
    """Every text is a moment in UTC or refused."""
    for zone in (None, VIENNA):
        try:
            found = parse_moment(text, NOW, zone)
        except UnreadableTimeError:
            continue
        assert found.utcoffset() == timedelta()


def test_lengths_of_time_and_zones() -> None:
    """`30d` and `Europe/Vienna` are read; what is neither is refused."""
    spans = [parse_span(text) for text in ("30d", "12h", "90m", "45s", "2w", "0d")]
    assert spans == [timedelta(seconds=each) for each in (30 * 86400, 43200, 5400, 45, 14 * 86400, 0)]
    for text in ("", "30", "d", "-3d", "1.5h", "٣d", "3 days"):
        with pytest.raises(UnreadableTimeError):
            parse_span(text)
    assert zone_named("Europe/Vienna") == VIENNA
    for name in ("Nowhere/Land", "", "../etc/passwd"):
        with pytest.raises(UnreadableTimeError):
            zone_named(name)

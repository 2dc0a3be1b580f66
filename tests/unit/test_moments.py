"""Times in words, in any zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.agents.agent import WakeUp
from common.agents.auditor import AuditInput
from common.agents.kinds import KINDS
from common.approval.types import ApprovalPolicy
from common.grammar import UnreadableTimeError, in_words, parse_moment, parse_span, zone_named
from common.settings import Settings, SettingsError
from gateway.schemas import Wake

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


@pytest.mark.parametrize(
    ("words", "ahead", "moment"),
    [
        ("2h", False, "2026-11-24T21:30Z"),
        ("2d", False, "2026-11-22T23:30Z"),
        ("2d", True, "2026-11-26T23:30Z"),
        ("1h30m ago", True, "2026-11-24T22:00Z"),
        ("in 3 days", False, "2026-11-27T23:30Z"),
        ("in 90s", True, "2026-11-24T23:31:30Z"),
        ("24 hours ago", False, "2026-11-23T23:30Z"),
        ("monday", True, "2026-11-30T00:00Z"),
        ("tuesday", True, "2026-12-01T00:00Z"),
        ("tomorrow", True, "2026-11-25T00:00Z"),
    ],
)
def test_a_duration_is_counted_from_now(words: str, ahead: bool, moment: str) -> None:
    """Back where the past is asked for, ahead where a time to come is."""
    assert parse_moment(words, NOW, ZoneInfo("UTC"), ahead=ahead) == datetime.fromisoformat(moment)


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
    "words",
    ["", "soon", "3 days", "ago", "0h", "-2h", "in 2h ago", "2026-13-01", "999999 weeks ago", "0001-01-01"],
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
    told = [in_words(timedelta(hours=hours)) for hours in (0, 0.5, 1, 24, 36, 48.01)]
    assert told == ["0 seconds", "30 minutes", "1 hour", "1 day", "1 day 12 hours", "2 days 36 seconds"]
    assert zone_named("Europe/Vienna") == VIENNA
    for name in ("Nowhere/Land", "", "../etc/passwd"):
        with pytest.raises(UnreadableTimeError):
            zone_named(name)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1h30m", timedelta(minutes=90)),
        ("1w2d", timedelta(days=9)),
        ("P2D", timedelta(days=2)),
        ("PT90M", timedelta(minutes=90)),
        ("P1Y35D", timedelta(days=400)),
        ("12:00:00", timedelta(hours=12)),
    ],
)
def test_a_duration_is_read_alike_everywhere(text: str, span: timedelta) -> None:
    """By itself, in an agent's input, in a policy, and in settings."""
    assert parse_span(text) == span
    assert AuditInput(path="x", expires_after=text).expires_after == span
    assert ApprovalPolicy(expires_after=text).expires_after == span
    assert Settings.read({"HIBERNAUT_QUOTES_STALE": text}).trading.stale == span


# 8,000 years were accepted once, and the timer that was set by them wedged the agent after it had acted.
@pytest.mark.parametrize("text", ["P3000000D", "999999w", "P11Y", "-P1D", "PT-1S", "99999:00:00"])
def test_a_duration_that_no_timer_takes_is_refused_wherever_it_is_read(text: str) -> None:
    """In every field that takes one, in settings and on the command line."""
    with pytest.raises(UnreadableTimeError):
        parse_span(text)
    fields = {
        ("code-auditor", "expires_after"): {"path": "x"},
        ("buyer", "patience"): {"symbol": "AAA", "quantity": "1", "limit": "1"},
        ("recruiter", "answer_within"): {
            "role": {"title": "t", "description": "d"},
            "candidates": [{"id": "a", "name": "A", "email": "a@example.com", "profile": "x"}],
        },
    }
    for (kind, name), others in fields.items():
        for value in (text, 10**12):
            with pytest.raises(ValidationError, match=name):
                KINDS[kind].input.model_validate({**others, name: value})
    for policy in (
        {"expires_after": text},
        {"escalate_after": text, "escalate_to": ["a"]},
        {"reminders": [text]},
    ):
        with pytest.raises(ValidationError):
            ApprovalPolicy.model_validate({"approvers": ["a"], **policy})
    with pytest.raises(SettingsError, match="HIBERNAUT_ARCHIVE_COLD"):
        Settings.read({"HIBERNAUT_ARCHIVE_COLD": text})


def test_a_time_to_wake_at_is_bounded_and_kept_in_utc() -> None:
    """Refused: numbers, which might be seconds or milliseconds, and times that no timer takes."""
    assert WakeUp.model_validate({"until": "2026-11-22T14:30:00+05:00"}).until == datetime(
        2026, 11, 22, 9, 30, tzinfo=UTC
    )
    assert str(WakeUp.model_validate_json('{"until": "2026-11-22T14:30:00+05:00"}').until) == (
        "2026-11-22 09:30:00+00:00"
    )
    odd = (
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2201-01-01T00:00:00Z",
        "1795000000",
        1e9,
    )
    for until in odd:
        for model in (WakeUp, Wake):
            with pytest.raises(ValidationError):
                model.model_validate({"until": until})


@pytest.mark.parametrize("text", ["1_0", "١٠", "NaN", "Infinity", "1e999", "ten"])
def test_what_is_no_number_in_plain_digits_is_none(text: str) -> None:
    """Python would take some of them; whoever reads a plan would not."""
    for kind, name, others in (
        ("code-auditor", "quorum", {"path": "x"}),
        ("code-auditor", "max_file_bytes", {"path": "x"}),
        ("buyer", "quantity", {"symbol": "AAA", "limit": "1"}),
        ("buyer", "limit", {"symbol": "AAA", "quantity": "1"}),
        ("buyer", "tolerance", {"symbol": "AAA", "quantity": "1", "limit": "1"}),
        ("buyer", "budget_tokens", {"symbol": "AAA", "quantity": "1", "limit": "1"}),
        ("buyer", "budget_usd", {"symbol": "AAA", "quantity": "1", "limit": "1"}),
        ("link-researcher", "links", {"topic": "t"}),
    ):
        with pytest.raises(ValidationError, match=name):
            KINDS[kind].input.model_validate({**others, name: text})

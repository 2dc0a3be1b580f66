"""Which slots a calendar file says are taken; and not knowing is never a free slot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from activities.recruiting import calendar_file
from activities.recruiting.calendar_file import busy_slots
from common.agents.recruiter import Slot


def slot(start: str = "2026-12-01T10:00", end: str = "2026-12-01T11:00", **more: str) -> Slot:
    fields = {"start": start, "end": end, "zone": "Europe/Berlin", "interviewer": "ann@example.com", **more}
    return Slot.model_validate(fields)


def ics(*events: str) -> str:
    """A calendar of events that share a UID."""
    text = "".join(
        f"BEGIN:VEVENT\r\nUID:0\r\nDTSTAMP:20261101T000000Z\r\n{event}\r\nEND:VEVENT\r\n" for event in events
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\n{text}END:VCALENDAR\r\n"


WEEKLY = "DTSTART;TZID=Europe/Berlin:20260630T100000\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY"


@pytest.mark.parametrize(
    ("event", "busy"),
    [
        ("DTSTART:20261201T090000Z\r\nDTEND:20261201T100000Z", True),
        ("DTSTART:20261201T093000Z\r\nDURATION:PT1H", True),
        ("DTSTART:20261201T080000Z\r\nDTEND:20261201T090000Z", False),
        ("DTSTART:20261201T100000Z\r\nDTEND:20261201T110000Z", False),
        ("DTSTART;VALUE=DATE:20261201", True),
        ("DTSTART;VALUE=DATE:20261201\r\nTRANSP:TRANSPARENT", False),
        ("DTSTART;VALUE=DATE:20261201\r\nDTEND;VALUE=DATE:20261201", True),
        ("DTSTART:20251201T090000Z\r\nDURATION:PT1H\r\nRRULE:RSCALE=GREGORIAN;FREQ=YEARLY", True),
        ("DTSTART;VALUE=DATE:20261128\r\nDTEND;VALUE=DATE:20261203", True),
        ("DTSTART:20261201T090000Z\r\nDTEND:20261201T100000Z\r\nSTATUS:CANCELLED", False),
        ("DTSTART:20261201T100000\r\nDTEND:20261201T103000", True),
        (WEEKLY, True),
        (WEEKLY.replace("T100000", "T110000"), False),
        (f"{WEEKLY};UNTIL=20261124T230000Z", False),
        (f"{WEEKLY}\r\nEXDATE;TZID=Europe/Berlin:20261201T100000", False),
        ("DTSTART:20261101T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=31", True),
        ("DTSTART:20261101T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=30", False),
        ("DTSTART:20261110T090000Z\r\nDURATION:PT1H\r\nRDATE:20261201T093000Z", True),
    ],
)
def test_what_a_calendar_says_is_taken(tmp_path: Path, event: str, busy: bool) -> None:
    """Overlaps, whole days, series through a change of clocks, exceptions, what is free or cancelled."""
    file = tmp_path / "busy.ics"
    file.write_text(ics(event))
    assert busy_slots(file, {3: slot()}) == ([3] if busy else [])


def test_one_of_a_series_that_was_moved_stands_for_itself(tmp_path: Path) -> None:
    """Where it was it is free, where it went it is busy."""
    series = "DTSTART:20261124T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY"
    text = ics(series).replace(
        "END:VCALENDAR",
        "BEGIN:VEVENT\r\nUID:0\r\nDTSTAMP:20261101T000000Z\r\nRECURRENCE-ID:20261201T090000Z\r\n"
        "DTSTART:20261202T090000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\nEND:VCALENDAR",
    )
    file = tmp_path / "busy.ics"
    file.write_text(text)
    slots = {0: slot(), 1: slot("2026-12-02T10:00", "2026-12-02T11:00")}
    assert busy_slots(file, slots) == [1]


def test_a_folder_of_calendars_and_what_cannot_be_read(tmp_path: Path) -> None:
    """Bob's own calendar does not keep ann busy; not knowing is no free slot."""
    taken = ics("DTSTART:20261201T090000Z\r\nDURATION:PT1H")
    slots = {0: slot(), 1: slot(interviewer="bob@example.com")}
    (tmp_path / "bob@example.com.ics").write_text(taken)
    assert busy_slots(tmp_path, slots) == [1]
    (tmp_path / "carl@example.com.ics").write_text(taken)
    assert busy_slots(tmp_path, slots) == [1], "whose interviews are none of these"
    (tmp_path / "house.ics").write_text(taken)
    assert busy_slots(tmp_path, slots) == [0, 1]
    for bad in ("BEGIN:VCALENDAR\r\nnonsense", "BEGIN:VEVENT\r\nDTSTART:x\r\nEND:VEVENT"):
        (tmp_path / "house.ics").write_text(bad)
        with pytest.raises(ApplicationError, match="CalendarUnreadable"):
            busy_slots(tmp_path, slots)
    with pytest.raises(ApplicationError, match="has to be an iCalendar file"):
        busy_slots(tmp_path / "missing.ics", slots)


PERIOD = (
    "DTSTART:20261110T080000Z\r\nDTEND:20261110T083000Z\r\n"
    "RDATE;VALUE=PERIOD:20261201T050000Z/PT6H,20261202T050000Z/20261202T060000Z"
)
NEW_YORK = "DTSTART;TZID=America/New_York:20261130T040000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY"


@pytest.mark.parametrize(
    ("event", "busy"),
    [
        (PERIOD, True),
        (PERIOD.replace("PT6H", "PT3H"), False),
        (f"{PERIOD}\r\nEXDATE:20261201T050000Z", False),
        # The end of a rule: a day that counts in full, a local time, and one in UTC for days or local times.
        (f"{WEEKLY};UNTIL=20261201", True),
        (f"{WEEKLY};UNTIL=20261130", False),
        (f"{NEW_YORK};UNTIL=20261201T040000", True),
        (f"{NEW_YORK};UNTIL=20261130T235959", False),
        ("DTSTART;VALUE=DATE:20261124\r\nRRULE:FREQ=DAILY;UNTIL=20261130T230000Z", True),
        ("DTSTART;VALUE=DATE:20261124\r\nRRULE:FREQ=DAILY;UNTIL=20261130T225959Z", False),
        ("DTSTART:20261124T100000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;UNTIL=20261201T090000Z", True),
        ("DTSTART:20261124T100000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY\r\nEXDATE:20261201T090000Z", False),
        ("DTSTART;VALUE=DATE:20261124\r\nRRULE:FREQ=WEEKLY\r\nEXDATE;VALUE=DATE:20261201", False),
        ("DTSTART;VALUE=DATE:20261124\r\nDURATION:P8D\r\nRRULE:FREQ=MONTHLY", True),
    ],
)
def test_series_end_and_last_as_they_say(tmp_path: Path, event: str, busy: bool) -> None:
    """Periods with a length of their own, and every way to say when a rule ends."""
    assert (0 in busy_in(tmp_path, ics(event))) == busy


SERIES = "DTSTART:20261124T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY"
DAYS = "DTSTART;VALUE=DATE:20261124\r\nRRULE:FREQ=WEEKLY"


@pytest.mark.parametrize(
    ("series", "change", "busy"),
    [
        # Moved from the slot's day, moved into the slot, and cancelled.
        (SERIES, "RECURRENCE-ID:20261201T090000Z\r\nDTSTART:20261201T150000Z\r\nDURATION:PT1H", [1]),
        (SERIES, "RECURRENCE-ID:20261130T090000Z\r\nDTSTART:20261202T093000Z\r\nDURATION:PT1H", [0, 1]),
        (SERIES, "RECURRENCE-ID:20261201T090000Z\r\nDTSTART:20261201T090000Z\r\nSTATUS:CANCELLED", [1]),
        (DAYS, "RECURRENCE-ID;VALUE=DATE:20261201\r\nDTSTART;VALUE=DATE:20261201\r\nSTATUS:CANCELLED", []),
        (DAYS, "RECURRENCE-ID;VALUE=DATE:20261201\r\nDTSTART;VALUE=DATE:20261203", []),
        (DAYS, "RECURRENCE-ID;VALUE=DATE:20261201\r\nDTSTART;VALUE=DATE:20261202", [1]),
        # This one and all that follow: moved away, moved into the slots, longer, cancelled, free.
        (
            SERIES,
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20261129T090000Z\r\nDTSTART:20261129T140000Z\r\nDURATION:PT1H",
            [],
        ),
        (
            SERIES.replace("T09", "T03"),
            "RECURRENCE-ID;RANGE=ThisAndFuture:20261129T030000Z\r\nDTSTART:20261129T090000Z\r\nDURATION:PT1H",
            [0, 1],
        ),
        (
            SERIES.replace("T09", "T07"),
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20261201T070000Z\r\nDTSTART:20261201T070000Z\r\nDURATION:PT4H",
            [0, 1],
        ),
        (
            SERIES,
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20261202T090000Z\r\nDTSTART:20261202T090000Z\r\n"
            "DURATION:PT1H\r\nSTATUS:CANCELLED",
            [0],
        ),
    ],
)
def test_what_was_changed_of_a_series(tmp_path: Path, series: str, change: str, busy: list[int]) -> None:
    """One instance or all that follow, moved, cancelled or longer; of hours and of whole days."""
    assert busy_in(tmp_path, ics(series, change)) == busy


def test_two_series_of_one_uid_both_count(tmp_path: Path) -> None:
    """Which of them is out of date nobody can know."""
    early, late = SERIES, SERIES.replace("T09", "T20")
    assert busy_in(tmp_path, ics(early, late)) == busy_in(tmp_path, ics(late, early)) == [0, 1]


@pytest.mark.parametrize(
    "event",
    [
        "SUMMARY:secret",
        "DTSTART:secret",
        "DTSTART:20261201T090000Z\r\nsecret line",
        "DTSTART:20261201T090000Z\r\nDTSTART:20261202T090000Z",
        "DTSTART:20261110T090000Z\r\nRRULE:secret",
        "DTSTART:20261110T090000Z\r\nRRULE:FREQ=SECRET",
        "DTSTART:20261110T090000Z\r\nRRULE:FREQ=DAILY;INTERVAL=0",
        "DTSTART:20261110T090000Z\r\nRRULE:FREQ=SECONDLY",
        "DTSTART:20250110T090000Z\r\nRRULE:FREQ=DAILY;BYHOUR=1,2,3,4;BYMINUTE=1,2,3,4,5;BYSECOND=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "DTSTART:20261110T090000Z\r\nRRULE:RSCALE=HEBREW;FREQ=YEARLY",
        "DTSTART:20261110T090000Z\r\nRRULE:RSCALE=CHINESE;FREQ=YEARLY;UNTIL=20301201T000000Z",
        "DTSTART:20261110T090000Z\r\nRDATE:secret",
        "DTSTART;TZID=secret:20261110T090000",
        "DTSTART:20261110T090000Z\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:20261109T090000Z",
        "DTSTART:20261110T090000Z\r\nRECURRENCE-ID;RANGE=THISANDPRIOR:20261109T090000Z",
    ],
)
def test_what_is_not_known_is_no_free_slot(tmp_path: Path, event: str) -> None:
    """What says unclearly when an event is makes the file unreadable; the message quotes nothing of it."""
    assert "secret" not in unreadable(tmp_path, ics(event).encode()).lower()


@pytest.mark.parametrize("data", [b"", b"SECRET=1", b"<html>secret", ics(WEEKLY).encode()[:-20], b"\0secret"])
def test_a_file_that_is_cut_off_or_no_calendar_is_no_free_slot(tmp_path: Path, data: bytes) -> None:
    """Whatever else a path names, its content reaches no message, nor the cause that Temporal would keep."""
    assert "secret" not in unreadable(tmp_path, data).lower()


def test_what_does_not_say_when_may_be_broken(tmp_path: Path) -> None:
    """A place that is none keeps nobody from reading the hour; nor does a mark at the beginning."""
    text = "\ufeff" + ics("DTSTART:20261201T090000Z\r\nDURATION:PT1H\r\nGEO:here")
    assert busy_in(tmp_path, text) == [0]


def test_slots_in_several_zones(tmp_path: Path) -> None:
    """A whole day, and a time without a zone, are those of whoever has the slot."""
    file = tmp_path / "busy.ics"
    slots = {0: slot(), 1: slot(zone="America/New_York"), 2: slot("2026-12-01T20:00", "2026-12-01T21:00")}
    file.write_text(ics("DTSTART:20261201T100000\r\nDURATION:PT1H"))
    assert busy_slots(file, slots) == [0, 1]


def busy_in(folder: Path, text: str) -> list[int]:
    """The slots that are taken, of one on 1 December and one at the same hour on the next day."""
    file = folder / "busy.ics"
    file.write_text(text)
    return busy_slots(file, {0: slot(), 1: slot("2026-12-02T10:00", "2026-12-02T11:00")})


def unreadable(folder: Path, data: bytes) -> str:
    """The message about a calendar that cannot be read."""
    file = folder / "busy.ics"
    file.write_bytes(data)
    with pytest.raises(ApplicationError) as caught:
        busy_slots(file, {0: slot()})
    assert (caught.value.type, caught.value.__cause__) == ("CalendarUnreadable", None)
    return str(caught.value)


def test_a_rule_that_repeats_for_ever_is_an_unreadable_calendar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read in a process with limits, and otherwise as ever."""
    file = tmp_path / "busy.ics"
    file.write_text(ics("DTSTART:20261201T090000Z\r\nDURATION:PT1H"))
    slots = {3: slot()}
    assert calendar_file.busy_slots_apart(file, slots, lambda: None) == busy_slots(file, slots) == [3]
    with pytest.raises(ApplicationError, match="has to be an iCalendar file"):
        calendar_file.busy_slots_apart(tmp_path / "missing.ics", slots, lambda: None)
    never = "DTSTART:20261130T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"
    file.write_text(ics(*[never] * 50))
    monkeypatch.setattr(calendar_file, "LIMITS", replace(calendar_file.LIMITS, cpu_seconds=2))
    with pytest.raises(ApplicationError, match="went over the limits of a calendar"):
        calendar_file.busy_slots_apart(file, slots, lambda: None)

"""Busy times out of iCalendar files: which slots are taken. Not knowing is never a free slot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from common.agents.recruiter import Slot
from common.errors import permanent

MAX_BYTES = 20_000_000
MAX_FILES = 200
# A series that repeats more often before a slot is none that people make.
MAX_REPEATS = 20_000
# An event that began before the slot may go on into it.
LONGEST_EVENT = timedelta(days=400)


def busy_slots(path: Path, slots: Mapping[int, Slot]) -> list[int]:
    """The places of the slots that an event of the calendar at `path` overlaps.

    In a folder, a file named for an interviewer's address (`ann@example.com.ics`) counts for that interviewer
    alone, any other for all.

    Raises:
        ApplicationError: type `CalendarUnreadable`, where it is missing, or holds what cannot be read.
    """
    if not slots:
        return []
    files = _files(path)
    interviewers = {each.interviewer.lower() for each in slots.values()}
    busy: set[int] = set()
    for file in files:
        of = file.stem.lower() if path.is_dir() and file.stem.lower() in interviewers else ""
        asked = {place: slot for place, slot in slots.items() if of in ("", slot.interviewer.lower())}
        if "@" in file.stem and path.is_dir() and not of:
            continue
        try:
            busy |= _busy(file.read_bytes(), asked)
        except Exception as error:
            # Whatever a file from elsewhere makes the library raise; people have to look.
            raise permanent("CalendarUnreadable", f"{file}: {type(error).__name__}: {error}"[:500]) from error
    return sorted(busy)


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.ics")) if path.is_dir() else [path]
    too_large = [file for file in files if file.is_file() and file.stat().st_size > MAX_BYTES]
    if not files or len(files) > MAX_FILES or too_large or not all(file.is_file() for file in files):
        raise permanent(
            "CalendarUnreadable",
            f"{path} has to be an iCalendar file, or a folder of up to {MAX_FILES} of them, each up to "
            f"{MAX_BYTES:,} bytes",
        )
    return files


def _busy(data: bytes, slots: Mapping[int, Slot]) -> set[int]:
    from icalendar import Calendar

    events = [event for calendar in Calendar.from_ical(data, multiple=True) for event in calendar.walk()]
    # One of a series that was moved or cancelled by itself stands for itself.
    moved: dict[str, set[datetime]] = {}
    for event in events:
        if event.name == "VEVENT" and "RECURRENCE-ID" in event:
            at = _moment(event.decoded("RECURRENCE-ID"), UTC)
            moved.setdefault(str(event.get("UID", "")), set()).add(at)
    busy: set[int] = set()
    for event in events:
        skip = moved.get(str(event.get("UID", "")), set()) if "RECURRENCE-ID" not in event else set()
        for place, slot in slots.items():
            if place not in busy and any(
                start < slot.end and slot.start < end for start, end in _times(event, slot, skip)
            ):
                busy.add(place)
    return busy


def _times(event: Any, slot: Slot, skip: set[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """When `event` takes place around `slot`, where it keeps people busy."""
    if event.name == "VFREEBUSY":
        for period in _listed(event.get("FREEBUSY")):
            if str(period.params.get("FBTYPE", "BUSY")).upper() != "FREE":
                yield _moment(period.start, UTC), _moment(period.end, UTC)
        return
    if event.name != "VEVENT" or "DTSTART" not in event:
        return
    if (
        str(event.get("STATUS", "")).upper() == "CANCELLED"
        or str(event.get("TRANSP", "")).upper() == "TRANSPARENT"
    ):
        return
    zone = ZoneInfo(slot.zone) if slot.zone else slot.start.tzinfo or UTC
    start = event.decoded("DTSTART")
    length = _length(event, start, zone)
    for at in _starts(event, start, slot, zone, length):
        if at.astimezone(UTC) not in skip:
            yield at, at + length


def _length(event: Any, start: date, zone: Any) -> timedelta:
    if "DTEND" in event:
        return _moment(event.decoded("DTEND"), zone) - _moment(start, zone)
    if "DURATION" in event:
        length: timedelta = event.decoded("DURATION")
        return length
    return timedelta(0) if isinstance(start, datetime) else timedelta(days=1)


def _starts(event: Any, start: date, slot: Slot, zone: Any, length: timedelta) -> Iterator[datetime]:
    if "RRULE" not in event and "RDATE" not in event:
        yield _moment(start, zone)
        return
    from dateutil.rrule import rruleset, rrulestr

    first = _moment(start, zone)
    series = rruleset()
    # By the clock on the wall: a weekly meeting at ten is at ten on both sides of a change of clocks.
    wall = first.replace(tzinfo=None)
    for rule in _listed(event.get("RRULE")):
        text = ";".join(f"{key}={_rule_value(key, value, first)}" for key, value in rule.items())
        series.rrule(rrulestr(text, dtstart=wall))
    series.rdate(wall)
    for name, add in (("RDATE", series.rdate), ("EXDATE", series.exdate)):
        for dates in _listed(event.get(name)):
            for each in dates.dts:
                value = each.dt[0] if isinstance(each.dt, tuple) else each.dt
                add(_moment(value, zone).astimezone(first.tzinfo).replace(tzinfo=None))
    end = slot.end.astimezone(first.tzinfo).replace(tzinfo=None)
    begin = end - min(length, LONGEST_EVENT) - timedelta(days=2)
    for number, each in enumerate(series.xafter(begin, inc=True)):
        if each >= end or number >= MAX_REPEATS:
            return
        yield each.replace(tzinfo=first.tzinfo)


def _rule_value(key: str, value: Any, first: datetime) -> str:
    """A part of a rule as text; its end by the clock on the wall."""
    if key.upper() != "UNTIL":
        return str(value.to_ical().decode() if hasattr(value, "to_ical") else ",".join(map(str, value)))
    until = _moment(value[0], first.tzinfo)
    if not isinstance(value[0], datetime):
        until += timedelta(days=1) - timedelta(seconds=1)
    return f"{until.astimezone(first.tzinfo):%Y%m%dT%H%M%S}"


def _moment(value: date, zone: Any) -> datetime:
    """A moment in time; a day begins, and a time without a zone is, in that of the slot."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), zone)
    return value if value.tzinfo is not None else value.replace(tzinfo=zone)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

"""Finds the slots that are taken, according to iCalendar files. When in doubt, no slot counts as free."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from temporalio.exceptions import ApplicationError

from activities.isolated_call import LimitsExceededError, ProcessLimits, run_isolated
from activities.safe_files import PathSkippedError, read_real
from common.agents.recruiter import Slot
from common.errors import permanent

MAX_BYTES = 20_000_000
MAX_FILES = 200
# A full folder of ordinary calendars takes a few seconds. The activity has a minute.
LIMITS = ProcessLimits(memory=2 * 1024**3, cpu_seconds=30, seconds=50.0)
# No real calendar has a series with more occurrences than this before the last slot.
MAX_REPEATS = 200_000
_PER_DAY = {"SECONDLY": 86_400, "MINUTELY": 1_440, "HOURLY": 24}
_TIMES = ("DTSTART", "DTEND", "RECURRENCE-ID", "EXDATE", "RDATE")
_BEGIN = re.compile(rb"(?im)^(?:\xef\xbb\xbf)?BEGIN:VCALENDAR\b")
_WHEN = {None, *_TIMES, "DURATION", "RRULE", "FREEBUSY"}


class UnreadableError(Exception):
    """What is wrong with a calendar; the message does not quote it."""


def busy_slots(path: Path, slots: Mapping[int, Slot]) -> list[int]:
    """The indices of the slots that an event of the calendar at `path` overlaps.

    In a folder, a file named after an address (`ann@example.com.ics`) counts only for the interviewer with
    that address, any other file for all interviewers.

    Raises:
        ApplicationError: type `CalendarUnreadable`: it is missing, or something that says when people are
            busy cannot be read. The message does not quote the file.
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
            busy |= _busy(read_real(file, MAX_BYTES), asked)
        except PathSkippedError as error:
            raise permanent("CalendarUnreadable", f"{file} cannot be read: {error.reason}") from None
        except UnreadableError as error:
            raise permanent("CalendarUnreadable", f"{file}: {error}") from None
        except Exception as error:
            # A foreign file may make the library raise anything. Drop the message and the cause: they may
            # quote the file, which may contain anything.
            name = type(error).__name__
            raise permanent("CalendarUnreadable", f"{file} cannot be read as a calendar: {name}") from None
    return sorted(busy)


def busy_slots_apart(path: Path, slots: Mapping[int, Slot], beat: Callable[[], None]) -> list[int]:
    """`busy_slots` in a process with limits, because a short rule may repeat for thousands of years."""
    if not slots:
        return []
    request = {
        "path": str(path),
        "slots": {place: slot.model_dump(mode="json") for place, slot in slots.items()},
    }
    try:
        said = run_isolated(answer, request, LIMITS, beat)
    except LimitsExceededError as error:
        raise permanent("CalendarUnreadable", f"{path} went over the limits of a calendar: {error}") from None
    if "error" in said:
        raise permanent("CalendarUnreadable", said["error"])
    return list(said["busy"])


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`busy_slots` with JSON values; `error` says why a calendar is unreadable."""
    slots = {int(place): Slot.model_validate(slot) for place, slot in request["slots"].items()}
    try:
        return {"busy": busy_slots(Path(request["path"]), slots)}
    except ApplicationError as error:
        return {"error": error.message}


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

    zones: dict[tzinfo, dict[int, Slot]] = {}
    for place, slot in slots.items():
        zone = ZoneInfo(slot.zone) if slot.zone else slot.start.tzinfo or UTC
        zones.setdefault(zone, {})[place] = slot
    busy: set[int] = set()
    for zone, here in zones.items():
        first = min(slot.start for slot in here.values()).astimezone(zone)
        last = max(slot.end for slot in here.values()).astimezone(zone)
        calendars = Calendar.from_ical(data, multiple=True)
        if not calendars or len(calendars) != len(_BEGIN.findall(data)):
            raise UnreadableError("it is no iCalendar file, or is cut off")
        for start, end in (each for calendar in calendars for each in _times(calendar, first, last, zone)):
            busy |= {place for place, slot in here.items() if start < slot.end and slot.start < end}
    return busy


def _times(
    calendar: Any, first: datetime, last: datetime, zone: tzinfo
) -> Iterator[tuple[datetime, datetime]]:
    """The busy times in `calendar`: all that overlap `first` to `last`, and perhaps others."""
    import recurring_ical_events

    for periods in (_listed(each.get("FREEBUSY")) for each in calendar.walk("VFREEBUSY")):
        for period in periods:
            if str(period.params.get("FBTYPE", "BUSY")).upper() != "FREE":
                yield _moment(period.start, UTC), _moment(period.end, UTC)
    events = calendar.walk("VEVENT")
    # The library looks back by an event's duration but ignores that of periods in RDATE, so start earlier.
    longest = max((_prepare(event, last, zone) for event in events), default=timedelta(0))
    _tell_series_apart(events)
    for event in recurring_ical_events.of(calendar).between(first - longest, last):
        status, shown = (str(event.get(name, "")).upper() for name in ("STATUS", "TRANSP"))
        if status != "CANCELLED" and shown != "TRANSPARENT":
            yield _moment(event["DTSTART"].dt, zone), _moment(event["DTEND"].dt, zone)


def _prepare(event: Any, last: datetime, zone: tzinfo) -> timedelta:
    """Check the times of `event`, and give its local times a zone.

    Returns:
        The duration of the longest period that it lists with its own end.
    """
    if "DTSTART" not in event or any(name in _WHEN for name, _ in event.errors):
        raise UnreadableError("it does not say clearly when one of its events takes place")
    periods = [timedelta(0)]
    for value in (each for name in _TIMES for each in _listed(event.get(name))):
        for each in getattr(value, "dts", [value]):
            ends = each.dt if isinstance(each.dt, tuple) else (each.dt,)
            if "TZID" in value.params and any(isinstance(end, datetime) and not end.tzinfo for end in ends):
                raise UnreadableError("it names a time zone that it does not define")
            ends = tuple(_moment(end, zone) if isinstance(end, datetime) else end for end in ends)
            each.dt = ends if len(ends) == 2 else ends[0]
            if len(ends) == 2:
                periods.append(ends[1] if isinstance(ends[1], timedelta) else ends[1] - ends[0])
    start = event["DTSTART"].dt
    if "DTEND" in event and not isinstance(start, datetime) and event["DTEND"].dt <= start:
        event["DTEND"].dt = start + timedelta(days=1)  # the same day as start and end means the whole day
    for rule in _listed(event.get("RRULE")):
        _check_rule(rule, event["DTSTART"].dt, last, zone)
    return max(periods)


def _check_rule(rule: Any, start: date, last: datetime, zone: tzinfo) -> None:
    if "FREQ" not in rule or min(map(int, rule.get("INTERVAL", [1]))) < 1:
        raise UnreadableError("one of its events repeats by a rule that cannot be read")
    scale, skip = ("".join(rule.get(name, "")).upper() for name in ("RSCALE", "SKIP"))
    if scale == "GREGORIAN" and skip in ("", "OMIT"):
        # These name the default calendar, which the library does not know by name.
        for name in ("RSCALE", "SKIP"):
            rule.pop(name, None)
    per_day = _PER_DAY.get(str(rule["FREQ"][0]).upper(), 1)
    per_day *= math.prod(len(rule.get(name, [1])) for name in ("BYHOUR", "BYMINUTE", "BYSECOND"))
    if (last - _moment(start, zone)).days * per_day > MAX_REPEATS:
        raise UnreadableError(f"one of its events repeats over {MAX_REPEATS:,} times")
    # UNTIL includes its whole day and is in the event's time zone; the library assumes UTC.
    for until in _listed(rule.get("UNTIL"))[:1]:
        if isinstance(start, datetime):
            end = until if isinstance(until, datetime) else datetime.combine(until, time.max)
            rule["UNTIL"] = [_moment(end, start.tzinfo).astimezone(UTC)]
        else:
            rule["UNTIL"] = [_moment(until, zone).astimezone(zone).date()]


def _tell_series_apart(events: list[Any]) -> None:
    """Give each series its own UID: the library takes two with the same UID for versions, and drops one."""
    uids: set[str] = set()
    for event in events:
        if "UID" in event and "RECURRENCE-ID" not in event:
            if event["UID"] in uids:
                event["UID"] = f"{event['UID']} {len(uids)}"
            uids.add(event["UID"])
    for event in events:
        changed = event["RECURRENCE-ID"].params if "RECURRENCE-ID" in event else {}
        if "RANGE" in changed:
            if changed["RANGE"].upper() != "THISANDFUTURE" or event.get("UID") not in uids:
                raise UnreadableError("it changes a series that it does not hold, or in a way of its own")
            changed["RANGE"] = "THISANDFUTURE"


def _moment(value: date, zone: tzinfo | None) -> datetime:
    """`value` as a moment: a day becomes its start in `zone`; a time without a zone is in `zone`."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), zone)
    return value if value.tzinfo is not None else value.replace(tzinfo=zone)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) and not hasattr(value, "dts") else [value]

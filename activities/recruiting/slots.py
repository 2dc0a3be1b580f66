"""Slots for interviews, shared out among the candidates who wait for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

from activities.recruiting.candidacy import PROPOSED_AT_ONCE, Course, Stage
from common.agents.recruiter import Slot

# A slot that begins sooner is not proposed.
LEAD = timedelta(hours=1)


class Shares(BaseModel, frozen=True):
    """Which slots to propose to whom, by their places; and who is left without any."""

    proposals: dict[str, tuple[int, ...]]
    stranded: tuple[str, ...]


def share_out(
    courses: dict[str, Course], slots: Sequence[Slot], busy: Iterable[int], now: datetime
) -> Shares:
    """Share the free slots out among those who wait, best candidates first; no slot goes to two.

    Args:
        courses: by candidate, in the order of the ranking.
        slots: all there are.
        busy: the places of those that a calendar says are taken.
        now: the time; what begins within the hour is not proposed.
    """
    waiting = [name for name, course in courses.items() if course.stage is Stage.WAITING]
    held = {place for course in courses.values() for place in course.holds if not course.over}
    # An interview that has begun stays in its slot, which nobody waits for to become free.
    gone = {*busy, *(course.slot for course in courses.values() if course.stage is Stage.INTERVIEW)}
    usable = [
        place
        for place in sorted(range(len(slots)), key=lambda place: (slots[place].start, place))
        if slots[place].start > now + LEAD and place not in gone
    ]
    free = [place for place in usable if place not in held]
    proposals: dict[str, tuple[int, ...]] = {}
    stranded = []
    for number, name in enumerate(waiting):
        share = max(1, min(PROPOSED_AT_ONCE, len(free) // (len(waiting) - number)))
        places = [place for place in free if place not in courses[name].seen][:share]
        if places:
            proposals[name] = tuple(places)
            free = [place for place in free if place not in places]
            held |= set(places)
        elif not any(place in held and place not in courses[name].seen for place in usable):
            stranded.append(name)
    return Shares(proposals=proposals, stranded=tuple(stranded))

"""Distributes interview slots among the candidates who wait for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

from activities.recruiting.candidacy import PROPOSED_AT_ONCE, Candidacy, Stage
from common.agents.recruiter import Slot

# A slot that begins within this time is not offered.
LEAD = timedelta(hours=1)


class Shares(BaseModel, frozen=True):
    """The slots to offer to each candidate, by index, and the candidates for whom none is left."""

    proposals: dict[str, tuple[int, ...]]
    stranded: tuple[str, ...]


def share_out(
    courses: dict[str, Candidacy], slots: Sequence[Slot], busy: Iterable[int], now: datetime
) -> Shares:
    """Distribute the free slots among those who wait, best candidates first; no slot is offered twice.

    Args:
        courses: the candidacies by candidate, in the order of the ranking.
        slots: all slots.
        busy: the indices of the slots that are taken in a calendar.
        now: the time; a slot that begins within the hour is not offered.
    """
    waiting = [name for name, candidacy in courses.items() if candidacy.stage is Stage.WAITING]
    held = {place for candidacy in courses.values() for place in candidacy.holds if not candidacy.over}
    # The slot of an interview that has begun never becomes free again, so nobody waits for it.
    gone = {*busy, *(candidacy.slot for candidacy in courses.values() if candidacy.stage is Stage.INTERVIEW)}
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

"""Distributes interview slots among the candidates who wait for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

from activities.recruiting.candidacy import PROPOSED_AT_ONCE, Candidacy, Stage
from common.agents.recruiter import Slot

# A slot that begins within this time is not offered.
LEAD = timedelta(hours=1)


class SlotOffers(BaseModel, frozen=True):
    """The slots to offer to each candidate, by index, and the candidates for whom none is left."""

    proposals: dict[str, tuple[int, ...]]
    without_slot: tuple[str, ...]


def distribute_slots(
    candidacies: dict[str, Candidacy], slots: Sequence[Slot], busy: Iterable[int], now: datetime
) -> SlotOffers:
    """Distribute the free slots among those who wait, best candidates first; no slot is offered twice.

    Args:
        candidacies: the candidacies by candidate, in the order of the ranking.
        slots: all slots.
        busy: the indices of the slots that are taken in a calendar.
        now: the time; a slot that begins within the hour is not offered.
    """
    waiting = [name for name, candidacy in candidacies.items() if candidacy.stage is Stage.WAITING]
    held = {index for candidacy in candidacies.values() for index in candidacy.holds if not candidacy.over}
    # The slot of an interview that has begun never becomes free again, so nobody waits for it.
    begun = (each.slot for each in candidacies.values() if each.stage is Stage.INTERVIEW)
    gone = {*busy, *begun}
    usable = [
        index
        for index in sorted(range(len(slots)), key=lambda index: (slots[index].start, index))
        if slots[index].start > now + LEAD and index not in gone
    ]
    free = [index for index in usable if index not in held]
    proposals: dict[str, tuple[int, ...]] = {}
    without_slot = []
    for number, name in enumerate(waiting):
        count = max(1, min(PROPOSED_AT_ONCE, len(free) // (len(waiting) - number)))
        indices = [index for index in free if index not in candidacies[name].seen][:count]
        if indices:
            proposals[name] = tuple(indices)
            free = [index for index in free if index not in indices]
            held |= set(indices)
        elif not any(index in held and index not in candidacies[name].seen for index in usable):
            without_slot.append(name)
    return SlotOffers(proposals=proposals, without_slot=tuple(without_slot))

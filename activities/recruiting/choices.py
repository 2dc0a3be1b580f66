"""The answers that candidates can give with links in a letter, at each stage. Pure rules.

A choice's name says what it stands for, not its position in a letter: a slot is named by its index in the
agent's input, another time by the proposal it declines. So a link in an old letter cannot mean a newer offer.
"""

from __future__ import annotations

from collections.abc import Sequence

from activities.recruiting.candidacy import Candidacy, MailReading, Says, Stage
from common.agents.recruiter import Slot
from common.mail import Choice

YES, NO, SLOT, OTHER, MOVE = "yes", "no", "slot", "other", "move"


def interested() -> tuple[Choice, ...]:
    """The choices of a letter that asks whether the candidate is interested."""
    return Choice(name=YES, label="Yes, I am interested"), Choice(name=NO, label="No, I am not interested")


def times(places: Sequence[int], proposal: int, slots: Sequence[Slot]) -> tuple[Choice, ...]:
    """The choices of the candidate's `proposal`-th proposal, which offers the slots with these indices."""
    offered = [Choice(name=f"{SLOT}-{place}", label=slots[place].in_words) for place in places]
    return *offered, Choice(name=f"{OTHER}-{proposal}", label="None of these times; another one"), _withdraw()


def invited(invitation: int) -> tuple[Choice, ...]:
    """The choices of the candidate's `invitation`-th invitation."""
    return Choice(name=f"{MOVE}-{invitation}", label="I cannot come then; another time"), _withdraw()


def on_offer(candidacy: Candidacy, slots: Sequence[Slot]) -> tuple[Choice, ...]:
    """What the candidate can choose now; while a person is answering, what they could choose before that."""
    stage = candidacy.back if candidacy.stage is Stage.WITH_HUMAN else candidacy.stage
    match stage:
        case Stage.ASKED | Stage.SILENT:
            return interested()
        case Stage.PROPOSED:
            return times(candidacy.offered, candidacy.proposals, slots)
        case Stage.CHOSEN:
            return Choice(name=f"{OTHER}-{candidacy.proposals}", label="Another time"), _withdraw()
        case Stage.INVITED:
            return invited(candidacy.invitations)
        case Stage.WAITING:
            return (_withdraw(),)
        case _:
            return ()


def reading_of_choice(name: str, candidacy: Candidacy) -> MailReading:
    """The reading that a choice on offer stands for."""
    kind, _, number = name.partition("-")
    if kind == SLOT:
        return MailReading(says=Says.SLOT, slot=candidacy.offered.index(int(number)) + 1)
    return MailReading(says={YES: Says.YES, NO: Says.NO}.get(kind, Says.OTHER_TIME))


def _withdraw() -> Choice:
    return Choice(name=NO, label="I am not interested any more")

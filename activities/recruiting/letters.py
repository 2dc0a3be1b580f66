"""The texts of the recruiter's letters, and how they are stored. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import BaseModel

from activities.recruiting.candidacy import PROPOSED_AT_ONCE
from activities.recruiting.records import DraftLetters, InvitationDraft, LetterKind, Outgoing
from common.agents.recruiter import Candidate, Slot
from common.grammar import in_words

OPENING = (
    "we are looking for somebody for the position “{title}”, and your profile made us think that this could "
    "interest you."
)
HOLDING = (
    "thank you for your message. I am looking into it, and will come back to you with an answer shortly."
)


class WrittenLetter(BaseModel, frozen=True):
    """A recipient and the letters to them."""

    to: str
    name: str
    subject: str
    first: str
    follow_up: str


class LetterBook(BaseModel, frozen=True):
    """All letters that one approval covers; proposals lack only their times."""

    sender: str
    title: str
    answer_within: timedelta
    letters: dict[str, WrittenLetter]
    slots: tuple[Slot, ...]

    def compose(self, outgoing: Outgoing) -> tuple[str, str]:
        """The subject and text of one of the letters.

        Raises:
            KeyError: no such candidate.
            IndexError: no such slot.
            ValueError: a proposal without slots, or slots in any other letter.
        """
        letter = self.letters[outgoing.candidate]
        if bool(outgoing.slots) != (outgoing.kind is LetterKind.PROPOSAL):
            raise ValueError("a proposal names slots, and no other letter does")
        match outgoing.kind:
            case LetterKind.FIRST:
                return letter.subject, letter.first
            case LetterKind.FOLLOW_UP:
                return f"Re: {letter.subject}", letter.follow_up
            case LetterKind.PROPOSAL:
                text = self.proposal(letter.name, [self.slots[place] for place in outgoing.slots])
                return f"Re: {letter.subject}", text

    def proposal(self, name: str, slots: Sequence[Slot]) -> str:
        """A letter that proposes times."""
        times = "\n".join(f"{number}. {slot.in_words}" for number, slot in enumerate(slots, 1))
        which = "If it suits you, please answer “1”." if len(slots) == 1 else "Please answer with its number."
        return (
            f"Hello {name},\n\nthank you for your answer. For a conversation about “{self.title}” we can "
            f"offer "
            f"you:\n\n{times}\n\n{which} If none suits you, say so, and we will look for another time. We "
            f"keep these times for you for {in_words(self.answer_within)}.\n\n{ending(self.sender)}"
        )


def book_of(request: DraftLetters) -> LetterBook:
    """All letters of the request."""
    return LetterBook(
        sender=request.sender,
        title=request.role.title,
        answer_within=request.answer_within,
        letters={each.id: _written(each, request) for each in request.candidates},
        slots=request.slots,
    )


def _written(candidate: Candidate, request: DraftLetters) -> WrittenLetter:
    asked = "\n".join(f"{number}. {question}" for number, question in enumerate(request.questions, 1))
    questions = f"If it does, please tell us in your answer:\n\n{asked}\n\n" if asked else ""
    next_step = (
        "we will propose times for a conversation" if request.slots else "we will get in touch with you"
    )
    return WrittenLetter(
        to=candidate.email,
        name=candidate.name,
        subject=request.role.title,
        first=(
            f"Hello {candidate.name},\n\n{request.opening}\n\n{questions}A short yes is enough for us to go "
            f"on: "
            f"{next_step}. If it is not for you, a short no helps us just as "
            f"much.\n\n{ending(request.sender)}"
        ),
        follow_up=(
            f"Hello {candidate.name},\n\na few days ago we wrote to you about the position "
            f"“{request.role.title}”, and have not heard from you. May we ask whether it interests you? A "
            "short yes or no is enough. We will not write again unless you answer.\n\n"
            f"{ending(request.sender)}"
        ),
    )


def invitation_text(role: str, sender: str, draft: InvitationDraft) -> str:
    """The text of the mail that carries an invitation."""
    place = f"\nWhere: {draft.slot.place}" if draft.slot.place else ""
    return (
        f"Hello {draft.candidate.name},\n\nthis is the invitation to a conversation about “{role}”:\n\n"
        f"When: {draft.slot.in_words}{place}\n\nIf you cannot come after all, please answer this mail.\n\n"
        f"{ending(sender)}"
    )


def reply_text(name: str, sender: str, body: str) -> str:
    """A reply to what a candidate wrote."""
    return f"Hello {name},\n\n{body}\n\n{ending(sender)}"


def ending(sender: str) -> str:
    """The closing of every letter."""
    return f"Kind regards\n{sender}"


def sample_slots(slots: Sequence[Slot]) -> Sequence[Slot]:
    """The slots named in a sample proposal."""
    return slots[:PROPOSED_AT_ONCE]

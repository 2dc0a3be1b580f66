"""A candidacy: its stage, and the transitions on answers and due times. Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from common.agents.recruiter import Slot

# How often automatic replies may postpone a deadline, and by how much at most.
MAX_MOVES = 3
LONGEST_ABSENCE = timedelta(days=60)
# A candidate who wants another time gets a second proposal; after that, a person takes a look.
MAX_PROPOSALS = 2
PROPOSED_AT_ONCE = 3
MAX_EXCERPT = 200
MAX_WRITTEN = 1_500


class Stage(StrEnum):
    """The stages of a candidacy. From `INTERVIEW` on, they are final."""

    LISTED = "listed"
    ASKED = "asked"
    WAITING = "waiting_for_a_slot"
    PROPOSED = "slots_proposed"
    CHOSEN = "slot_chosen"
    WITH_HUMAN = "with_a_human"
    INVITED = "invited"
    INTERVIEW = "interview"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    NO_SLOT = "no_slot_left"
    LEFT_TO_HUMAN = "left_to_a_human"
    NOT_WRITTEN = "not_written_to"


ENDS = frozenset(list(Stage)[list(Stage).index(Stage.INTERVIEW) :])


class Says(StrEnum):
    """What a mail can be taken to say; there is nothing else it can come to."""

    YES = "yes"
    NO = "no"
    SLOT = "slot"
    OTHER_TIME = "other_time"
    QUESTION = "question"
    OUT_OF_OFFICE = "out_of_office"
    BOUNCE = "bounce"
    UNCLEAR = "unclear"


class MailReading(BaseModel, frozen=True):
    """How a mail was understood. `slot` is the number of a proposed slot, from 1; 0 is none."""

    says: Says
    slot: int = Field(0, ge=0, le=PROPOSED_AT_ONCE)
    back_at: AwareDatetime | None = None


class JudgedReading(MailReading, frozen=True):
    """A reading after a check against the rules. `read_as`: a language model's reading, for a person who has
    to read the mail.
    """

    read_as: str = ""


class Happened(BaseModel, frozen=True):
    """One event of a candidacy. `told` may be a candidate's text, so it is untrusted."""

    at: AwareDatetime
    what: str
    told: str = ""


class Candidacy(BaseModel):
    """One candidate's progress, kept small: a thousand candidacies are carried over together.

    Slots are given by their index in the agent's input.

    Attributes:
        due: when to act without mail: follow up, give up, or consider the interview begun.
        offered: the slots held for the candidate; they are offered to nobody else meanwhile.
        seen: the slots that the candidate did not want, or that are gone.
        slot: the chosen slot.
        back: the stage to return to once a person has answered the candidate.
        wrote: the candidate's text that a person has to answer.
        read_as: a language model's reading of that text; empty without one.
        person_asked: the last letter was written by a person, not one of ours.
        last: Message-ID of the last mail, to keep the thread together.
    """

    stage: Stage = Stage.LISTED
    due: AwareDatetime | None = None
    followed_up: bool = False
    offered: tuple[int, ...] = ()
    seen: tuple[int, ...] = ()
    slot: int | None = None
    proposals: int = 0
    invitations: int = 0
    replies: int = 0
    moves: int = 0
    back: Stage | None = None
    wrote: str = ""
    read_as: str = ""
    person_asked: bool = False
    last: str = ""
    happened: list[Happened] = Field(default_factory=list)

    def waits_for(self, slot: int) -> bool:
        """Whether the candidate has chosen this slot and has not been invited to it yet."""
        return self.stage is Stage.CHOSEN and self.slot == slot

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in handler(self).items()
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }

    @property
    def over(self) -> bool:
        """Whether nothing remains to be done."""
        return self.stage in ENDS

    @property
    def holds(self) -> tuple[int, ...]:
        """The slots reserved for this candidate."""
        return self.offered + (() if self.slot is None else (self.slot,))

    def note(self, at: datetime, what: str, told: str = "") -> None:
        """Record what happened. Only the last 30 lines are kept, as candidates may write any amount."""
        line = Happened(at=at.replace(microsecond=0), what=what, told=" ".join(told.split())[:MAX_EXCERPT])
        self.happened = [*self.happened, line][-30:]

    def end(self, stage: Stage) -> None:
        """Go to a final stage and release all slots, except the one of an interview."""
        self.stage, self.due, self.back, self.wrote, self.read_as = stage, None, None, "", ""
        self.offered = ()
        if stage is not Stage.INTERVIEW:
            self.slot = None

    def apply(
        self, reading: MailReading, text: str, now: datetime, within: timedelta, *, slots: Sequence[Slot]
    ) -> str:
        """Apply an answer; `text` is untrusted and only stored.

        Returns:
            What people should be told, in words; empty if nothing is unusual.
        """
        self.note(now, reading.says, text)
        if reading.says is Says.BOUNCE:
            return self._bounced()
        if reading.says is Says.OUT_OF_OFFICE:
            return self._move(reading.back_at or now, now, within)
        if self.stage is Stage.SILENT:
            # A late answer still counts while the agent is running.
            self.stage, self.due = Stage.ASKED, now + within
        elif self.over:
            return self._after_the_end(reading.says)
        if reading.says is Says.NO:
            return self._declined()
        is_clear = reading.says in (Says.YES, Says.SLOT, Says.OTHER_TIME)
        if is_clear and self.stage is Stage.WITH_HUMAN and self.back in (Stage.ASKED, Stage.PROPOSED):
            self._resume()
        if self._goes_on(reading, slots):
            return "said yes; there are no slots to propose" if self.stage is Stage.ACCEPTED else ""
        self.ask_human(text)
        if isinstance(reading, JudgedReading):
            self.read_as = reading.read_as
        return ""

    def _goes_on(self, reading: MailReading, slots: Sequence[Slot]) -> bool:
        """Act on a clear answer; False if a person has to look."""
        match self.stage, reading.says:
            case Stage.ASKED, Says.YES:
                if slots:
                    self.queue()
                else:
                    self.end(Stage.ACCEPTED)
            case Stage.ASKED, Says.OTHER_TIME if slots:
                self.queue()
            case Stage.PROPOSED, Says.YES if len(self.offered) == 1:
                self._choose(self.offered[0], slots)
            case Stage.PROPOSED, Says.SLOT if 1 <= reading.slot <= len(self.offered):
                self._choose(self.offered[reading.slot - 1], slots)
            case Stage.PROPOSED, Says.OTHER_TIME if self.proposals < MAX_PROPOSALS:
                self.queue()
            case Stage.CHOSEN, Says.OTHER_TIME:
                self.queue()
            case ((Stage.WAITING | Stage.CHOSEN | Stage.INVITED), Says.YES):
                pass  # thanks
            case Stage.WAITING, Says.OTHER_TIME:
                pass  # a proposal is coming anyway
            case _:
                return False
        return True

    def ask_human(self, text: str, back: Stage | None = None) -> None:
        """Have a person answer; the candidacy then returns to its stage, or to `back`."""
        if self.stage is not Stage.WITH_HUMAN:
            self.back = back or self.stage
            self.stage, self.due = Stage.WITH_HUMAN, None
        self.wrote = f"{self.wrote}\n\n{text}".strip()[-MAX_WRITTEN:]

    def answered(self, now: datetime, within: timedelta, slots: Sequence[Slot]) -> None:
        """A person's reply was sent: return to the previous stage."""
        stage = self.back or Stage.LEFT_TO_HUMAN
        self.replies += 1
        if stage in ENDS:
            self.end(stage)
            return
        self._resume()
        self.person_asked = True
        if stage in (Stage.ASKED, Stage.PROPOSED):
            self.due = _minute(now + within)
        elif stage in (Stage.CHOSEN, Stage.INVITED) and self.slot is not None:
            self.due = slots[self.slot].start

    def leave_to_human(self, slots: Sequence[Slot]) -> None:
        """A person takes over; an invitation already sent remains valid."""
        if self.back is Stage.INVITED and self.slot is not None:
            self._resume()
            self.due = slots[self.slot].start
        else:
            self.end(Stage.LEFT_TO_HUMAN)

    def asked(self, now: datetime, within: timedelta) -> None:
        """The first letter was sent."""
        self.stage, self.due = Stage.ASKED, _minute(now + within)
        self.person_asked = False

    def reminded(self, now: datetime, within: timedelta) -> None:
        """The only follow-up was sent."""
        self.followed_up, self.due = True, _minute(now + within)
        self.person_asked = False

    def proposed(self, indices: Sequence[int], now: datetime, within: timedelta) -> None:
        """A letter offering these slots was sent; they are now held."""
        self.stage, self.offered, self.due = Stage.PROPOSED, tuple(indices), _minute(now + within)
        self.proposals += 1
        self.person_asked = False

    def invited(self, slots: Sequence[Slot]) -> None:
        """The invitation was sent; the candidate may still withdraw until the interview begins."""
        assert self.slot is not None
        self.stage, self.due = Stage.INVITED, slots[self.slot].start
        self.invitations += 1
        self.person_asked = False

    def queue(self) -> None:
        """Wait for slots; release those held, and do not offer them to this candidate again."""
        self.seen = tuple(dict.fromkeys((*self.seen, *self.holds)))
        self.stage, self.slot, self.offered, self.due = Stage.WAITING, None, (), None

    def _resume(self) -> None:
        """Return from a person to the previous stage."""
        assert self.back is not None
        self.stage, self.back, self.wrote, self.read_as = self.back, None, "", ""

    def _choose(self, slot: int, slots: Sequence[Slot]) -> None:
        # Due when the slot begins: if the invitation is not approved by then, it is too late.
        self.stage, self.slot, self.offered, self.due = Stage.CHOSEN, slot, (), slots[slot].start

    def _bounced(self) -> str:
        if self.over:
            return ""
        was_invited = self.invitations > 0
        self.end(Stage.UNREACHABLE)
        return "an invitation did not arrive" if was_invited else "cannot be reached by mail"

    def _declined(self) -> str:
        invited = Stage.INVITED in (self.stage, self.back)
        self.end(Stage.WITHDRAWN if invited else Stage.DECLINED)
        return "withdrew after the invitation; tell the interviewer" if invited else ""

    def _move(self, back_at: datetime, now: datetime, within: timedelta) -> str:
        """Postpone the deadline until the candidate is back. Limited: automatic replies may say anything."""
        if self.stage in (Stage.ASKED, Stage.PROPOSED) and self.due and self.moves < MAX_MOVES:
            self.moves += 1
            back_at = min(max(back_at, now), now + LONGEST_ABSENCE)
            self.due = max(self.due, _minute(back_at + within))
        return ""

    def _after_the_end(self, says: Says) -> str:
        ended = self.stage
        if says is Says.NO and ended in (Stage.INTERVIEW, Stage.ACCEPTED):
            self.end(Stage.WITHDRAWN)
            return "withdrew after they had said yes"
        return "" if says is Says.NO else f"wrote again ({says}), already {ended}"


def _minute(at: datetime) -> datetime:
    """The next full minute, so that candidacies due at about the same time are handled in one round."""
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1)

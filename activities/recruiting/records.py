"""What crosses the seam to the recruiter's activities: requests and results. Light to import."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, Field

from activities.recruiting.candidacy import Course
from common.agents.recruiter import Candidate, InvitationPlan, OutreachPlan, ReplyPlan, Role, Slot
from common.approval.types import Authorization
from common.artifacts import ArtifactRef
from common.mail import Sent


class RankRequest(BaseModel, frozen=True):
    """Rank these candidates by the role; their files lie below `profiles`."""

    role: Role
    candidates: tuple[Candidate, ...]
    profiles: str = ""


class Reason(BaseModel, frozen=True):
    """Why a candidate fits: words of the stripped profile, which stand there from `start` to `end`.

    `about` is what of the role they fit; `must` whether it has to be there.
    """

    about: str
    must: bool
    quote: str
    start: int
    end: int


class Ranked(BaseModel, frozen=True):
    """A candidate in the ranking: what of the role the profile tells, what of it is missing.

    `words` is what a language model says of the fit, empty where none did. `unread` says why there is no
    profile, empty where there is one.
    """

    id: str
    name: str
    musts: int
    nices: int
    reasons: tuple[Reason, ...]
    missing: tuple[str, ...]
    words: str = ""
    unread: str = ""


class Ranking(BaseModel, frozen=True):
    """All candidates, best first; `removed` counts what was taken out of the profiles before, by category."""

    role: Role
    model: str
    candidates: tuple[Ranked, ...]
    removed: dict[str, int]


class RankingDone(BaseModel, frozen=True):
    """The ranking as stored bytes, and what of it an agent needs: the ids, best first."""

    ranking: ArtifactRef
    order: tuple[str, ...]
    removed: dict[str, int]
    unread: int
    model: str


class DraftLetters(BaseModel, frozen=True):
    """Draft the letters to these candidates, in this order."""

    role: Role
    candidates: tuple[Candidate, ...]
    questions: tuple[str, ...]
    slots: tuple[Slot, ...]
    answer_within: timedelta
    sender: str
    opening: str
    model: str


class DraftedLetters(BaseModel, frozen=True):
    """The plan to ask about, and the path of a text with every letter, for people to read."""

    plan: OutreachPlan
    path: str


class LetterKind(StrEnum):
    """The letters that the first approval covers."""

    FIRST = "first"
    FOLLOW_UP = "follow_up"
    PROPOSAL = "proposal"


class Outgoing(BaseModel, frozen=True):
    """One of the approved letters, to go out now. `slots` are the places of those that a proposal names.

    `number` tells several of one kind apart; with the candidate and the kind it makes the letter's key.
    """

    candidate: str
    kind: LetterKind
    slots: tuple[int, ...] = ()
    number: int = 1
    in_reply_to: str = ""


class SendOutreach(BaseModel, frozen=True):
    """Send these of the plan's letters, on the word of `authorization`."""

    plan: OutreachPlan
    letters: tuple[Outgoing, ...] = Field(max_length=200)
    authorization: Authorization | None = None


class SendInvitations(BaseModel, frozen=True):
    """Send the plan's invitations to the candidates in `only`, on the word of `authorization`."""

    plan: InvitationPlan
    only: tuple[str, ...] = ()
    authorization: Authorization | None = None


class SendReply(BaseModel, frozen=True):
    """Send the plan's reply, on the word of `authorization`."""

    plan: ReplyPlan
    authorization: Authorization | None = None


class SentLetters(BaseModel, frozen=True):
    """What became of letters, by candidate."""

    sent: dict[str, Sent]


class CalendarRequest(BaseModel, frozen=True):
    """Asks which of the slots are free by the calendar at this path; empty for none."""

    calendar: str = ""
    slots: dict[int, Slot]


class BusySlots(BaseModel, frozen=True):
    """The places of the slots that are taken."""

    busy: tuple[int, ...]


class InvitationDraft(BaseModel, frozen=True):
    """Whom to invite to which slot. `number` counts the invitations this candidate has had before."""

    candidate: Candidate
    place: int
    slot: Slot
    number: int = 0
    in_reply_to: str = ""


class DraftInvitations(BaseModel, frozen=True):
    """Draft invitations; `now` is the agent's time, which stands in them."""

    role: str
    sender: str
    now: AwareDatetime
    drafts: tuple[InvitationDraft, ...]


class ReportRequest(BaseModel, frozen=True):
    """What the report is made of: the ranking, and the course of each candidate."""

    ranking: ArtifactRef
    courses: dict[str, Course]
    slots: tuple[Slot, ...]
    model: str
    outcome: str
    decision: str
    now: AwareDatetime


class ReportWritten(BaseModel, frozen=True):
    """The paths of the report."""

    markdown: str
    html: str

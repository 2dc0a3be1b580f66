"""Requests and results of the recruiter's activities. Cheap to import."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, Field

from activities.recruiting.candidacy import Candidacy
from common.agents.agent import Cost
from common.agents.fields import PathOrAddress
from common.agents.recruiter import Candidate, InvitationPlan, OutreachPlan, ReplyPlan, Role, Slot
from common.approval.types import Authorization
from common.artifacts import ArtifactRef
from common.mail import Choice, Sent


class RankRequest(BaseModel, frozen=True):
    """Asks to rank these candidates for the role; their files are below the folder `profiles`."""

    role: Role
    candidates: tuple[Candidate, ...]
    profiles: PathOrAddress = ""


class Reason(BaseModel, frozen=True):
    """Why a candidate fits: words of the stripped profile, from character `start` to `end`.

    `about` is the requirement that they meet; `must`: it is a must-have.
    """

    about: str
    must: bool
    quote: str
    start: int
    end: int


class Ranked(BaseModel, frozen=True):
    """A candidate in the ranking: how many requirements the profile meets, and which must-haves are missing.

    `words` is a language model's comment, empty without one. `unread` says why there is no profile; empty if
    there is one.
    """

    id: str
    name: str
    musts: int
    nices: int
    reasons: tuple[Reason, ...]
    missing: tuple[str, ...]
    words: str = ""
    unread: str = ""


class CandidateRanking(BaseModel, frozen=True):
    """All candidates, best first; `removed` counts what was removed from the profiles, by category."""

    role: Role
    model: str
    candidates: tuple[Ranked, ...]
    removed: dict[str, int]


class RankingDone(BaseModel, frozen=True):
    """The stored ranking, and what the agent needs of it: the ids, best first, and why it may mean little."""

    ranking: ArtifactRef
    order: tuple[str, ...]
    removed: dict[str, int]
    unread: int
    weak: str = ""
    model: str
    cost: Cost = Field(default_factory=Cost)
    note: str = ""


class DraftLetters(BaseModel, frozen=True):
    """Asks to draft letters to these candidates, in this order."""

    role: Role
    candidates: tuple[Candidate, ...]
    questions: tuple[str, ...]
    slots: tuple[Slot, ...]
    answer_within: timedelta
    sender: str
    opening: str
    model: str


class DraftedLetters(BaseModel, frozen=True):
    """The plan to ask about, and the name of the agent's file with all letters, for people to read."""

    plan: OutreachPlan
    path: str


class LetterKind(StrEnum):
    """The letters that the first approval covers."""

    FIRST = "first"
    FOLLOW_UP = "follow_up"
    PROPOSAL = "proposal"


class Outgoing(BaseModel, frozen=True):
    """One of the approved letters, to be sent now. `slots` are the indices of the slots a proposal offers.

    `number` tells letters of the same kind apart; with candidate and kind, it forms the letter's key.
    `choices` are the answers that it offers as links.
    """

    candidate: str
    kind: LetterKind
    slots: tuple[int, ...] = ()
    number: int = 1
    in_reply_to: str = ""
    choices: tuple[Choice, ...] = ()


class SendOutreach(BaseModel, frozen=True):
    """Asks to send these letters of the plan, as `authorization` allows. `chain`: see `Letter`."""

    plan: OutreachPlan
    letters: tuple[Outgoing, ...] = Field(max_length=200)
    chain: str
    authorization: Authorization | None = None


class SendInvitations(BaseModel, frozen=True):
    """Asks to send the plan's invitations, as `authorization` allows; without `only`, all of them."""

    plan: InvitationPlan
    only: tuple[str, ...] = ()
    chain: str
    authorization: Authorization | None = None


class SendReply(BaseModel, frozen=True):
    """Asks to send the plan's reply, as `authorization` allows, with `choices` as links.

    `withheld`: the candidate has written again meanwhile, so the reply is not sent.
    """

    plan: ReplyPlan
    choices: tuple[Choice, ...] = ()
    withheld: bool = Field(False, exclude_if=lambda withheld: not withheld)
    chain: str
    authorization: Authorization | None = None


class SentLetters(BaseModel, frozen=True):
    """The outcomes of letters, by candidate."""

    sent: dict[str, Sent]


class CalendarRequest(BaseModel, frozen=True):
    """Asks which slots are taken in the calendar at this path; an empty path means no calendar."""

    calendar: PathOrAddress = ""
    slots: dict[int, Slot]


class BusySlots(BaseModel, frozen=True):
    """The indices of the slots that are taken."""

    busy: tuple[int, ...]


class InvitationDraft(BaseModel, frozen=True):
    """Whom to invite to which slot. `number` counts the candidate's earlier invitations."""

    candidate: Candidate
    place: int
    slot: Slot
    number: int = 0
    in_reply_to: str = ""


class DraftInvitations(BaseModel, frozen=True):
    """Asks to draft invitations, dated `now`, the agent's time."""

    role: str
    sender: str
    now: AwareDatetime
    drafts: tuple[InvitationDraft, ...]


class RecruitingReportRequest(BaseModel, frozen=True):
    """What the report is made from: the ranking and the candidacies."""

    ranking: ArtifactRef
    courses: dict[str, Candidacy]
    slots: tuple[Slot, ...]
    model: str
    outcome: str
    decision: str
    now: AwareDatetime


class ReportWritten(BaseModel, frozen=True):
    """The paths of the report."""

    markdown: str
    html: str

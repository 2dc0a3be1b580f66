"""Requests and results of the recruiter's activities. Light to import."""

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
    """Rank these candidates for the role; their files lie below the folder `profiles`."""

    role: Role
    candidates: tuple[Candidate, ...]
    profiles: PathOrAddress = ""


class Reason(BaseModel, frozen=True):
    """Why a candidate fits: words of the stripped profile, from character `start` to `end`.

    `about` is the requirement they meet, `must` whether it is a must-have.
    """

    about: str
    must: bool
    quote: str
    start: int
    end: int


class Ranked(BaseModel, frozen=True):
    """A candidate in the ranking: how many requirements the profile meets, and which are missing.

    `words` is a language model's comment, empty without one. `unread` says why there is no profile, and is
    empty where there is one.
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
    """All candidates, best first; `removed` counts what was taken out of the profiles, by category."""

    role: Role
    model: str
    candidates: tuple[Ranked, ...]
    removed: dict[str, int]


class RankingDone(BaseModel, frozen=True):
    """The stored ranking, and what an agent needs of it: the ids, best first, and why that may say little."""

    ranking: ArtifactRef
    order: tuple[str, ...]
    removed: dict[str, int]
    unread: int
    weak: str = ""
    model: str
    cost: Cost = Field(default_factory=Cost)
    note: str = ""


class DraftLetters(BaseModel, frozen=True):
    """Draft letters to these candidates, in this order."""

    role: Role
    candidates: tuple[Candidate, ...]
    questions: tuple[str, ...]
    slots: tuple[Slot, ...]
    answer_within: timedelta
    sender: str
    opening: str
    model: str


class DraftedLetters(BaseModel, frozen=True):
    """The plan to ask about, and the name of the agent's file with every letter, for people to read."""

    plan: OutreachPlan
    path: str


class LetterKind(StrEnum):
    """The letters that the first approval covers."""

    FIRST = "first"
    FOLLOW_UP = "follow_up"
    PROPOSAL = "proposal"


class Outgoing(BaseModel, frozen=True):
    """One of the approved letters, to go out now. `slots` are the indices of the slots a proposal offers.

    `number` tells letters of one kind apart; with candidate and kind it makes the letter's key. `choices` are
    the answers that it offers as links.
    """

    candidate: str
    kind: LetterKind
    slots: tuple[int, ...] = ()
    number: int = 1
    in_reply_to: str = ""
    choices: tuple[Choice, ...] = ()


class SendOutreach(BaseModel, frozen=True):
    """Send these of the plan's letters, as allowed by `authorization`. `chain`: see `Letter`."""

    plan: OutreachPlan
    letters: tuple[Outgoing, ...] = Field(max_length=200)
    chain: str
    authorization: Authorization | None = None


class SendInvitations(BaseModel, frozen=True):
    """Send the plan's invitations to the candidates in `only`, as allowed by `authorization`."""

    plan: InvitationPlan
    only: tuple[str, ...] = ()
    chain: str
    authorization: Authorization | None = None


class SendReply(BaseModel, frozen=True):
    """Send the plan's reply, as allowed by `authorization`, with what it offers as links.

    `withheld`: the candidate has written again meanwhile, so it is not sent.
    """

    plan: ReplyPlan
    choices: tuple[Choice, ...] = ()
    withheld: bool = Field(False, exclude_if=lambda withheld: not withheld)
    chain: str
    authorization: Authorization | None = None


class SentLetters(BaseModel, frozen=True):
    """What became of letters, by candidate."""

    sent: dict[str, Sent]


class CalendarRequest(BaseModel, frozen=True):
    """Asks which of the slots are taken by the calendar at this path; no path is no calendar."""

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
    """Draft invitations, dated `now`, the agent's time."""

    role: str
    sender: str
    now: AwareDatetime
    drafts: tuple[InvitationDraft, ...]


class RecruitingReportRequest(BaseModel, frozen=True):
    """What the report is made of: the ranking and the candidacies."""

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

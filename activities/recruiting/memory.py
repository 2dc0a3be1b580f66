"""What the recruiter carries over: every candidate's course, what people are asked, what they answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, Field

from activities.recruiting.candidacy import Course, Stage
from common.agents.recruiter import InvitationPlan, OutreachPlan, ReplyPlan
from common.approval.types import Answer
from common.artifacts import ArtifactRef
from common.digest import digest_bytes

# Enough for five mails of each of a thousand candidates; a mail that comes twice comes twice soon.
MAX_SEEN = 5_000


class CandidatesView(BaseModel, frozen=True):
    """What the query ``candidates`` answers: the course of each, best first."""

    courses: dict[str, Course]


class RecruiterMemory(BaseModel):
    """The recruiter's state, in one object.

    Attributes:
        courses: by candidate, in the order of the ranking.
        draft: path of the text with all letters.
        approval: what allows the letters of `plan`; `decision` is the same in words.
        evidence: what voided an earlier approval, for the next question.
        invitations: those that people are asked about, or were and the answer is still to be used.
        replies: likewise, by candidate.
        answers: what people decided, by question, until it is used.
        seen: short digests of the Message-IDs that were read.
        letters: letters by what became of them.
        look_again: when to look into a calendar again that could not be read.
    """

    ranking: ArtifactRef | None = None
    model: str = ""
    courses: dict[str, Course] = Field(default_factory=dict)
    plan: OutreachPlan | None = None
    draft: str = ""
    approval: Answer | None = None
    decision: str = ""
    evidence: list[str] = Field(default_factory=list)
    invitations: InvitationPlan | None = None
    replies: dict[str, ReplyPlan] = Field(default_factory=dict)
    answers: dict[str, Answer] = Field(default_factory=dict)
    seen: list[str] = Field(default_factory=list)
    letters: dict[str, int] = Field(default_factory=dict)
    look_again: AwareDatetime | None = None

    def at(self, *stages: Stage) -> Iterator[tuple[str, Course]]:
        """The candidates at these stages, best first."""
        return ((id, course) for id, course in list(self.courses.items()) if course.stage in stages)

    @property
    def over(self) -> bool:
        """Whether every candidate's course has ended."""
        return all(course.over for course in self.courses.values())

    def next_due(self, now: datetime) -> datetime | None:
        """When something is to be done although no mail comes; now, where a first letter has not gone out."""
        if any(self.at(Stage.LISTED)):
            return now
        dues = [course.due for course in self.courses.values() if course.due and not course.over]
        return min([*dues, *([self.look_again] if self.look_again else [])], default=None)

    def is_new(self, message_id: str) -> bool:
        """Whether this mail was not read yet; from now on it was."""
        name = digest_bytes(message_id.encode("utf-8", "replace"))[:12]
        if name in self.seen:
            return False
        self.seen = [*self.seen, name][-MAX_SEEN:]
        return True

    def count(self, status: str) -> None:
        """Count a letter by what became of it."""
        self.letters[status] = self.letters.get(status, 0) + 1

    @property
    def counts(self) -> dict[str, int]:
        """Candidates by where they stand."""
        return dict(Counter(str(course.stage) for course in self.courses.values()))

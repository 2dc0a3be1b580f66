"""What the recruiter carries over: every candidacy, what people are asked, and what they answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, Field

from activities.recruiting.candidacy import Candidacy, Stage
from common.agents.recruiter import InvitationPlan, OutreachPlan, ReplyPlan
from common.approval.types import Answer
from common.artifacts import ArtifactRef
from common.digest import digest_bytes

# Five mails from each of a thousand candidates; duplicates of a mail arrive soon after it.
MAX_SEEN = 5_000


class CandidatesView(BaseModel, frozen=True):
    """The result of the query ``candidates``: the candidacies by candidate, best first."""

    courses: dict[str, Candidacy]


class RecruiterMemory(BaseModel):
    """The recruiter's state, in one object.

    Attributes:
        unread: number of profiles that could not be read; `weak` says why the ranking may say little.
        courses: the candidacies by candidate, in the order of the ranking.
        draft: path of the file with all letters.
        approval: allows the letters of `plan`; `decision` says the same in words.
        evidence: what voided an earlier approval, for the next question.
        invitations: the invitations people are asked about, kept until their answer has been acted on.
        replies: likewise, by candidate.
        answers: what people decided, by question, until it has been acted on.
        seen: short digests of the Message-IDs of mails that were read, and of letters answered by a link.
        letters: number of letters by what became of them.
        look_again: when to try again to read a calendar.
    """

    ranking: ArtifactRef | None = None
    model: str = ""
    unread: int = 0
    weak: str = ""
    courses: dict[str, Candidacy] = Field(default_factory=dict)
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

    def at(self, *stages: Stage) -> Iterator[tuple[str, Candidacy]]:
        """The candidacies at these stages, best first."""
        return ((id, candidacy) for id, candidacy in list(self.courses.items()) if candidacy.stage in stages)

    @property
    def over(self) -> bool:
        """Whether every candidacy has ended."""
        return all(candidacy.over for candidacy in self.courses.values())

    def next_due(self, now: datetime) -> datetime | None:
        """When to act although no mail came; `now` where a first letter has not gone out yet."""
        if any(self.at(Stage.LISTED)):
            return now
        dues = [candidacy.due for candidacy in self.courses.values() if candidacy.due and not candidacy.over]
        return min([*dues, *([self.look_again] if self.look_again else [])], default=None)

    def is_new(self, message_id: str) -> bool:
        """Whether this mail has not been read before; marks it as read."""
        if self.has_seen(message_id):
            return False
        self.seen = [*self.seen, _short(message_id)][-MAX_SEEN:]
        return True

    def has_seen(self, message_id: str) -> bool:
        """Whether this mail has been read before."""
        return _short(message_id) in self.seen

    def count(self, status: str) -> None:
        """Count a letter under what became of it."""
        self.letters[status] = self.letters.get(status, 0) + 1

    @property
    def counts(self) -> dict[str, int]:
        """Number of candidacies by stage."""
        return dict(Counter(str(candidacy.stage) for candidacy in self.courses.values()))


def _short(message_id: str) -> str:
    return digest_bytes(message_id.encode("utf-8", "replace"))[:12]

"""The state that the recruiter carries over: candidacies, open questions, and answers to them."""

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

# Enough for five mails from each of a thousand candidates. Duplicates arrive soon after the original.
MAX_SEEN = 5_000


class CandidatesView(BaseModel, frozen=True):
    """The result of the query ``candidates``: the candidacies by candidate, best first."""

    courses: dict[str, Candidacy]


class RecruiterMemory(BaseModel):
    """The recruiter's state, in one object.

    Attributes:
        unread: number of profiles that could not be read.
        weak: why the ranking may mean little.
        courses: the candidacies by candidate, in the order of the ranking.
        draft: path of the file with all letters.
        approval: allows the letters of `plan`; `decision` says it in words.
        evidence: what voided an earlier approval, for the next question.
        invitations: the invitations that people are asked about, until their answer has been acted on.
        replies: likewise, by candidate.
        answers: what people decided, by question, until it has been acted on.
        seen: short digests of the Message-IDs of mails already read, and of letters answered with a link.
        letters: number of letters by outcome.
        look_again: when to retry reading a calendar.
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
        """When to act without mail; `now` if a first letter has not been sent yet."""
        if any(self.at(Stage.LISTED)):
            return now
        dues = [candidacy.due for candidacy in self.courses.values() if candidacy.due and not candidacy.over]
        return min([*dues, *([self.look_again] if self.look_again else [])], default=None)

    def is_new(self, message_id: str) -> bool:
        """Mark this mail as read; whether it had not been read before."""
        if self.has_seen(message_id):
            return False
        self.seen = [*self.seen, _short(message_id)][-MAX_SEEN:]
        return True

    def has_seen(self, message_id: str) -> bool:
        """Whether this mail has been read before."""
        return _short(message_id) in self.seen

    def count(self, status: str) -> None:
        """Count a letter by its outcome."""
        self.letters[status] = self.letters.get(status, 0) + 1

    @property
    def counts(self) -> dict[str, int]:
        """The number of candidacies by stage."""
        return dict(Counter(str(candidacy.stage) for candidacy in self.courses.values()))


def _short(message_id: str) -> str:
    return digest_bytes(message_id.encode("utf-8", "replace"))[:12]

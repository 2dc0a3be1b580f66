"""Mail as agents see it: letters that are sent once, and mail that arrived for an agent."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel

from common.approval.stakes import Stakes

# The mail listener: a workflow of this type and id, one for all workers.
MAILROOM = "mailroom"
# Its folders: mail that an agent received, mail whose agent had ended, mail for no agent.
DONE, LATE, UNMATCHED = FOLDERS = ("Done", "Late", "Unmatched")


class Letter(BaseModel, frozen=True):
    """A mail to send once. `key` is its idempotency key: the same key is the same mail, whoever sends it.

    `agent` and `thread` (a name of the agent's choice, such as a candidate's) come back with the answers.
    `in_reply_to` is the Message-ID it answers. `calendar` is an iCalendar object with the method REQUEST.
    """

    key: str
    agent: str
    to: str
    subject: str
    text: str
    html: str = ""
    thread: str = ""
    in_reply_to: str = ""
    calendar: str = ""


class LetterPlan(BaseModel, frozen=True, extra="allow"):
    """What people approve before letters are sent: exactly these, each in full or as `digest(letter)`.

    An agent's own plan is a subclass that adds what else people want to see.
    """

    letters: tuple[Letter | str, ...]

    @property
    def stakes(self) -> Stakes:
        """Who is written to, as far as letters are here in full."""
        return Stakes(recipients=tuple(each.to for each in self.letters if isinstance(each, Letter)))


class SentStatus(StrEnum):
    """The outcome of a letter. Unknown: the server may have it, so it is not sent again."""

    SENT = "sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Sent(BaseModel, frozen=True):
    """The outcome of a letter, and its Message-ID. `reason` is one line in the server's own words."""

    status: SentStatus
    message_id: str
    reason: str = ""


class MailKind(StrEnum):
    """What kind of mail it is, judged by its headers and structure alone.

    Every automatic reply counts as out of office; without `back_at` it is unknown until when.
    """

    ANSWER = "answer"
    OUT_OF_OFFICE = "out_of_office"
    BOUNCE = "bounce"


class IncomingMail(BaseModel, frozen=True):
    """Mail for an agent, matched by its signed reply address; untrusted. The argument of the signal ``mail``.

    `thread` is that of the letter it answers. `text` is what its author wrote, without quotes and signature,
    cut at 16,000 characters. `back_at` is when somebody out of office is back, if they say so.
    """

    message_id: str
    thread: str
    kind: MailKind
    sender: str
    subject: str
    text: str
    received_at: AwareDatetime
    back_at: AwareDatetime | None = None
    attachments: tuple[str, ...] = ()

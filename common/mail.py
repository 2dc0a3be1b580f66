"""Mail as agents know it: a letter that goes out once, and mail that came in for an agent."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel

# Who listens at the mailbox: a workflow of this name and id, one for all workers.
MAILROOM = "mailroom"
# Where it sorts mail: what an agent got, what came for one that had ended, what is for none.
DONE, LATE, UNMATCHED = FOLDERS = ("Done", "Late", "Unmatched")


class Letter(BaseModel, frozen=True):
    """A mail to send once. `key` is its idempotency key: the same key is the same mail, whoever sends it.

    `agent` and `thread` (a name of the agent's own, a candidate's for example) come back with the answers.
    `in_reply_to` is the Message-ID that it answers. `calendar` is an iCalendar object of the method REQUEST.
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
    """What people approve where letters go out: exactly these, each whole or as `digest(letter)`.

    An agent's own plan is a subclass, and adds what else people want to see.
    """

    letters: tuple[Letter | str, ...]


class SentStatus(StrEnum):
    """What became of a letter. Unknown: the server may have it; it is not sent again."""

    SENT = "sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Sent(BaseModel, frozen=True):
    """What became of a letter, and its Message-ID. `reason` is the server's own words, one line."""

    status: SentStatus
    message_id: str
    reason: str = ""


class MailKind(StrEnum):
    """What mail turned out to be, by its headers and structure alone.

    Whatever answers by itself counts as out of office; without `back_at` nothing is known of until when.
    """

    ANSWER = "answer"
    OUT_OF_OFFICE = "out_of_office"
    BOUNCE = "bounce"


class IncomingMail(BaseModel, frozen=True):
    """Mail for an agent, matched by its signed reply address; untrusted. The argument of the signal ``mail``.

    `thread` is that of the letter that it answers. `text` is what its author wrote, without quotes and
    signature, cut at 16,000 characters. `back_at` is until when somebody out of office is away, where told.
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

"""Mail as agents see it: letters that are sent once, and mail that arrived for an agent."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel

from common.approval.stakes import Stakes
from common.approval.starts import SignedStart
from common.shown import Shown

# The mail listener: the workflow with this type and id, one for all workers.
MAILROOM = "mailroom"


# Its folders: mail that an agent received, mail whose agent had ended, mail for no agent.
DONE, LATE, UNMATCHED = FOLDERS = ("Done", "Late", "Unmatched")


class MailroomRequest(SignedStart, frozen=True):
    """The input of the mail listener: nothing but its signature."""


class Choice(BaseModel, frozen=True):
    """An answer that a letter offers as a link: its name to the agent, and its words to the recipient."""

    name: Annotated[str, Shown(internal=True)]
    label: Annotated[str, Shown("Answer")]


class Letter(BaseModel, frozen=True):
    """A mail to send once. `key` is its idempotency key: the same key is the same mail, whoever sends it.

    `agent` and `thread` (a name of the agent's choice, such as a candidate's) come back with the answers.
    `in_reply_to` is the Message-ID it answers. `calendar` is an iCalendar object with the method REQUEST.
    `choices` are put below the text as links, if the gateway has an address that the recipient can reach;
    `chain` is the first run of the agent, which their answers are bound to.
    """

    key: Annotated[str, Shown(internal=True)]
    agent: Annotated[str, Shown(internal=True)]
    to: str
    subject: str
    text: Annotated[str, Shown("Letter", form="text")]
    html: Annotated[str, Shown("The same as HTML")] = ""
    thread: Annotated[str, Shown(internal=True)] = ""
    in_reply_to: Annotated[str, Shown(internal=True)] = ""
    calendar: Annotated[str, Shown("Entry for the calendar", internal=True)] = ""
    choices: Annotated[tuple[Choice, ...], Shown("Links to answer by")] = ()
    chain: Annotated[str, Shown(internal=True)] = ""


class LetterPlan(BaseModel, frozen=True, extra="allow"):
    """What people approve before letters are sent: exactly these, each in full or as `digest(letter)`.

    An agent's own plan is a subclass with whatever else people want to see.
    """

    letters: tuple[Letter | str, ...]

    @property
    def stakes(self) -> Stakes:
        """The recipients of the letters that are here in full."""
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

    Every automatic reply counts as out of office; without `back_at`, it is unknown until when. A choice is
    not a mail: somebody used a link in a letter, and `link` says and proves which.
    """

    ANSWER = "answer"
    OUT_OF_OFFICE = "out_of_office"
    BOUNCE = "bounce"
    CHOICE = "choice"


class IncomingMail(BaseModel, frozen=True):
    """Mail for an agent, matched by its signed reply address; untrusted. The argument of the signal ``mail``.

    `thread` is that of the letter it answers. `text` is what its author wrote, without quotes and signature,
    cut at 16,000 characters. `back_at` is when somebody out of office is back, if they say so. For a choice,
    `link` is the signed token, which has to be checked, and `thread` is the `recipient` that it names.
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
    link: str = ""


class ChoiceStanding(StrEnum):
    """The state of a letter's link: usable; its letter answered; the matter over; not on offer now."""

    OPEN = "open"
    USED = "used"
    OVER = "over"
    PASSED = "passed"


class ChoiceAsked(BaseModel, frozen=True):
    """The argument of the query ``choice``: a letter's link, as its token names it."""

    recipient: str
    letter: str
    choice: str

    @property
    def message_id(self) -> str:
        """The Message-ID of an answer to the letter by a link, the same for all its links."""
        return f"<answer-{self.letter}@links.invalid>"


class ChoiceView(BaseModel, frozen=True):
    """What the page behind a link shows: nothing that the letter did not say.

    `label` is the choice in words if it is open, `subject` what the letter is about, `sender` who sent it.
    """

    standing: ChoiceStanding
    subject: str
    sender: str
    label: str = ""

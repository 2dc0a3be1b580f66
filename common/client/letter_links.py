"""The links in letters: how an agent is asked about one, and the mail that brings it the answer."""

from __future__ import annotations

from datetime import UTC, datetime

from common.approval.link import AnswerLink
from common.mail import ChoiceAsked, IncomingMail, MailKind


def asked_by(link: AnswerLink) -> ChoiceAsked:
    """The query argument by which an agent is asked about a link."""
    return ChoiceAsked(recipient=link.recipient, letter=link.letter, choice=link.choice)


def answer_by(link: AnswerLink, token: str) -> IncomingMail:
    """The answer of a link, `token`, as incoming mail."""
    return IncomingMail(
        message_id=asked_by(link).message_id,
        thread=link.recipient,
        kind=MailKind.CHOICE,
        sender="",
        subject="",
        text="",
        received_at=datetime.now(UTC),
        link=token,
    )

"""Letters and notices as bytes to send: with CRLF line ends, and headers safe from injection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from activities.mail.outbox import LetterRecord
from common.mail import Letter
from common.settings.mail import MailSettings

# ASCII on the wire, so that every server accepts it.
_POLICY = SMTP.clone(cte_type="7bit")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,250}>")


LINKS = (
    "You can also answer with a link. Each opens a page with a button; nothing is sent before you press it."
)


def letter_bytes(
    letter: Letter,
    record: LetterRecord,
    settings: MailSettings,
    now: datetime,
    links: Sequence[tuple[str, str]] = (),
) -> bytes:
    """A letter: its text with the `links`, its HTML if any, and an invitation if it has a calendar."""
    mail = _begun(letter.to, letter.subject, record, settings, now)
    if settings.reply_to:
        mail["Reply-To"] = Address(addr_spec=record.reply_address(settings.reply_to))
    if _MESSAGE_ID.fullmatch(letter.in_reply_to):
        mail["In-Reply-To"] = letter.in_reply_to
        mail["References"] = letter.in_reply_to
    mail.set_content(with_links(letter.text, links))
    if letter.html:
        mail.add_alternative(letter.html, subtype="html")
    if letter.calendar:
        # As an alternative, which calendars act on, and as a file for mail programs that do not.
        mail.add_alternative(letter.calendar, subtype="calendar", params={"method": "REQUEST"})
        mail.add_attachment(
            letter.calendar.encode(), maintype="application", subtype="ics", filename="invitation.ics"
        )
    return mail.as_bytes()


def with_links(text: str, links: Sequence[tuple[str, str]]) -> str:
    """`text` with links below it, each a label and an address."""
    if not links:
        return text
    return "\n\n".join([text, LINKS, *(f"{words}:\n{address}" for words, address in links)])


def notice_bytes(
    to: str, subject: str, text: str, html: str, record: LetterRecord, settings: MailSettings, now: datetime
) -> bytes:
    """A notice. Nobody reads answers to it, so its headers suppress automatic ones."""
    mail = _begun(to, subject, record, settings, now)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["Precedence"] = "bulk"
    mail["List-Id"] = f"Notices of Hibernaut <notices.{record.domain}>"
    mail.set_content(text)
    mail.add_alternative(html, subtype="html")
    return mail.as_bytes()


def one_line(text: str, limit: int) -> str:
    """``text`` for a header: unprintable characters become spaces, and it is cut to ``limit``."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _begun(
    to: str, subject: str, record: LetterRecord, settings: MailSettings, now: datetime
) -> EmailMessage:
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = Address(one_line(settings.sender_name, 100), addr_spec=settings.sender)
    mail["To"] = Address(addr_spec=to)
    mail["Subject"] = one_line(subject, 250)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = record.message_id
    return mail

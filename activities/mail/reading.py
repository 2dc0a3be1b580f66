"""Parses a mail: what kind it is, who wrote it, what they wrote, and which letter it is about.

The input is untrusted. A separate process (`reading_program.py`) parses it, because patterns and parsers can
take hours on hostile input.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel

from activities.documents.charsets import decode
from activities.mail.absence import back_at, is_automatic
from activities.mail.bounces import DeliveryReport, named_tokens, report_of
from activities.mail.quotes import html_words, own_words
from common.mail import MailKind
from common.processes import started

_PROGRAM = Path(__file__).with_name("reading_program.py")
_SECONDS = 30
_MEMORY = 768_000_000
MAX_PARTS = 200
MAX_DEPTH = 20
MAX_ATTACHMENTS = 20
MAX_TOKENS = 20
_TEXT_BYTES = 400_000
# The token that identifies a letter, in an address and in a Message-ID.
_IN_ADDRESS = re.compile(r"\+([a-z2-7]{28})@", re.IGNORECASE)
_IN_MESSAGE_ID = re.compile(r"<([a-z2-7]{28})@", re.IGNORECASE)
_ANYWHERE = re.compile(r"[<+]([a-z2-7]{28})@", re.IGNORECASE)
# Headers that say where a mail was delivered, most reliable first.
_RECIPIENTS = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "To", "Cc")
# A Date header further than this from the time of arrival is ignored.
_BELIEVED = timedelta(days=7)


class ReadMail(BaseModel, frozen=True):
    """What a mail says. `kind` is None for a report that decides nothing, such as a delay.

    `addressed` are the tokens in the addresses it was sent to, and for a bounce also in those it mentions.
    `references` are the tokens in the Message-IDs it answers, which anyone who has seen them can cite.
    """

    message_id: str
    kind: MailKind | None
    sender: str
    subject: str
    text: str
    back_at: AwareDatetime | None = None
    attachments: tuple[str, ...] = ()
    addressed: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


class UnreadableMailError(ValueError):
    """A mail that cannot be parsed; the message says why."""


def read_isolated(raw: bytes, received_at: datetime) -> ReadMail:
    """`read` in a separate process. Blocks.

    Raises:
        UnreadableMailError: it exceeded its limits, or cannot be parsed.
    """
    command = [sys.executable, "-I", str(_PROGRAM), str(_MEMORY), str(_SECONDS), received_at.isoformat()]
    try:
        # Empty environment: the process that parses untrusted mail gets none of the worker's secrets.
        with started(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        ) as process:
            output, _ = process.communicate(raw, _SECONDS)
        said = json.loads(output)
    except subprocess.TimeoutExpired:
        raise UnreadableMailError(f"parsing it took over {_SECONDS} s") from None
    except ValueError:
        raise UnreadableMailError(f"parsing it exceeded its limits ({process.returncode})") from None
    if "error" in said:
        raise UnreadableMailError(str(said["error"])[:300])
    return ReadMail.model_validate(said)


def read(raw: bytes, received_at: datetime) -> ReadMail:
    """What a mail says.

    Args:
        raw: the whole mail, or its headers alone.
        received_at: when it arrived, according to the mailbox.
    """
    mail = message_from_bytes(raw)
    subject = _line(_header(mail, "Subject"), 300)
    sender = next((each for _, each in getaddresses([_header(mail, "From")]) if "@" in each), "")
    whole, text = _texts(mail)
    report = report_of(mail, subject, whole)
    addressed = [token for name in _RECIPIENTS for token in _tokens(mail, name, _IN_ADDRESS)]
    references = [
        token for name in ("In-Reply-To", "References") for token in _tokens(mail, name, _IN_MESSAGE_ID)
    ]
    kind: MailKind | None = MailKind.ANSWER
    until = None
    if report is not None:
        kind = MailKind.BOUNCE if report is DeliveryReport.BOUNCED else None
        addressed += named_tokens(raw, _ANYWHERE)
        text = whole.strip()[:4000]
    elif is_automatic(mail, subject):
        kind = MailKind.OUT_OF_OFFICE
        # Do not look at quotes, since our own letter may name a day. The subject is only a last resort.
        written_at = _written_at(mail, received_at)
        until = back_at(text, written_at) or back_at(subject, written_at)
    return ReadMail(
        message_id=_message_id(mail, raw),
        kind=kind,
        sender=_line(sender, 320),
        subject=subject,
        text=text,
        back_at=until if until and until > received_at else None,
        attachments=tuple(_attachments(mail)),
        addressed=_first(addressed),
        references=_first(references),
    )


def _first(tokens: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(token.lower() for token in tokens))[:MAX_TOKENS]


def _tokens(mail: Message, name: str, pattern: re.Pattern[str]) -> Iterator[str]:
    for value in mail.get_all(name, [])[:50]:
        yield from pattern.findall(str(value)[:20_000])


def _texts(mail: Message) -> tuple[str, str]:
    """The whole text of the mail, and the part that its author wrote."""
    leaves = {id(part) for part in _leaves(mail)}
    whole = "\n".join(text for text in _said(mail, leaves) if text.strip())
    whole = whole.encode("utf-8", "replace").decode()  # lone surrogates cannot be stored or sent
    return whole, own_words(whole)


def _said(part: Message, leaves: Collection[int], depth: int = 0) -> list[str]:
    """The texts of a part, in order; of alternatives, the plain one unless it is empty."""
    if part.get_content_maintype() == "multipart" and part.is_multipart() and depth < MAX_DEPTH:
        parts = [each for each in part.get_payload() if isinstance(each, Message)]
        texts = [_said(each, leaves, depth + 1) for each in parts]
        if part.get_content_type() == "multipart/alternative":
            plain = [
                text
                for each, text in zip(parts, texts, strict=True)
                if each.get_content_type() != "text/html" and "".join(text).strip()
            ]
            return next(iter(plain or texts), [])
        return [text for found in texts for text in found]
    kind = part.get_content_type()
    if id(part) not in leaves or kind not in ("text/plain", "text/html") or _filename(part):
        return []
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return []
    text = decode(data[:_TEXT_BYTES], label=_charset(part), markup=kind == "text/html").replace("\0", "")
    return [html_words(text) if kind == "text/html" else text]


def _charset(part: Message) -> str | None:
    try:
        said = part.get_content_charset()
    except (LookupError, UnicodeError, ValueError):
        return None
    # Programs that do not know their encoding say ASCII by default.
    return None if said in ("us-ascii", "ascii") else said


def _leaves(mail: Message) -> Iterator[Message]:
    """The leaf parts among the first 200 parts, without those of attached mails."""
    waiting, seen = [mail], 0
    while waiting and seen < MAX_PARTS:
        part, seen = waiting.pop(0), seen + 1
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting = [each for each in part.get_payload() if isinstance(each, Message)] + waiting
        else:
            yield part


def _attachments(mail: Message) -> Iterator[str]:
    """Names and types of attachments; the attachments themselves stay in the mailbox."""
    named = [(part, name) for part in _leaves(mail) if (name := _filename(part))]
    for part, name in named[:MAX_ATTACHMENTS]:
        yield f"{name} ({_line(part.get_content_type(), 80)})"
    if len(named) > MAX_ATTACHMENTS:
        yield f"and {len(named) - MAX_ATTACHMENTS} more"


def _filename(part: Message) -> str:
    try:
        name = part.get_filename() or ""
    except (LookupError, UnicodeError, ValueError, TypeError):
        name = "unnamed"
    if not name and part.get_content_disposition() == "attachment":
        name = "unnamed"
    return _line(_decoded(name), 120)


def _header(mail: Message, name: str) -> str:
    return _decoded(str(mail.get(name, ""))[:4000])


def _decoded(value: str) -> str:
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return value


def _line(text: str, limit: int) -> str:
    """One line without characters that could control a terminal or break a header."""
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:limit]


def _message_id(mail: Message, raw: bytes) -> str:
    found = re.search(r"<[!-;=?-~]{1,250}>", str(mail.get("Message-ID", ""))[:1000])
    # Without a Message-ID, two mails are the same only if every byte is.
    return found[0] if found else f"<{hashlib.sha256(raw).hexdigest()[:32]}@no-message-id.invalid>"


def _written_at(mail: Message, received_at: datetime) -> datetime:
    """When the mail was written, in its author's time zone."""
    try:
        said = parsedate_to_datetime(str(mail.get("Date", "")))
    except (ValueError, TypeError, IndexError, OverflowError):
        return received_at
    if said.tzinfo is None or abs(said - received_at) > _BELIEVED:
        return received_at
    return said

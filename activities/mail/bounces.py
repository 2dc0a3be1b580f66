"""Detects delivery reports: whether a letter bounced or is only delayed, and which letter it was."""

from __future__ import annotations

import base64
import logging
import quopri
import re
from collections.abc import Iterator
from email.message import Message
from email.utils import parseaddr
from enum import StrEnum

_POSTMASTERS = (
    *("mailer-daemon", "postmaster", "post_master", "mail-daemon", "mailerdaemon", "mdaemon"),
    *("bounce", "bounces"),
)
_LOOKED_AT = 200_000
_ACTION = re.compile(r"^\s*Action:\s*([a-z]+)", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(r"^\s*Status:\s*([245])\.", re.IGNORECASE | re.MULTILINE)
_LATE = re.compile(
    r"\b(delay(ed)?|warning|still (being retried|trying)|will (be retried|keep trying|continue to)"
    r"|not (yet )?been delivered yet|no action is required)\b",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"undeliver|not? (be )?deliver|deliver\w* (has )?(fail|error|problem)|fail(ed|ure)|reject"
    r"|return(ed|ing) (mail|message|to)|mail system error|error sending|unknown user|user unknown"
    r"|unzustellbar|non remis|配信|エラー|no (se )?(ha )?(pud[oe]|puede) entregar|no entregado|non recapita"
    r"|n[ãa]o (foi )?entregue|niet (bezorgd|afgeleverd)|niedostarczon|nie dostarczono|не ?доставлен"
    r"|inte leverer|ikke leveret|ikke levert|nedoruč|teslim edileme|iletileme|退信|未送达|未送達",
    re.IGNORECASE,
)
# Sender names of mail systems, whatever their address.
_SYSTEMS = re.compile(r"mail delivery (sub)?system|microsoftexchange[0-9a-f]{16}", re.IGNORECASE)


class DeliveryReport(StrEnum):
    """What a mail server reports: the letter did not arrive, or something that decides nothing yet."""

    BOUNCED = "bounced"
    UNDECIDED = "undecided"


def report_of(mail: Message, subject: str, text: str) -> DeliveryReport | None:
    """What a report says; read receipts and delays count as undecided. None if the mail is not a report.

    A report that cannot be understood counts as a bounce: a failure must not go unnoticed, and the letter's
    token still identifies it. `subject` and `text` are those of the mail, decoded.
    """
    kind = mail.get_content_type()
    subtype = str(mail.get_param("report-type", "") or "").lower()
    if kind == "multipart/report" and subtype in ("disposition-notification", "feedback-report"):
        return DeliveryReport.UNDECIDED
    by_postmaster = _is_by_system(mail)
    # Examine only mail sent by a machine: a bounce that a person quotes or forwards is not a bounce.
    if kind != "multipart/report" and not by_postmaster and not _has_no_return(mail):
        return None
    for found in (_by_status(mail), _by_library(mail)):
        if found is not None:
            return found
    if _LATE.search(subject) or (_LATE.search(text[:2000]) and not _FAILED.search(subject)):
        return DeliveryReport.UNDECIDED
    # An empty return path alone is not enough: automatic replies have one, too.
    told = kind == "multipart/report" or by_postmaster or _FAILED.search(subject)
    return DeliveryReport.BOUNCED if told else None


def _by_status(mail: Message) -> DeliveryReport | None:
    """What the machine-readable part says (RFC 3464, 6533); None if it is missing or says nothing."""
    said = "\n".join(map(_flat, _parts(mail, "delivery-status")))
    actions = {each.lower() for each in _ACTION.findall(said)}
    if actions & {"failed", "expired"} or (not actions and "5" in _STATUS.findall(said)):
        return DeliveryReport.BOUNCED
    return DeliveryReport.UNDECIDED if actions or _STATUS.search(said) else None


def _by_library(mail: Message) -> DeliveryReport | None:
    """What the library makes of the texts of many mail servers; None if it recognises none."""
    from flufl.bounce import all_failures

    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    try:
        late, failed = all_failures(mail)
    except Exception:
        # A malformed report may make a detector raise anything.
        return None
    if failed:
        return DeliveryReport.BOUNCED
    return DeliveryReport.UNDECIDED if late else None


def _parts(mail: Message, ending: str) -> Iterator[Message]:
    """The parts whose subtype has this ending, but not those of attached mails."""
    if mail.get_content_subtype().endswith(ending):
        yield mail
    elif mail.get_content_maintype() == "multipart" and mail.is_multipart():
        for each in mail.get_payload():
            if isinstance(each, Message):
                yield from _parts(each, ending)


def _flat(part: Message) -> str:
    """The text of a part, even if the parser has taken it for headers."""
    held = part.get_payload()
    text = "\n".join(map(str, held)) if isinstance(held, list) else str(held)
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    try:
        if encoding == "base64":
            return base64.b64decode("".join(text.split())).decode("utf-8", "replace")
        if encoding == "quoted-printable":
            return quopri.decodestring(text.encode("ascii", "replace")).decode("utf-8", "replace")
    except ValueError:
        return ""
    return text[:_LOOKED_AT]


def named_tokens(raw: bytes, pattern: re.Pattern[str]) -> list[str]:
    """The tokens in the letter's addresses; a bounce contains the letter's headers somewhere."""
    return pattern.findall(raw[:_LOOKED_AT].decode("ascii", "replace"))


def _has_no_return(mail: Message) -> bool:
    return str(mail.get("Return-Path", "")).strip() == "<>"


def _is_by_system(mail: Message) -> bool:
    """Whether a mail system wrote it; some put a name where the address belongs."""
    name, address = parseaddr(str(mail.get("From", "")))
    local = (address or name).partition("@")[0].strip().lower()
    return local.partition("+")[0] in (*_POSTMASTERS, "") or any(map(_SYSTEMS.match, (local, name)))

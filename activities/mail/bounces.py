"""Whether mail reports that a letter did not arrive, or has not yet; and which letter."""

from __future__ import annotations

import logging
import re
from email.message import Message
from email.utils import parseaddr
from enum import StrEnum

_POSTMASTERS = ("mailer-daemon", "postmaster", "mail-daemon", "mdaemon", "bounce", "bounces")
_LOOKED_AT = 200_000


class DeliveryReport(StrEnum):
    """What a mail server reports: that the letter did not arrive, or something that changes nothing yet."""

    BOUNCED = "bounced"
    UNDECIDED = "undecided"


def report_of(mail: Message) -> DeliveryReport | None:
    """What a report says, including that a letter was read or is late; None if the mail is no report."""
    kind = mail.get_content_type()
    subtype = str(mail.get_param("report-type", "") or "").lower()
    if kind == "multipart/report" and subtype == "disposition-notification":
        return DeliveryReport.UNDECIDED
    is_report = kind == "multipart/report" or any(
        part.get_content_type() == "message/delivery-status" for part in mail.walk()
    )
    # A person may quote a bounce, so only mail sent by a machine is examined.
    if not is_report and not _from_a_machine(mail):
        return None
    from flufl.bounce import all_failures

    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    try:
        late, failed = all_failures(mail)
    except Exception:
        # A malformed report may make a detector raise anything.
        late, failed = frozenset(), frozenset()
    if failed:
        return DeliveryReport.BOUNCED
    return DeliveryReport.UNDECIDED if late or is_report else None


def named_tokens(raw: bytes, pattern: re.Pattern[str]) -> list[str]:
    """The tokens of the letter's addresses: a bounce contains the letter's headers somewhere."""
    return pattern.findall(raw[:_LOOKED_AT].decode("ascii", "replace"))


def _from_a_machine(mail: Message) -> bool:
    path = mail.get("Return-Path")
    if path is not None and str(path).strip() == "<>":
        return True
    return parseaddr(str(mail.get("From", "")))[1].partition("@")[0].lower() in _POSTMASTERS

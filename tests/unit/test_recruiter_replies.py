"""320 replies that were written and labelled by somebody who had not seen the rules: none is misread.

Four in five are in English or German, the others in seven more languages; 86 are for a person in any case.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from activities.mail.reading import read
from activities.recruiting.answers import Asked, read_by_rules
from activities.recruiting.candidacy import Says
from common.mail import MailKind

REPLIES = Path(__file__).parents[1] / "samples" / "recruiting" / "replies.jsonl"
OFFERED = (
    "1. Tuesday, 1 December 2026, 10:00-10:45 (Europe/Berlin)",
    "2. Wednesday, 2 December 2026, 14:00-14:45 (Europe/Berlin)",
    "3. Thursday, 3 December 2026, 09:30-10:15 (Europe/Berlin)",
)
AT = datetime(2026, 11, 23, tzinfo=UTC)
PERSON = "person"
# Of those acted on without a person.
MAX_WRONG = 0.01


def test_replies_that_the_rules_had_never_seen_are_not_misread() -> None:
    """Acted on otherwise than their label says are at most one in a hundred; the rest goes to a person."""
    replies = [json.loads(line) for line in REPLIES.read_text().splitlines()]
    read_as = [(reply["label"], wanted(reply), understood(reply)) for reply in replies]
    wrong = [each for each in read_as if each[2] not in (PERSON, each[1])]
    print(Counter((label, said) for label, _, said in read_as), f"wrong: {len(wrong)} of {len(replies)}")
    assert len(wrong) <= MAX_WRONG * len(replies), wrong
    assert sum(said != PERSON for _, _, said in read_as) >= 30, "nothing is read any more"


def wanted(reply: dict[str, Any]) -> str:
    """What may come of a reply."""
    return f"slot {reply['slot'] + 1}" if reply["label"] == "slot" else reply["label"]


def understood(reply: dict[str, Any]) -> str:
    """What a recruiter without a language model takes a reply for."""
    letter = EmailMessage()
    letter["From"], letter["Subject"] = "candidate@example.com", reply["subject"]
    letter.set_content(reply["text"])
    mail = read(letter.as_bytes(), AT)
    if mail.kind is MailKind.OUT_OF_OFFICE:
        return "away"
    if mail.kind is MailKind.BOUNCE or not mail.text.strip():
        return str(mail.kind) if mail.kind is MailKind.BOUNCE else PERSON
    first = reply["kind"] == "first"
    reading = read_by_rules(mail.text, () if first else OFFERED, Asked.QUESTIONS if first else Asked.INTEREST)
    match reading.says:
        case Says.QUESTION | Says.UNCLEAR:
            return PERSON
        case Says.SLOT:
            return f"slot {reading.slot}"
    return str(reading.says)

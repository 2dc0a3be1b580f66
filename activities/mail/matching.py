"""Finds the letter that a mail is about."""

from __future__ import annotations

from activities.mail.outbox import LetterRecord, Outbox, address_digest
from activities.mail.reading import ReadMail


class UnmatchedError(Exception):
    """Mail for no agent; the message says why."""


def letters_of(mail: ReadMail, outbox: Outbox) -> list[LetterRecord]:
    """The letters that a mail is about, one for each agent and thread.

    The address it was sent to suffices, because it is a secret shared only with the letter's recipient. The
    Message-ID it answers is in every copy of the letter, so it counts only from the letter's own recipient.

    Raises:
        UnmatchedError: there are none.
    """
    records = [record for token in mail.addressed if (record := outbox.find(token))]
    why = f"{'the address it was sent to names' if mail.addressed else 'it answers'} no letter of ours"
    if not records:
        answered = [record for token in mail.references if (record := outbox.find(token))]
        sender = address_digest(mail.sender)
        records = [record for record in answered if record.to == sender]
        if answered and not records:
            why = "it answers a letter to somebody else, and was not sent to that letter's address"
    found = {(record.agent, record.thread): record for record in records if record.agent}
    if records and not found:
        why = "it answers a notice, which nobody reads"
    if not found:
        raise UnmatchedError(why)
    return list(found.values())

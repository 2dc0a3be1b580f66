"""`starter.py mail`: what became of outgoing letters, and what is in the mailbox."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from activities.mail.imap import AWAY, ImapSession, MailLine
from activities.mail.outbox import Outbox
from cli.output import CommandError, ExitCode, print_document, say
from cli.table import print_table
from common.approval.signing import Signer
from common.mail import FOLDERS, UNMATCHED
from common.object_store import open_store
from common.settings import Settings

MAX_LINES = 50
INBOX = "INBOX"


class MailCounts(BaseModel):
    """Letters by outcome; mails by folder, None if no mailbox is set."""

    letters: dict[str, int]
    folders: dict[str, int] | None
    unmatched: list[MailLine] | None = None


async def mail(settings: Settings, *, unmatched: bool, as_json: bool) -> ExitCode:
    """Print the counts, or the newest mails that belong to no agent.

    Raises:
        CommandError: the mailbox cannot be read.
        StoreUnavailableError: the outbox cannot be read.
    """
    if unmatched and settings.mail.imap is None:
        raise CommandError("no mailbox is set: set HIBERNAUT_IMAP.")
    outbox = Outbox(open_store(settings), Signer.load(settings))
    counts = MailCounts(letters=await asyncio.to_thread(outbox.counts), folders=None)
    try:
        await asyncio.to_thread(_look, settings, counts, unmatched)
    except ApplicationError as error:
        raise CommandError(f"{error.message}.", ExitCode.AGENT_FAILED) from error
    except AWAY as error:
        raise CommandError(f"HIBERNAUT_IMAP: {error}.", ExitCode.AGENT_FAILED) from error
    if as_json:
        print_document(counts)
    elif counts.unmatched:
        rows = ([line.date, line.sender, line.subject] for line in counts.unmatched)
        print_table(["DATE", "FROM", "SUBJECT"], rows)
    elif unmatched:
        say("no unmatched mail.")
    else:
        print("letters   " + ", ".join(f"{count} {name}" for name, count in counts.letters.items()))
        folders = counts.folders or {}
        print("mailbox   " + (", ".join(f"{n} in {name}" for name, n in folders.items()) or "not set"))
    return ExitCode.DONE


def _look(settings: Settings, counts: MailCounts, unmatched: bool) -> None:
    if settings.mail.imap is None:
        return
    session = ImapSession(settings.mail.imap, settings.mail.imap_prefix)
    try:
        counts.folders = {name: session.count(name) for name in (INBOX, *FOLDERS)}
        if unmatched:
            counts.unmatched = session.lines(UNMATCHED, MAX_LINES)
    finally:
        session.close()

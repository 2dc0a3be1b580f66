"""Listens to the mailbox where answers arrive, and hands each one to its agent."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.calls.heartbeats import heartbeats
from activities.mail.imap import AWAY, ImapSession, Waiting
from activities.mail.matching import UnmatchedError, letters_of
from activities.mail.outbox import LetterRecord, Outbox
from activities.mail.reading import ReadMail, UnreadableMailError, read_isolated
from common.approval.signing import Signer
from common.client.errors import TooMuchSaidError
from common.client.limits import check_room
from common.errors import permanent
from common.mail import DONE, FOLDERS, LATE, UNMATCHED, IncomingMail
from common.object_store import open_store
from common.settings import Settings
from common.settings.mail import MailServer, MailSettings

_log = logging.getLogger(__name__)

# Polling intervals for a server without IDLE, and as a fallback for one with IDLE.
POLL_SECONDS = 20.0
IDLE_SECONDS = 60.0
# While no mail arrives, a worker shutdown or the end of the listening time is noticed this soon.
SLICE_SECONDS = 1.0


class ListenRequest(BaseModel, frozen=True):
    """How long to listen."""

    seconds: float


class Heard(BaseModel, frozen=True):
    """The number of mails filed, by folder."""

    counts: dict[str, int]


class Mailbox:
    """The activity that listens. Two may briefly overlap: agents deduplicate mail by Message-ID.

    Args:
        client: signals the agents.
        settings: where the mailbox is.
        outbox: finds the letter that a mail is about.
    """

    def __init__(self, client: Client, settings: MailSettings, outbox: Outbox) -> None:
        self._client = client
        self._settings = settings
        self._outbox = outbox

    @classmethod
    def build(cls, client: Client, settings: Settings) -> Mailbox:
        """The mailbox for these settings."""
        return cls(client, settings.mail, Outbox(open_store(settings), Signer.load(settings)))

    @activity.defn(name="listen_mail")
    async def listen(self, request: ListenRequest) -> Heard:
        """Hand over and file all mail in the inbox, until the time is up or this worker shuts down.

        Each mail is handed over first and filed afterwards, so a crash in between hands it over twice.

        Raises:
            ApplicationError: permanent: `MailNotSet`. Retryable: `MailAway`, `MailLoginRefused`.
        """
        server = self._settings.imap
        if server is None:
            raise permanent("MailNotSet", "there is no mailbox to listen to: set HIBERNAUT_IMAP")
        loop = asyncio.get_running_loop()
        end = loop.time() + request.seconds
        counts: Counter[str] = Counter()
        async with heartbeats(), _session(server, self._settings.imap_prefix) as session:
            await asyncio.to_thread(session.make_folders, FOLDERS)
            filed: set[str] = set()
            while not activity.is_worker_shutdown() and loop.time() < end:
                uids = [uid for uid in await asyncio.to_thread(session.uids) if uid not in filed]
                if not uids:
                    await _news(session, end)
                # Handle one, then list again: mail that arrives meanwhile is not announced a second time.
                for uid in uids[:1]:
                    counts[await self._deliver(session, uid)] += 1
                    filed.add(uid)
        return Heard(counts=dict(counts))

    async def _deliver(self, session: ImapSession, uid: str) -> str:
        """Hand a mail to its agents and file it; return the folder it was filed in."""
        waiting = await asyncio.to_thread(session.get, uid)
        if waiting is None:
            return DONE
        try:
            mail = await asyncio.to_thread(read_isolated, waiting.raw, waiting.received_at)
            records = await asyncio.to_thread(letters_of, mail, self._outbox)
        except (UnreadableMailError, UnmatchedError) as error:
            _log.warning("mail %s of %s is filed as unmatched: %s", uid, waiting.received_at, error)
            folder = UNMATCHED
        else:
            handed = [await self._hand_over(each, _mail(mail, each, waiting)) for each in records]
            folder = DONE if any(handed) else LATE
        await asyncio.to_thread(session.file, uid, folder, read=folder == DONE)
        return folder

    async def _hand_over(self, record: LetterRecord, mail: IncomingMail | None) -> bool:
        """Signal the letter's agent unless `mail` is None; return False if it has ended or has no room."""
        if mail is None:
            return True
        try:
            agent = self._client.get_workflow_handle(record.agent)
            check_room(await agent.describe(), nonessential=True)
            await agent.signal("mail", mail)
        except TooMuchSaidError as error:
            _log.warning("mail %s is filed as late: %s", mail.message_id, error)
            return False
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise
            _log.warning("mail %s is too late for %s: %s", mail.message_id, record.agent, error.message)
            return False
        return True


def _mail(mail: ReadMail, record: LetterRecord, waiting: Waiting) -> IncomingMail | None:
    if mail.kind is None:
        return None
    attachments = mail.attachments
    if waiting.size > len(waiting.raw):
        attachments = (f"the whole mail of {waiting.size} bytes, kept in the mailbox",)
    return IncomingMail(
        message_id=mail.message_id,
        thread=record.thread,
        kind=mail.kind,
        sender=mail.sender,
        subject=mail.subject,
        text=mail.text,
        received_at=waiting.received_at,
        back_at=mail.back_at,
        attachments=attachments,
    )


@asynccontextmanager
async def _session(server: MailServer, prefix: str) -> AsyncIterator[ImapSession]:
    session = await asyncio.to_thread(ImapSession, server, prefix)
    try:
        yield session
    except AWAY as error:
        words = f"HIBERNAUT_IMAP: {type(error).__name__}: {error}"
        raise ApplicationError(words, type="MailAway") from error
    finally:
        # Close it even while a thread still uses it: the thread gets an error, and nobody waits for it.
        session.close()


async def _news(session: ImapSession, end: float) -> None:
    """Wait until mail may have arrived."""
    loop = asyncio.get_running_loop()
    idles = session.supports_idle
    until = min(end, loop.time() + (IDLE_SECONDS if idles else POLL_SECONDS))
    if idles:
        await asyncio.to_thread(session.begin_idle)
    while loop.time() < until and not activity.is_worker_shutdown():
        if not idles:
            await asyncio.sleep(SLICE_SECONDS)
        elif await asyncio.to_thread(session.wait_for_news, SLICE_SECONDS):
            break
    if idles:
        await asyncio.to_thread(session.end_idle)

"""Listens at the mailbox that answers arrive in, and hands each to the agent it is for."""

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
from activities.mail.reading import ReadMail, UnreadableMailError, read_apart
from common.approval.signing import Signer
from common.errors import permanent
from common.mail import DONE, FOLDERS, LATE, UNMATCHED, IncomingMail
from common.object_store import open_store
from common.settings import Settings
from common.settings.mail import IMAP, MailServer, MailSettings

_log = logging.getLogger(__name__)

# So often a server that does not tell by itself is asked, and one that does is asked all the same.
POLL_SECONDS = 20.0
IDLE_SECONDS = 60.0
# How soon a worker that ends, or an agent's end, is noticed while nothing comes.
SLICE_SECONDS = 1.0


class ListenRequest(BaseModel, frozen=True):
    """Listen for so many seconds."""

    seconds: float


class Heard(BaseModel, frozen=True):
    """How many mails were sorted into which folder."""

    counts: dict[str, int]


class Mailbox:
    """The activity that listens. Where two do for a moment, agents know a mail again by its Message-ID.

    Args:
        client: reaches the agents.
        settings: where the mailbox is.
        outbox: tells which letter a mail is about.
    """

    def __init__(self, client: Client, settings: MailSettings, outbox: Outbox) -> None:
        self._client = client
        self._settings = settings
        self._outbox = outbox

    @classmethod
    def build(cls, client: Client, settings: Settings) -> Mailbox:
        """What this process listens with."""
        return cls(client, settings.mail, Outbox(open_store(settings), Signer.load(settings)))

    @activity.defn(name="listen_mail")
    async def listen(self, request: ListenRequest) -> Heard:
        """Sort what waits in the inbox and what comes, until the time is over or this worker is to end.

        Each mail is handed over first and moved then, so a crash in between hands it over twice.

        Raises:
            ApplicationError: for good: `MailNotSet`. For now: `MailAway`, `MailLoginRefused`.
        """
        server = self._settings.imap
        if server is None:
            raise permanent("MailNotSet", f"no mailbox is listened at: set {IMAP.variable}")
        loop = asyncio.get_running_loop()
        end = loop.time() + request.seconds
        counts: Counter[str] = Counter()
        async with heartbeats(), _session(server, self._settings.imap_prefix) as session:
            await asyncio.to_thread(session.make_folders, FOLDERS)
            sorted_uids: set[str] = set()
            while not activity.is_worker_shutdown() and loop.time() < end:
                uids = [uid for uid in await asyncio.to_thread(session.uids) if uid not in sorted_uids]
                if not uids:
                    await _news(session, end)
                # One, and then a look at what there is now: what comes meanwhile is not told again.
                for uid in uids[:1]:
                    counts[await self._sort(session, uid)] += 1
                    sorted_uids.add(uid)
        return Heard(counts=dict(counts))

    async def _sort(self, session: ImapSession, uid: str) -> str:
        """Hand a mail to whom it is for, and file it; the folder it is in now."""
        waiting = await asyncio.to_thread(session.get, uid)
        if waiting is None:
            return DONE
        try:
            mail = await asyncio.to_thread(read_apart, waiting.raw, waiting.received_at)
            records = await asyncio.to_thread(letters_of, mail, self._outbox)
        except (UnreadableMailError, UnmatchedError) as error:
            _log.warning("mail %s of %s is kept aside: %s", uid, waiting.received_at, error)
            folder = UNMATCHED
        else:
            handed = [await self._hand_over(each, _mail(mail, each, waiting)) for each in records]
            folder = DONE if any(handed) else LATE
        await asyncio.to_thread(session.file, uid, folder, read=folder == DONE)
        return folder

    async def _hand_over(self, record: LetterRecord, mail: IncomingMail | None) -> bool:
        """Whether the letter's agent has it now; a report that changes nothing is for nobody."""
        if mail is None:
            return True
        try:
            await self._client.get_workflow_handle(record.agent).signal("mail", mail)
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise
            _log.warning("mail %s comes too late for %s: %s", mail.message_id, record.agent, error.message)
            return False
        return True


def _mail(mail: ReadMail, record: LetterRecord, waiting: Waiting) -> IncomingMail | None:
    if mail.kind is None:
        return None
    attachments = mail.attachments
    if waiting.size > len(waiting.raw):
        attachments = (f"the whole mail of {waiting.size} bytes, which is in the mailbox",)
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
        words = f"{IMAP.variable}: {type(error).__name__}: {error}"
        raise ApplicationError(words, type="MailAway") from error
    finally:
        # Also under a thread that still asks: it gets an error, and nobody waits for it.
        session.close()


async def _news(session: ImapSession, end: float) -> None:
    """Wait until something may have come."""
    loop = asyncio.get_running_loop()
    idles = session.idles
    until = min(end, loop.time() + (IDLE_SECONDS if idles else POLL_SECONDS))
    if idles:
        await asyncio.to_thread(session.begin_idle)
    while loop.time() < until and not activity.is_worker_shutdown():
        if not idles:
            await asyncio.sleep(SLICE_SECONDS)
        elif await asyncio.to_thread(session.told, SLICE_SECONDS):
            break
    if idles:
        await asyncio.to_thread(session.end_idle)

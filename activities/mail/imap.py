"""A mailbox over IMAP: mail in the inbox, read up to a size limit, and folders to file it in. Blocking."""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from imap_tools import (
    BaseMailBox,
    MailBox,
    MailBoxStartTls,
    MailBoxUnencrypted,
    MailMessage,
    MailMessageFlags,
)
from imap_tools.errors import ImapToolsError, MailboxLoginError
from temporalio.exceptions import ApplicationError

from common.errors import retry_after
from common.settings.mail import MailServer

SECONDS = 60.0
LOGIN_REFUSED = timedelta(minutes=5)
# For larger mail, only the headers are read.
MAX_BYTES = 25_000_000
AWAY = (ImapToolsError, imaplib.IMAP4.error, OSError, EOFError)


@dataclass(frozen=True)
class Waiting:
    """A mail in the inbox: when it arrived, and all of its bytes, or only its headers if it is too large."""

    uid: str
    received_at: datetime
    size: int
    raw: bytes


@dataclass(frozen=True)
class MailLine:
    """A mail in a folder, for lists. Its text is untrusted."""

    sender: str
    subject: str
    date: str


class ImapSession:
    """One connection to a mailbox, for one thread at a time.

    Args:
        server: where it is.
        prefix: prepended to folder names.

    Raises:
        ApplicationError: retryable: `MailAway`, `MailLoginRefused`.
    """

    def __init__(self, server: MailServer, prefix: str) -> None:
        self._prefix = prefix
        where = f"HIBERNAUT_IMAP ({server.host}:{server.port})"
        try:
            self._box = _opened(server)
            try:
                sign_in = self._box.login if server.password.isascii() else self._box.login_utf8
                sign_in(server.user, server.password, "INBOX")
                # The server may announce more capabilities after login.
                _, can = self._box.client.capability()
                self._box.client.capabilities = tuple(can[-1].decode().upper().split())
            except BaseException:
                self.close()
                raise
        except MailboxLoginError as error:
            words = f"{where} refuses HIBERNAUT_IMAP_USER: {error}"
            raise retry_after("MailLoginRefused", words, LOGIN_REFUSED) from error
        except AWAY as error:
            raise ApplicationError(f"{where}: {type(error).__name__}: {error}", type="MailAway") from error

    @property
    def supports_idle(self) -> bool:
        """Whether the server supports IDLE, that is, pushes news of new mail."""
        return "IDLE" in self._box.client.capabilities

    def make_folders(self, names: Sequence[str]) -> None:
        """Create the folders that do not exist."""
        for name in names:
            if not self._box.folder.exists(self._prefix + name):
                self._box.folder.create(self._prefix + name)

    def uids(self) -> list[str]:
        """The mails in the inbox, oldest first."""
        # A server may answer from stale state; NOOP makes it refresh.
        self._box.client.noop()
        return self._box.uids("ALL", charset=None)

    def get(self, uid: str) -> Waiting | None:
        """Fetch a mail without marking it read; None if it is gone."""
        _, found = self._box.client.uid("FETCH", uid, "(RFC822.SIZE INTERNALDATE)")
        said = b" ".join(each for each in found if isinstance(each, bytes))
        size = re.search(rb"RFC822\.SIZE (\d+)", said)
        if size is None:
            return None
        whole = int(size[1]) <= MAX_BYTES
        _, found = self._box.client.uid("FETCH", uid, "(BODY.PEEK[])" if whole else "(BODY.PEEK[HEADER])")
        raw = next((each[1] for each in found if isinstance(each, tuple)), None)
        return None if raw is None else Waiting(uid, _moment(said), int(size[1]), raw)

    def file(self, uid: str, folder: str, *, read: bool) -> None:
        """Move a mail out of the inbox."""
        if read:
            # Not through the library, which would also expunge all mail that anyone marked for deletion.
            self._box.client.uid("STORE", uid, "+FLAGS", MailMessageFlags.SEEN)
        self._box.move(uid, self._prefix + folder)

    def count(self, folder: str) -> int:
        """The number of mails in a folder; 0 if it does not exist."""
        name = folder if folder == "INBOX" else self._prefix + folder
        if not self._box.folder.exists(name):
            return 0
        return int(self._box.folder.status(name, ["MESSAGES"])["MESSAGES"])

    def lines(self, folder: str, limit: int) -> list[MailLine]:
        """The newest `limit` mails of a folder."""
        if not self.count(folder):
            return []
        self._box.folder.set(self._prefix + folder, readonly=True)
        found = self._box.fetch("ALL", None, limit=limit, mark_seen=False, reverse=True, headers_only=True)
        return [_mail_line(each) for each in found]

    def begin_idle(self) -> None:
        """Start IDLE; no other command may be sent until `end_idle`."""
        self._box.idle.start()  # type: ignore[no-untyped-call]

    def wait_for_news(self, seconds: float) -> bool:
        """Wait up to `seconds`; whether the server announced anything."""
        return bool(self._box.idle.poll(seconds))

    def end_idle(self) -> None:
        """End IDLE; the server takes commands again."""
        self._box.idle.stop()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the connection at once."""
        try:
            self._box.client.shutdown()
        except OSError:
            return


def _opened(server: MailServer) -> BaseMailBox:
    if server.tls:
        context = ssl.create_default_context()
        return MailBox(server.host, server.port, timeout=SECONDS, ssl_context=context)
    if server.start_tls:
        context = ssl.create_default_context()
        return MailBoxStartTls(server.host, server.port, timeout=SECONDS, ssl_context=context)
    return MailBoxUnencrypted(server.host, server.port, timeout=SECONDS)


def _moment(said: bytes) -> datetime:
    """When a mail arrived, according to the server; now if it does not say."""
    found = imaplib.Internaldate2tuple(said)
    return datetime.now(UTC) if found is None else datetime(*found[:6]).astimezone(UTC)


def _mail_line(mail: MailMessage) -> MailLine:
    return MailLine(mail.from_, mail.subject, mail.date_str)

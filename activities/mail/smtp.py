"""Sends one mail to one recipient over SMTP, and tracks at each point whether it was sent."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import aiosmtplib
from temporalio.exceptions import ApplicationError

from common.errors import retry_after
from common.settings.mail import MailServer

SECONDS = 60.0
# Servers check for spam and viruses before they answer; giving up earlier leaves the outcome unknown.
DATA_SECONDS = 300.0
# How long an exchange may continue after its activity was cancelled.
GRACE_SECONDS = 15.0
AT_ONCE = 4
GREYLISTED = timedelta(minutes=5)
SHORTEST, LONGEST = timedelta(seconds=10), timedelta(hours=4)
LOGIN_REFUSED = timedelta(minutes=5)
# Replies that concern authentication, not the mail: sign in, encrypt, or use another method.
_SIGN_IN = (530, 534, 535, 538)


class UnsentError(Exception):
    """The mail was certainly not sent; `__cause__` is the classified error."""


@dataclass(frozen=True)
class SmtpReply:
    """What the server said about the mail. `accepted` is None if it is unknown."""

    accepted: bool | None
    words: str


class SmtpServer:
    """The server that sends mail, with one connection per mail and at most `AT_ONCE` at a time.

    Args:
        server: where it is, and how to sign in.
        hello: the host name to send with HELO.
        data_seconds: timeout for the answer to the mail itself.
    """

    def __init__(self, server: MailServer, hello: str, data_seconds: float = DATA_SECONDS) -> None:
        self._server = server
        self._hello = hello
        self._data_seconds = data_seconds
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def send(
        self, sender: str, recipient: str, mail: bytes, claim: Callable[[], Awaitable[None]]
    ) -> SmtpReply:
        """Hand over a mail.

        Args:
            sender: of the envelope.
            recipient: of the envelope.
            mail: with CRLF line ends.
            claim: called once before anything becomes final, that is, before DATA or before returning a
                refusal. If it raises, the exchange ends and nothing was sent.

        Raises:
            ApplicationError: not sent: `MailBusy`, `MailLoginRefused` or `MailAway`.
            UnsentError: not sent: the server refused the mail itself for now, after the claim.
        """
        async with self._slots:
            client = aiosmtplib.SMTP(timeout=SECONDS)
            try:
                await self._connect(client)
                try:
                    await client.mail(sender)
                    await client.rcpt(recipient)
                except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientRefused) as error:
                    return await self._refused(error.code, error.message, claim)
                return await _finish_despite_cancel(self._content(client, mail, claim))
            except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
                raise self._away(error) from error
            finally:
                client.close()

    async def check_login(self) -> None:
        """Connect and sign in without sending anything.

        Raises:
            ApplicationError: `MailBusy`, `MailLoginRefused` or `MailAway`.
        """
        client = aiosmtplib.SMTP(timeout=SECONDS)
        try:
            await self._connect(client)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            raise self._away(error) from error
        finally:
            client.close()

    def _away(self, error: Exception) -> ApplicationError:
        return ApplicationError(f"{self._where}: {_line(error)}", type="MailAway")

    @property
    def _where(self) -> str:
        return f"HIBERNAUT_SMTP ({self._server.host}:{self._server.port})"

    async def _connect(self, client: aiosmtplib.SMTP) -> None:
        server = self._server
        try:
            await client.connect(
                hostname=server.host,
                port=server.port,
                local_hostname=self._hello,
                use_tls=server.tls,
                # None means: if offered. Settings allow that only on loopback, where nobody can eavesdrop.
                start_tls=False if server.tls else server.start_tls or None,
                tls_context=ssl.create_default_context(),
                username=server.user or None,
                password=server.password or None,
            )
        except aiosmtplib.SMTPAuthenticationError as error:
            words = f"{self._where} refuses HIBERNAUT_SMTP_USER: {_line(error)}"
            raise retry_after("MailLoginRefused", words, LOGIN_REFUSED) from error
        except aiosmtplib.SMTPResponseException as error:
            words = f"{self._where} accepts no mail now: {_line(error)}"
            raise retry_after("MailBusy", words, _asked_wait(error.code, error.message)) from error

    async def _refused(self, code: int, message: str, claim: Callable[[], Awaitable[None]]) -> SmtpReply:
        words = _words(code, message)
        if code in _SIGN_IN:
            raise retry_after("MailLoginRefused", f"{self._where}: {words}", LOGIN_REFUSED)
        if code < 500:
            raise retry_after("MailBusy", f"{self._where}: {words}", _asked_wait(code, message))
        await claim()
        return SmtpReply(False, words)

    async def _content(
        self, client: aiosmtplib.SMTP, mail: bytes, claim: Callable[[], Awaitable[None]]
    ) -> SmtpReply:
        """Send the mail itself. From here on, only the server's answer tells whether it was sent."""
        await claim()
        try:
            answer = await client.data(mail, timeout=self._data_seconds)
        except aiosmtplib.SMTPDataError as error:
            words = _words(error.code, error.message)
            if error.code < 500:
                wait = _asked_wait(error.code, error.message)
                raise UnsentError(words) from retry_after("MailBusy", f"{self._where}: {words}", wait)
            return SmtpReply(False, words)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return SmtpReply(None, f"no answer came to the mail: {_line(error)}")
        return SmtpReply(True, _words(answer.code, answer.message))


async def _finish_despite_cancel(exchange: Awaitable[SmtpReply]) -> SmtpReply:
    """The exchange's answer; if this task is cancelled, wait a little longer for it."""
    task = asyncio.ensure_future(exchange)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=GRACE_SECONDS)
        if task.done():
            return task.result()
        task.cancel()
        raise


def _asked_wait(code: int, message: str) -> timedelta:
    """How long the server's message asks to wait, or a default."""
    found = re.search(r"(\d{1,5}) ?(s|sec|seconds?|m|min|minutes?|hours?)\b", message, re.IGNORECASE)
    if not found:
        return timedelta(minutes=1) if code == 421 else GREYLISTED
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}[found[2][0].lower()]
    return min(max(timedelta(**{unit: int(found[1])}), SHORTEST), LONGEST)


def _words(code: int, message: str) -> str:
    text = "".join(sign if sign.isprintable() else " " for sign in message)
    return f"{code} {' '.join(text.split())}"[:500]


def _line(error: BaseException) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _words(error.code, error.message)
    text = "".join(sign if sign.isprintable() else " " for sign in str(error))
    return f"{type(error).__name__}: {text}"[:500]

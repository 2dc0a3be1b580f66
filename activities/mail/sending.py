"""Sends mail, none of it twice: notices to the people agents work for, and letters that people approved."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pydantic import BaseModel, SerializeAsAny
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.calls.heartbeats import heartbeats
from activities.delivery.open_questions import require_open
from activities.mail.letters import letter_bytes, notice_bytes
from activities.mail.notice_words import notice_words
from activities.mail.outbox import FAILED, LetterRecord, Outbox
from activities.mail.smtp import SmtpServer, UnsentError
from common.approval.link import ANSWER_LIFETIME, AnswerLink, recipient_of
from common.approval.signing import Authority, Signer
from common.approval.stakes import Stakes
from common.approval.types import Authorization
from common.digest import digest
from common.errors import permanent
from common.mail import Letter, LetterPlan, Sent, SentStatus
from common.notices.types import Delivery, Notice
from common.object_store import StoreUnavailableError, open_store
from common.settings import Settings, SettingsError
from common.settings.mail import MailSettings, is_address

_log = logging.getLogger(__name__)
OTHER_LETTER_SENT = "in its place another went out before, which the agent does not know of"


class SendLetter(BaseModel, frozen=True):
    """Send `letter`, one of those in the approved `plan`; `authorization` is its approval."""

    # Serialized as the agent's own subclass, because the approval covers all of its fields.
    plan: SerializeAsAny[LetterPlan]
    letter: Letter
    authorization: Authorization | None = None


class Mail:
    """The activities that send mail.

    Args:
        settings: the sender and the mailbox.
        public_url: where people reach the gateway.
        server: sends the mail; None if none is set up.
        outbox: stores the state of each letter.
        authority: checks approvals.
        signer: signs links.
        require_open: raises if the question of a notice has ended.
        answers_at: where recipients of letters reach the gateway; if empty, letters have no links.
    """

    def __init__(
        self,
        settings: MailSettings,
        public_url: str,
        server: SmtpServer | None,
        outbox: Outbox,
        authority: Authority,
        signer: Signer,
        require_open: Callable[[Notice], Awaitable[None]] = require_open,
        answers_at: str = "",
    ) -> None:
        self._settings = settings
        self._public_url = public_url
        self._server = server
        self._outbox = outbox
        self._authority = authority
        self._signer = signer
        self._require_open = require_open
        self._answers_at = answers_at

    @classmethod
    def build(cls, settings: Settings, authority: Authority) -> Mail:
        """The mail activities for these settings."""
        mail, signer = settings.mail, Signer.load(settings)
        outbox = Outbox(open_store(settings), signer)
        return cls(
            mail,
            settings.http.public_url,
            smtp_server(mail),
            outbox,
            authority,
            signer,
            answers_at=settings.http.outside_url,
        )

    @activity.defn(name="mail_notice")
    async def mail_notice(self, delivery: Delivery) -> Sent:
        """Mail a notice to `delivery.address`, with an approval link for `delivery.person` if it asks.

        Raises:
            ApplicationError: permanent: `MailNotSet`, `NoLongerAsked`. Retryable: `MailBusy`,
                `MailLoginRefused`, `MailAway`, `AgentSilent`.
        """
        notice, now = delivery.notice, datetime.now(UTC)
        record = await self._entered(
            f"notice:{notice.id}:{delivery.address}", delivery.address, digest(notice.id)
        )
        if record is None:
            return _no_address(delivery.address)
        await self._require_open(notice)
        words = notice_words(delivery, self._public_url, self._signer, now)

        def mail() -> bytes:
            return notice_bytes(
                delivery.address, words.subject, words.text, words.html, record, self._settings, now
            )

        return await self._send(record, self._settings.sender, delivery.address, mail)

    @activity.defn(name="send_letter")
    async def send_letter(self, request: SendLetter) -> Sent:
        """`send` the approved letter.

        Raises:
            ApplicationError: as `send`; permanent: `NotAuthorized`, `PolicyRefused`.
        """
        letter, plan = request.letter, request.plan
        given, info = request.authorization, activity.info()
        authorization = await asyncio.to_thread(self._authority.authorize, given, plan, info)
        self._authority.check_stakes(Stakes(recipients=(letter.to,)), authorization, activity.info())
        if letter not in plan.letters and digest(letter) not in plan.letters:
            raise permanent("NotAuthorized", "the letter is not among those that were approved")
        return await self.send(letter)

    @activity.defn(name="find_letter")
    async def find_letter(self, request: SendLetter) -> Sent | None:
        """`find` the letter."""
        return await self.find(request.letter)

    async def send(self, letter: Letter, exclusive_key: str = "") -> Sent:
        """Send a letter once under its idempotency key and return the outcome. For use in an activity.

        A refusal by the mail server is a result, `refused`, and so is an outcome that cannot be known,
        `unknown`; in neither case is the letter sent again. Only one of the letters with the same
        `exclusive_key` is sent; if that was another letter, this one's outcome is `unknown`.

        Raises:
            ApplicationError: permanent: `MailNotSet`, `LetterConflict`. Retryable, and certainly not sent:
                `MailBusy` (with the wait that the server asks for), `MailLoginRefused`, `MailAway`.
        """
        record = await self._entered(letter.key, letter.to, _content(letter), letter)
        if record is None:
            return _no_address(letter.to)
        if exclusive_key:
            other = await asyncio.to_thread(self._outbox.outcome_of_other, exclusive_key, record)
            if other:
                return Sent(status=SentStatus.UNKNOWN, message_id=other.message_id, reason=OTHER_LETTER_SENT)
        # Bounces go to the envelope sender, so it must identify the letter.
        mailbox = self._settings.reply_to
        sender = record.reply_address(mailbox) if mailbox else self._settings.sender
        links = self._links(letter, record)
        return await self._send(
            record,
            sender,
            letter.to,
            lambda: letter_bytes(letter, record, self._settings, datetime.now(UTC), links),
        )

    async def find(self, letter: Letter) -> Sent | None:
        """The outcome of a letter whose result was lost; None if it was not sent.

        After None, a leftover of that attempt can no longer send the letter. While an attempt may still get
        the server's answer, this raises a retryable error.
        """
        record = await self._entered(letter.key, letter.to, _content(letter), letter)
        if record is None:
            return _no_address(letter.to)
        state = await asyncio.to_thread(self._outbox.state, record.id, record.message_id)
        if state.sent is None:
            await self._claim(record, state.number)
            await self._settle(record, state.number, FAILED, "given up")
        return state.sent

    def _links(self, letter: Letter, record: LetterRecord) -> list[tuple[str, str]]:
        """The letter's choices as links, the same at every attempt."""
        if not self._answers_at:
            return []
        link = AnswerLink(
            agent=letter.agent,
            recipient=recipient_of(letter.agent, letter.chain, letter.thread),
            letter=record.id,
            choice="-",
            expires_at=record.at + ANSWER_LIFETIME,
        )
        return [
            (
                each.label,
                f"{self._answers_at}/answer/"
                + link.model_copy(update={"choice": each.name}).token(self._signer),
            )
            for each in letter.choices
        ]

    def _smtp(self) -> SmtpServer:
        if self._server is None:
            raise permanent("MailNotSet", "no mail can be sent: set HIBERNAUT_SMTP")
        return self._server

    async def _entered(
        self, key: str, to: str, content: str, letter: Letter | None = None
    ) -> LetterRecord | None:
        """The letter's record; None if the address is not a mail address."""
        self._smtp()
        if not is_address(to):
            return None
        try:
            return await asyncio.to_thread(
                lambda: self._outbox.enter(
                    key,
                    agent=letter.agent if letter else "",
                    thread=letter.thread if letter else "",
                    to=to,
                    content=content,
                    domain=_domain(self._settings.sender),
                )
            )
        except SettingsError as error:
            raise permanent("MailNotSet", str(error)) from error

    async def _send(self, record: LetterRecord, sender: str, to: str, mail: Callable[[], bytes]) -> Sent:
        """Send the mail unless that was already done, and record the outcome."""
        server = self._smtp()
        state = await asyncio.to_thread(self._outbox.state, record.id, record.message_id)
        if state.sent is not None:
            return state.sent
        try:
            async with heartbeats():
                answer = await server.send(sender, to, mail(), lambda: self._claim(record, state.number))
        except UnsentError as error:
            await self._settle(record, state.number, FAILED, str(error))
            raise error.__cause__ or error from None
        status = {True: SentStatus.SENT, False: SentStatus.REFUSED, None: SentStatus.UNKNOWN}[answer.accepted]
        reason = "" if answer.accepted else answer.words
        await self._settle(record, state.number, status, reason)
        return Sent(status=status, message_id=record.message_id, reason=reason)

    async def _claim(self, record: LetterRecord, number: int) -> None:
        if not await asyncio.to_thread(self._outbox.claim, record.id, number):
            raise ApplicationError("another attempt to send this letter is under way", type="MailBusy")

    async def _settle(self, record: LetterRecord, number: int, status: SentStatus | str, reason: str) -> None:
        try:
            await asyncio.to_thread(self._outbox.settle, record.id, number, status, reason)
        except StoreUnavailableError as error:
            # The outcome still goes to Temporal; it is lost only if this process dies first.
            _log.warning("%s: its outcome could not be recorded: %s", record.message_id, error)


def smtp_server(settings: MailSettings) -> SmtpServer | None:
    """The server that sends mail; None if none is set up."""
    return SmtpServer(settings.smtp, _domain(settings.sender)) if settings.smtp else None


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _content(letter: Letter) -> str:
    # Exclude defaults, so that a new field in a later version does not change existing digests.
    return digest(letter.model_dump(mode="json", exclude_defaults=True))


def _no_address(to: str) -> Sent:
    return Sent(status=SentStatus.REFUSED, message_id="", reason=f"{to[:254]!r} is no mail address")

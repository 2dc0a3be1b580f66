"""Sends mail: notices to the people agents work for, and letters that people approved. Each once."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity

from common.approval import Authorization
from common.mail import Letter, LetterPlan, Sent
from common.notices import Delivery


class SendLetter(BaseModel, frozen=True):
    """Send `letter`, one of those of the approved `plan`, on the word of `authorization`."""

    plan: LetterPlan
    letter: Letter
    authorization: Authorization | None = None


class Mail:
    """The activities that send mail."""

    @activity.defn(name="mail_notice")
    async def mail_notice(self, delivery: Delivery) -> Sent:
        """Mail a notice to `delivery.address`, with the approval link of `delivery.person` where it asks.

        Raises:
            ApplicationError: for good: `MailNotSet`. For now: `MailBusy`, `MailLoginRefused`, `MailAway`.
        """
        raise NotImplementedError

    @activity.defn(name="send_letter")
    async def send_letter(self, request: SendLetter) -> Sent:
        """Have the approved letter go out once under its own key, and say what became of it.

        A refusal by a mail server is a result, `refused`, and so is an outcome that nobody can know,
        `unknown`; neither is sent again.

        Raises:
            ApplicationError: for good: `NotAuthorized`, `MailNotSet`. For now, and certainly not sent:
                `MailBusy` (with the wait that the server asks for), `MailLoginRefused`, `MailAway`.
        """
        raise NotImplementedError

    @activity.defn(name="find_letter")
    async def find_letter(self, request: SendLetter) -> Sent | None:
        """What an attempt at `send_letter` came to of which nothing was heard; None where it was not sent.

        After None, what may be left of that attempt cannot send any more. It waits (with a retryable error)
        while an attempt may still hear the server's answer.
        """
        raise NotImplementedError

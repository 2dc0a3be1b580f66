"""Sends the recruiter's letters: only those of an approved plan, each once under its own idempotency key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel
from temporalio import activity

from activities.calls.heartbeats import heartbeats
from activities.recruiting.letters import LetterBook
from activities.recruiting.records import Outgoing, SendInvitations, SendOutreach, SendReply, SentLetters
from activities.rehearsal.stand_ins import rehearsed_as
from common.approval.signing import Authority
from common.approval.stakes import Stakes
from common.approval.types import Authorization
from common.artifacts import ArtifactStore
from common.digest import digest
from common.errors import permanent
from common.mail import Letter, Sent, SentStatus

# What approvers may edit in each plan; checked here again, before acting on it.
OUTREACH_EDITABLE = ("leave_out",)
INVITATIONS_EDITABLE = ("leave_out",)
REPLY_EDITABLE = ("text",)


class LetterSender(Protocol):
    """Sends a letter once under its key, and knows its outcome."""

    async def send(self, letter: Letter, exclusive_key: str = "") -> Sent:
        """Send it and return the outcome; a letter that may have been sent under its key is not sent again.

        Only one of the letters with the same `exclusive_key` is sent, whichever comes first.
        """
        ...

    async def find(self, letter: Letter) -> Sent | None:
        """The letter's outcome; None if it was certainly not sent and no earlier attempt can still send it.

        Raises:
            ApplicationError: retryable, while an attempt may still be in progress.
        """
        ...


def _as_if_sent(_: LetterActivities, request: SendOutreach | SendInvitations | SendReply) -> SentLetters:
    match request:
        case SendOutreach():
            names = [each.candidate for each in request.letters]
        case SendInvitations():
            names = sorted(_invited(request))
        case SendReply():
            names = [request.plan.candidate]
    return SentLetters(
        sent={each: Sent(status=SentStatus.SENT, message_id=f"<{each}@rehearsed.invalid>") for each in names}
    )


class LetterActivities:
    """The recruiter's destructive activities.

    Each letter's key combines the approval's key and its own.
    """

    def __init__(self, artifacts: ArtifactStore, authority: Authority, outbox: LetterSender) -> None:
        self._artifacts = artifacts
        self._authority = authority
        self._outbox = outbox

    @activity.defn(name="send_outreach")
    @rehearsed_as(_as_if_sent)
    async def send_outreach(self, request: SendOutreach) -> SentLetters:
        """Send the requested letters, which must be among the approved ones; return each outcome.

        Raises:
            ApplicationError: permanent: `NotAuthorized`, `PolicyRefused`, and what the sender raises.
                Retryable: what the sender raises; letters already sent are found by their keys.
        """
        authorization = await self._allowed(request.authorization, request.plan, OUTREACH_EDITABLE)
        letters = await asyncio.to_thread(self._outreach, request, authorization.key)
        recipients = tuple(each.to for each in letters)
        self._authority.check_stakes(Stakes(recipients=recipients), authorization, activity.info())
        return await self._send(letters, exclusive=True)

    @activity.defn(name="find_outreach")
    async def find_outreach(self, request: SendOutreach) -> SentLetters | None:
        """The outcome of an attempt whose result was lost; None if nothing was sent."""
        key = _key(request.authorization)
        return await self._find(await asyncio.to_thread(self._outreach, request, key))

    @activity.defn(name="send_invitations")
    @rehearsed_as(_as_if_sent)
    async def send_invitations(self, request: SendInvitations) -> SentLetters:
        """Send the approved invitations, limited to `only`; raises as `send_outreach`."""
        authorization = await self._allowed(request.authorization, request.plan, INVITATIONS_EDITABLE)
        return await self._send(_invitations(request, authorization.key))

    @activity.defn(name="find_invitations")
    async def find_invitations(self, request: SendInvitations) -> SentLetters | None:
        """Like `find_outreach`, for all invitations of the plan."""
        return await self._find(_invitations(request, _key(request.authorization)))

    @activity.defn(name="send_reply")
    @rehearsed_as(_as_if_sent)
    async def send_reply(self, request: SendReply) -> SentLetters:
        """Send the approved reply; raises as `send_outreach`."""
        authorization = await self._allowed(request.authorization, request.plan, REPLY_EDITABLE)
        return await self._send([] if request.withheld else _reply(request, authorization.key))

    @activity.defn(name="find_reply")
    async def find_reply(self, request: SendReply) -> SentLetters | None:
        """Like `find_outreach`, for the reply."""
        return await self._find(_reply(request, _key(request.authorization)))

    async def _allowed(
        self, given: Authorization | None, plan: BaseModel, editable: Sequence[str]
    ) -> Authorization:
        """Check and return the approval of this plan."""
        authorization = await asyncio.to_thread(
            self._authority.authorize, given, plan, activity.info(), ("chain",)
        )
        if any(set(vote.decision.edits) - set(editable) for vote in authorization.votes):
            raise permanent(
                "NotAuthorized", f"the decision edits more of the plan than {', '.join(editable)}"
            )
        return authorization

    def _outreach(self, request: SendOutreach, key: str) -> list[Letter]:
        book = LetterBook.model_validate_json(self._artifacts.get(request.plan.letters))
        letters = []
        for each in request.letters:
            if each.candidate in request.plan.leave_out:
                raise permanent("NotAuthorized", f"{each.candidate} was left out by the approval")
            try:
                subject, text = book.compose(each)
            except (LookupError, ValueError):
                raise permanent(
                    "NotAuthorized", f"no such letter was approved: {each.candidate} {each.kind}"
                ) from None
            letters.append(
                Letter(
                    key=f"{key}:{_name(each)}",
                    agent=activity.info().workflow_id or "",
                    to=book.letters[each.candidate].to,
                    subject=subject,
                    text=text,
                    thread=each.candidate,
                    in_reply_to=each.in_reply_to,
                    choices=each.choices,
                    chain=request.chain,
                )
            )
        return letters

    async def _send(self, letters: Sequence[Letter], *, exclusive: bool = False) -> SentLetters:
        sent: dict[str, Sent] = {}
        async with heartbeats():
            for letter in letters:
                exclusive_key = letter.key.rpartition(":")[0] if exclusive else ""
                sent[letter.thread] = await self._outbox.send(letter, exclusive_key)
        return SentLetters(sent=sent)

    async def _find(self, letters: Sequence[Letter]) -> SentLetters | None:
        found = {each.thread: await self._outbox.find(each) for each in letters}
        sent = {thread: each for thread, each in found.items() if each is not None}
        return SentLetters(sent=sent) if sent else None


def _key(authorization: Authorization | None) -> str:
    return authorization.key if authorization else ""


def _name(letter: Outgoing) -> str:
    """The letter's turn, then a digest of what is only known on sending, so that a key fixes the content.

    After a restore of the server, an agent may find other slots free for the same turn.
    """
    later = digest(letter.model_dump(mode="json", include={"slots", "in_reply_to", "choices"}))[:12]
    return f"{letter.candidate}:{letter.kind}:{letter.number}:{later}"


def _invitations(request: SendInvitations, key: str) -> list[Letter]:
    invited = _invited(request)
    return [
        each.letter.model_copy(update={"key": f"{key}:{each.letter.key}", "chain": request.chain})
        for each in request.plan.invitations
        if each.candidate in invited
    ]


def _invited(request: SendInvitations) -> set[str]:
    plan = request.plan
    return set(request.only or [each.candidate for each in plan.invitations]) - set(plan.leave_out)


def _reply(request: SendReply, key: str) -> list[Letter]:
    plan = request.plan
    return [
        Letter(
            key=f"{key}:reply:{plan.candidate}:{plan.number}",
            agent=activity.info().workflow_id or "",
            to=plan.to,
            subject=plan.subject,
            text=plan.text,
            thread=plan.candidate,
            in_reply_to=plan.in_reply_to,
            choices=request.choices,
            chain=request.chain,
        )
    ]

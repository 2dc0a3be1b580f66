"""Approved letters, notices to people, and senders of both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from temporalio.testing import ActivityEnvironment

from activities.mail.outbox import SETTLE_TIME, Outbox
from activities.mail.sending import Mail, SendLetter
from activities.mail.smtp import SmtpServer
from common.approval.groups import Directory
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalPolicy, ApprovalRequest, Authorization, Decision, Verdict, Vote
from common.digest import digest
from common.key_ring import KeyRing
from common.mail import Letter, LetterPlan, Sent
from common.notices.types import Notice, NoticeEvent
from common.object_store import FolderStore
from common.settings import Settings
from tests.support.floors import floors

RING = Signer(KeyRing.of({"test": bytes(range(32))}))
AGENT = ActivityEnvironment().info.workflow_id or ""
MAILBOX = "answers@example.com"


def letter(key: str = "letter-1", **changes: Any) -> Letter:
    return Letter(
        **{
            "key": key,
            "agent": AGENT,
            "to": "bob@example.com",
            "subject": "A talk on Tuesday?",
            "text": "Hello,\n\n.a line with a dot first\nDoes Tuesday suit you? – Äpfel\n",
            "thread": "bob",
            **changes,
        }
    )


def approved(one: Letter, *more: Letter | str, plan: LetterPlan | None = None, **changes: Any) -> SendLetter:
    """A request to send `one`, with ann's approval of a plan of `one` and `more`."""
    plan = plan or LetterPlan(letters=(one, *more))
    return SendLetter(plan=plan, letter=one, authorization=approval_of(plan, **changes))


def approval_of(plan: BaseModel, **changes: Any) -> Authorization:
    """Ann's approval of a plan."""
    decision = Decision(
        id="1", request_id="approval-1", digest=digest(plan), verdict=Verdict.APPROVE, by="ann"
    )
    vote = Vote(decision=RING.sign(decision.model_copy(update=changes), AGENT, datetime.now(UTC)))
    return Authorization(
        votes=(vote,),
        policy=ApprovalPolicy(approvers=("ann",)),
        requester="owner",
        key=f"{AGENT}:send:{digest(plan)}",
    )


def notice(event: NoticeEvent = NoticeEvent.ASKED, **changes: Any) -> Notice:
    now = datetime.now(UTC)
    request = ApprovalRequest(
        id="approval-1",
        question="Send these letters?",
        plan={
            "role": "an <engineer> & more",
            "letters": [{"to": "bob@example.com", "text": "Hello\nBob"}],
            "diff": {"sha256": "0" * 64, "size": 12},
            "final": True,
        },
        digest="d" * 64,
        evidence=("2 of 3 know the language", "<script>alert(1)</script>"),
        policy=ApprovalPolicy(approvers=("ann",)),
        requester="owner",
        asked_at=now,
        expires_at=now + timedelta(days=2),
    )
    return Notice(
        **{
            "id": f"buyer-1:{event}:1",
            "agent": "buyer-1",
            "kind": "buyer",
            "owner": "owner",
            "event": event,
            "text": "Send these letters?\r\nBcc: eve@example.com",
            "request": request,
            **changes,
        }
    )


def settings_for(folder: Path, port: int, more: Mapping[str, str] | None = None) -> Settings:
    return Settings.read(
        {
            "HIBERNAUT_DATA_DIR": str(folder),
            "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{port}",
            "HIBERNAUT_MAIL_FROM": "Ann's agents <agents@example.com>",
            "HIBERNAUT_MAIL_REPLY_TO": MAILBOX,
            "HIBERNAUT_PUBLIC_URL": "https://agents.example.com",
            **(more or {}),
        }
    )


async def _say_open(notice: Notice) -> None:
    """Replaces the check that the question is still open: there is no agent to ask."""


class MailDesk:
    """Sends mail by a server, with an outbox in `folder`."""

    def __init__(
        self,
        folder: Path,
        port: int,
        more: Mapping[str, str] | None = None,
        *,
        settle_time: timedelta = SETTLE_TIME,
        data_seconds: float = 10.0,
    ) -> None:
        self.settings = settings_for(folder, port, more)
        mail = self.settings.mail
        assert mail.smtp
        self.store = FolderStore(folder / "objects")
        self.outbox = Outbox(self.store, RING, settle_time=settle_time)
        self.authority = Authority(RING, Directory(folder / "groups.json"), floors(), accept_unsigned=False)
        server = SmtpServer(mail.smtp, "example.com", data_seconds)
        self.mail = Mail(
            mail, self.settings.http.public_url, server, self.outbox, self.authority, RING, _say_open
        )

    async def send(self, request: SendLetter) -> Sent:
        return await ActivityEnvironment().run(self.mail.send_letter, request)

    async def find(self, request: SendLetter) -> Sent | None:
        return await ActivityEnvironment().run(self.mail.find_letter, request)

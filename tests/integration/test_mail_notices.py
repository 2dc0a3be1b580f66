"""Notices by mail: what is asked, and the link of whom it is for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from common.approval.link import ApprovalLink
from common.mail import SentStatus
from common.notices.types import Delivery, NoticeEvent
from tests.support.mail.desk import RING, MailDesk, notice
from tests.support.mail.smtp_server import smtp_server


async def test_a_notice_says_what_is_asked_and_holds_the_link_of_whom_it_is_for(tmp_path: Path) -> None:
    """Plan, evidence, expiry as text and HTML, everything escaped; machines leave it alone; sent once."""
    async with smtp_server() as server:
        desk = MailDesk(tmp_path, server.port)
        delivery = Delivery(notice=notice(), way="email", address="ann@example.com", person="ann")
        sent = await ActivityEnvironment().run(desk.mail.mail_notice, delivery)
        assert await ActivityEnvironment().run(desk.mail.mail_notice, delivery) == sent
        assert sent.status is SentStatus.SENT
    [taken] = server.taken
    mail = taken.mail
    assert (taken.sender, mail["To"], mail["Bcc"]) == ("agents@example.com", "ann@example.com", None)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Reply-To"] is None
    assert mail["Subject"].startswith("Approval asked: Send these letters?")
    text, html = (part.get_content() for part in mail.iter_parts())
    for words in ("Hello", "Bob", "2 of 3 know the language", "12 bytes", "Final: yes", "UTC", "buyer-1"):
        assert words in text, text
    assert "an <engineer> & more" in text
    assert "an &lt;engineer&gt; &amp; more" in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    [*opened, url] = re.findall(r"https://agents\.example\.com/approve/(\S+)", text)
    assert [each.partition("/artifacts/")[0] for each in opened] == [url], (
        "what the plan refers to opens there"
    )
    assert f"/approve/{url}" in html
    link = ApprovalLink.read(url, RING, datetime.now(UTC))
    assert (link.agent, link.request_id, link.approver) == ("buyer-1", "approval-1", "ann")
    assert link.digest == "d" * 64


@pytest.mark.parametrize(
    ("event", "changes", "person"),
    [
        (NoticeEvent.ASKED, {}, ""),
        (NoticeEvent.DECIDED, {}, "ann"),
        (NoticeEvent.STUCK, {"request": None}, "ann"),
    ],
    ids=["for nobody in person", "nothing to decide any more", "about no request"],
)
async def test_a_link_is_only_where_somebody_may_decide_something(
    tmp_path: Path, event: NoticeEvent, changes: dict[str, Any], person: str
) -> None:
    async with smtp_server() as server:
        delivery = Delivery(
            notice=notice(event, **changes), way="email", address="ann@example.com", person=person
        )
        await ActivityEnvironment().run(MailDesk(tmp_path, server.port).mail.mail_notice, delivery)
    assert "/approve/" not in server.taken[0].mail.as_string()

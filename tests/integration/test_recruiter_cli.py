"""A recruiter from the command line, as the docs have it, through a worker process and a real mail server."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from icalendar import Calendar

from cli.children import end_child, start_child
from cli.dev_server import DevServer
from common.approval.types import ApprovalsView
from common.mail import IncomingMail, MailKind
from testing.stage import answer_of
from testing.waiting import eventually
from tests.support.desk import ROOT, Desk, open_desk
from tests.support.mail.smtp_server import SmtpRecorder, smtp_server

DOCS = (ROOT / "docs" / "recruiter.md").read_text()


async def test_the_command_of_the_docs_ends_in_an_invitation(server: DevServer, tmp_path: Path) -> None:
    """Start, approve, a yes, a number, approve: three mails to one candidate, the last an invitation."""
    [command] = re.findall(r"^    python starter\.py (start recruiter .*)$", DOCS, re.MULTILINE)
    sample = tmp_path / "sample"
    shutil.copytree(ROOT / "tests" / "samples" / "recruiting", sample)
    async with smtp_server() as smtp, open_desk(server, tmp_path / tmp_path.name) as desk:
        worker = await start_child(
            [sys.executable, str(ROOT / "worker.py")],
            environment={
                **desk.environment,
                "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{smtp.port}",
                "HIBERNAUT_MAIL_FROM": "agents@example.com",
                "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
                "HIBERNAUT_PUBLIC_URL": "http://localhost:8080",
            },
            log=tmp_path / "worker.log",
        )
        try:
            words = command.replace("candidates.json", str(sample / "candidates.json")).split()
            started = await desk.run(*words, "--set", f"profiles={sample / 'profiles'}")
            assert started.code == 0, started.err
            await live(desk, smtp, started.out.strip())
        finally:
            await end_child(worker, 30)


async def live(desk: Desk, smtp: SmtpRecorder, id: str) -> None:
    await asked(desk, id, "Write to 2 candidates")
    assert smtp.taken == []
    assert (await desk.run("approve", id, "--edit", 'leave_out=["c2"]')).code == 0
    await eventually(lambda: arrived(smtp, 1))
    first = smtp.taken[0].mail
    assert str(first["Reply-To"]).startswith("answers+")
    assert "1. When could you start?" in first.get_content()

    await writes(desk, id, "Yes, I am interested.")
    await eventually(lambda: arrived(smtp, 2))
    assert "1. Tuesday, 1 December 2099, 10:00-10:45 (Europe/Berlin)" in smtp.taken[1].mail.get_content()
    assert smtp.taken[1].mail["In-Reply-To"] == "<1@example.com>"

    await writes(desk, id, "1", number=2)
    await asked(desk, id, "Invite 1 candidate")
    assert (await desk.run("approve", id)).code == 0
    await eventually(lambda: arrived(smtp, 3))
    parts = {part.get_content_type(): part for part in smtp.taken[2].mail.walk()}
    invitation = parts["text/calendar"]
    assert invitation.get_param("method") == "REQUEST"
    [event] = Calendar.from_ical(invitation.get_content()).walk("VEVENT")
    assert event.decoded("DTSTART") == datetime(2099, 12, 1, 9, 0, tzinfo=UTC)

    await writes(desk, id, "I have to withdraw, sorry.", number=3)
    result = await desk.run("result", id, "--wait")
    assert result.json["counts"] == {"withdrawn": 1, "not_written_to": 1}
    report = Path(result.json["report"]["markdown"]).read_text()
    assert "age or birth (1), nationality (1)" in report
    assert not re.search(r"\b1985\b", report)
    assert [each.recipient for each in smtp.taken] == ["c1@example.com"] * 3


async def asked(desk: Desk, id: str, begins: str) -> None:
    async def find() -> bool:
        # The worker may still be starting.
        view = await answer_of(desk.client.get_workflow_handle(id), "approvals", ApprovalsView)
        return any(each.question.startswith(begins) for each in view.open)

    await eventually(find)


async def arrived(smtp: SmtpRecorder, count: int) -> bool:
    await asyncio.sleep(0)
    return len(smtp.taken) >= count


async def writes(desk: Desk, id: str, text: str, number: int = 1) -> None:
    """Mail comes in, as the mailbox hands it on."""
    mail = IncomingMail(
        message_id=f"<{number}@example.com>",
        thread="c1",
        kind=MailKind.ANSWER,
        sender="c1@example.com",
        subject="Re: Keeper of tides",
        text=text,
        received_at=datetime.now(UTC),
    )
    await desk.client.get_workflow_handle(id).signal("mail", mail)

"""Mail arrives at the agent that it is for: dovecot, an SMTP server, Temporal, and a worker that listens."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

import activities.mail.imap as imap
import activities.mail.mailbox as listening
import worker
from activities.calls.interceptor import ReliableReports
from activities.mail.imap import ImapSession
from activities.mail.mailbox import ListenRequest, Mailbox
from activities.starts import StartChecks
from cli.children import end_child, start_child
from cli.dev_server import DevServer
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.mail import MAILROOM, IncomingMail, MailKind, MailroomRequest
from common.notices.types import Delivery, Notice, NoticeEvent
from common.settings import Settings
from common.settings.mail import MailServer
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.mail.desk import MailDesk, approved, letter
from tests.support.mail.dovecot import PASSWORD, USER, Dovecot, dovecot
from tests.support.mail.mails import dsn, mail
from tests.support.mail.smtp_server import ReceivedMail, SmtpRecorder, certificate, smtp_server
from tests.support.stack import ROOT
from workflows.mailroom import Mailroom

AGENTS = 4


class Post:
    """Agents that sleep, a letter of each that went out, and the mailbox that answers come to."""

    def __init__(
        self, client: Client, settings: Settings, desk: MailDesk, box: Dovecot, server: SmtpRecorder
    ) -> None:
        self.client = client
        self.settings = settings
        self.desk = desk
        self.box = box
        self.server = server
        self.agents: list[str] = []
        self.mailbox = Mailbox(client, settings.mail, desk.outbox)

    async def begin(self) -> None:
        """Start agents, which nobody works for here, and send a letter of each to bob-N@example.com."""
        for number in range(AGENTS):
            id = f"agent-{self.settings.task_queue}-{number}"
            await self.client.start_workflow("sleeps", id=id, task_queue=f"{self.settings.task_queue}-none")
            self.agents.append(id)
            one = letter(f"{id}:1", agent=id, thread=f"bob-{number}", to=f"bob-{number}@example.com")
            assert (await self.desk.send(approved(one))).status == "sent"

    async def end(self) -> None:
        """Leave no agent behind."""
        for id in self.agents:
            # One may have ended before.
            with contextlib.suppress(RPCError):
                await self.client.get_workflow_handle(id).terminate()

    def sent(self, number: int) -> ReceivedMail:
        return self.server.to(f"bob-{number}@example.com")[0]

    def address(self, number: int) -> str:
        return str(self.sent(number).mail["Reply-To"])

    def answer(self, number: int, text: str = "Yes, Tuesday.\n", **headers: str) -> bytes:
        """An answer of bob-N to the letter that they got, as their program makes it."""
        letter_id = str(self.sent(number).mail["Message-ID"])
        told = {
            "From": f"Bob <bob-{number}@example.com>",
            "To": self.address(number),
            "Delivered_To": self.address(number),
            "In_Reply_To": letter_id,
            "Message_ID": f"<{number}-{len(headers)}-{self.settings.task_queue}@bob.example.com>",
        }
        return mail(text, **{**told, **headers})

    async def heard(self, number: int) -> list[IncomingMail]:
        """What the agent was told, by its history."""
        history = await self.client.get_workflow_handle(self.agents[number]).fetch_history()
        found = []
        for event in history.events:
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                told = event.workflow_execution_signaled_event_attributes
                assert told.signal_name == "mail"
                [value] = await self.client.data_converter.decode(told.input.payloads, [IncomingMail])
                found.append(value)
        return found

    async def until_sorted(self) -> None:
        """Wait until the inbox is empty."""

        async def empty() -> bool:
            return self.box.is_empty()

        await eventually(empty)

    async def sort(self) -> dict[str, int]:
        """Listen until the inbox is empty, as a worker that ends then."""
        environment = ActivityEnvironment()
        listens = asyncio.create_task(environment.run(self.mailbox.listen, ListenRequest(seconds=600)))
        await asyncio.wait([listens, asyncio.create_task(self.until_sorted())], return_when="FIRST_COMPLETED")
        environment.worker_shutdown()
        return (await listens).counts


@asynccontextmanager
async def post(settings: Settings, box: Dovecot) -> AsyncIterator[Post]:
    async with smtp_server() as server:
        desk = MailDesk(settings.data_dir, server.port, box.environment())
        client = await connect(settings)
        built = Post(client, _with_mail(settings, server, box), desk, box, server)
        try:
            await built.begin()
            yield built
        finally:
            await built.end()


def _environment(settings: Settings, server: SmtpRecorder, box: Dovecot) -> dict[str, str]:
    return {
        "HIBERNAUT_DATA_DIR": str(settings.data_dir),
        "HIBERNAUT_TASK_QUEUE": settings.task_queue,
        "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{server.port}",
        "HIBERNAUT_MAIL_FROM": "agents@example.com",
        "HIBERNAUT_APPROVAL_KEYS": f"test:{bytes(range(32)).hex()}",
        **box.environment(),
    }


def _with_mail(settings: Settings, server: SmtpRecorder, box: Dovecot) -> Settings:
    return Settings.read(_environment(settings, server, box))


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Dovecot]:
    async with dovecot() as running:
        yield running


@pytest.fixture
async def desk(settings: Settings, box: Dovecot) -> AsyncIterator[Post]:
    """Each test begins with an empty mailbox."""
    box.clear()
    async with post(settings, box) as built:
        yield built


async def test_each_mail_comes_to_the_agent_it_is_for(desk: Post) -> None:
    """An answer, an absence, two bounces; by the address, in whatever case, or by what it answers."""
    by_reference = desk.answer(3, "Friday.\n", To="answers@example.com", Delivered_To="answers@example.com")
    for each in (
        desk.answer(0, "Yes.\n\nOn Mon, 3 Aug 2026, Ann <a@example.com> wrote:\n> Tuesday?\n"),
        desk.answer(1, "I am away until tomorrow.\n", Auto_Submitted="auto-replied"),
        dsn(to=desk.sent(2).sender.upper(), original=False),
        by_reference,
    ):
        desk.box.deliver(each)
    assert await desk.sort() == {"Done": 4}
    (answer,), (away,), (bounce,), (other,) = [await desk.heard(number) for number in range(AGENTS)]
    assert (answer.kind, answer.thread, answer.text) == (MailKind.ANSWER, "bob-0", "Yes.")
    assert answer.sender == "bob-0@example.com"
    assert abs(answer.received_at - datetime.now(UTC)) < timedelta(hours=1)
    assert (away.kind, away.thread) == (MailKind.OUT_OF_OFFICE, "bob-1")
    assert away.back_at
    assert (bounce.kind, bounce.thread) == (MailKind.BOUNCE, "bob-2")
    assert (other.kind, other.thread, other.text) == (MailKind.ANSWER, "bob-3", "Friday.")
    assert (len(desk.box.holds("Done")), desk.box.unread("Done")) == (4, 0)


async def test_what_is_for_no_agent_is_kept_aside_unread_and_shown(desk: Post) -> None:
    """A forged address, a stranger who knows what to refer to, an answer to a notice, no answer at all."""
    notice = Notice(
        id="n1", agent=desk.agents[0], kind="sleeps", owner="o", event=NoticeEvent.FINISHED, text="Done."
    )
    delivery = Delivery(notice=notice, way="email", address="ann@example.com")
    await ActivityEnvironment().run(desk.desk.mail.mail_notice, delivery)
    notice_id = str(desk.server.to("ann@example.com")[0].mail["Message-ID"])
    token, other = (re.findall(r"\+(\w{28})@", desk.address(number))[0] for number in (0, 1))
    bare = {"Delivered_To": "", "To": "answers@example.com"}
    forged = f"answers+{token[:16]}{other[16:]}@example.com"
    for each in (
        mail(Delivered_To=forged, To=forged, In_Reply_To="", Subject="forged"),
        desk.answer(0, **bare, From="eve@example.com"),
        mail(
            Delivered_To="",
            To="answers@example.com",
            From="ann@example.com",
            In_Reply_To=notice_id,
            Subject="ok",
        ),
        mail(Delivered_To="", To="answers@example.com", In_Reply_To="", Subject="\x1b[31mBuy now"),
    ):
        desk.box.deliver(each)
    assert await desk.sort() == {"Unmatched": 4}
    assert [await desk.heard(number) for number in range(AGENTS)] == [[], [], [], []]
    assert (len(desk.box.holds("Unmatched")), desk.box.unread("Unmatched")) == (4, 4)
    shown = json.loads(await starter(desk, "mail", "--unmatched", "--json"))
    assert shown["letters"] == {"sent": 5, "refused": 0, "unknown": 0, "open": 0}
    assert shown["folders"] == {"INBOX": 0, "Done": 0, "Late": 0, "Unmatched": 4}
    senders = {line["sender"] for line in shown["unmatched"]}
    assert senders == {"bob@example.com", "eve@example.com", "ann@example.com"}
    table = await starter(desk, "mail", "--unmatched")
    assert "forged" in table
    assert "\x1b" not in table


async def starter(desk: Post, *arguments: str) -> str:
    """What the command line prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), *arguments),
        env={**os.environ, **_environment(desk.settings, desk.server, desk.box)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_mail_for_an_agent_that_ended_is_late(desk: Post) -> None:
    await desk.client.get_workflow_handle(desk.agents[0]).terminate()
    desk.box.deliver(desk.answer(0))
    assert await desk.sort() == {"Late": 1}
    assert desk.box.unread("Late") == 1


async def test_a_report_that_decides_nothing_is_for_nobody(desk: Post) -> None:
    desk.box.deliver(dsn("delayed", to=desk.address(0)))
    assert await desk.sort() == {"Done": 1}
    assert await desk.heard(0) == []


async def test_of_a_mail_that_is_too_large_the_headers_are_read(
    desk: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays in the mailbox whole, and the agent hears of it."""
    monkeypatch.setattr(imap, "MAX_BYTES", 100_000)
    desk.box.deliver(desk.answer(0, "A long story. " * 20_000))
    assert await desk.sort() == {"Done": 1}
    [heard] = await desk.heard(0)
    assert heard.text == ""
    assert re.fullmatch(r"the whole mail of \d{6} bytes, .*", heard.attachments[0])
    assert "A long story" in desk.box.holds("Done")[0].decode()


async def test_a_crash_between_hand_over_and_filing_hands_over_the_same_mail_again(
    desk: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent knows it again by its Message-ID."""
    file = ImapSession.file

    def breaks(*arguments: Any, **more: Any) -> None:
        monkeypatch.setattr(ImapSession, "file", file)
        raise OSError("the connection broke")

    monkeypatch.setattr(ImapSession, "file", breaks)
    desk.box.deliver(desk.answer(0))
    with pytest.raises(Exception, match="the connection broke"):
        await desk.sort()
    assert len(desk.box.holds()) == 1
    assert await desk.sort() == {"Done": 1}
    first, second = await desk.heard(0)
    assert first == second


async def test_the_mailbox_is_verified_and_signed_in_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown certificate, then a wrong password, then everything right; told by itself under TLS, too."""
    _, pem = certificate(tmp_path)
    async with dovecot(certificate=pem) as box:
        right = MailServer("127.0.0.1", box.port, True, False, USER, PASSWORD)

        async def refused(server: MailServer) -> ApplicationError:
            with pytest.raises(ApplicationError) as error:
                await asyncio.to_thread(ImapSession, server, "")
            return error.value

        unknown = await refused(right)
        assert (unknown.type, unknown.non_retryable) == ("MailAway", False)
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        wrong = await refused(dataclasses.replace(right, password="wrong"))
        assert (wrong.type, wrong.non_retryable) == ("MailLoginRefused", False)
        assert "HIBERNAUT_IMAP_USER" in wrong.message
        session = await asyncio.to_thread(ImapSession, right, "")
        try:
            assert await asyncio.to_thread(session.uids) == []
            await asyncio.to_thread(session.begin_idle)
            box.deliver(mail())
            assert await asyncio.to_thread(session.wait_for_news, 60)
            await asyncio.to_thread(session.end_idle)
            assert len(await asyncio.to_thread(session.uids)) == 1
        finally:
            session.close()


@pytest.mark.parametrize("idle", [True, False], ids=["IDLE", "polling"])
async def test_a_listener_hears_what_comes_and_gets_over_a_servers_restart(
    settings: Settings, idle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mailroom on a real worker; a server that does not tell is asked, and IDLE is never said to it."""
    monkeypatch.setattr(listening, "POLL_SECONDS", 0.3)
    # So long that only what the server tells by itself can be heard in time.
    monkeypatch.setattr(listening, "IDLE_SECONDS", 3600.0)
    signer = Signer.load(settings, create=True)
    async with dovecot(idle=idle) as box, post(settings, box) as desk:
        room = await desk.client.start_workflow(
            MAILROOM,
            sign_start(MAILROOM, MailroomRequest(), signer),
            id=f"{MAILROOM}-{settings.task_queue}",
            task_queue=settings.task_queue,
        )
        built = worker.build(
            desk.client,
            settings,
            reports=ReliableReports(desk.client),
            workflows=[Mailroom],
            objects=[desk.mailbox, StartChecks(signer)],
        )

        async def heard(number: int) -> bool:
            return len(await desk.heard(number)) == 1

        async def is_told() -> bool:
            return (" IDLE" if idle else " SEARCH") in box.said()

        try:
            async with built:
                await eventually(is_told)
                box.deliver(desk.answer(0))
                await eventually(lambda: heard(0))
                await box.stop()
                await box.start()
                box.deliver(desk.answer(1))
                await eventually(lambda: heard(1))
                await desk.until_sorted()
        finally:
            await room.terminate()
        assert (" IDLE" in box.said()) is idle
        assert len(box.holds("Done")) == 2


async def test_a_killed_listeners_place_is_taken(desk: Post, server: DevServer, tmp_path: Path) -> None:
    """Two workers, one of which listens; it is killed, and the next answer is heard by the other."""
    environment = {**os.environ, **_environment(desk.settings, desk.server, desk.box)}
    workers = [
        await start_child(
            [sys.executable, str(ROOT / "worker.py")],
            environment={**environment, "TEMPORAL_ADDRESS": server.address},
            log=tmp_path / f"worker-{number}.log",
        )
        for number in (1, 2)
    ]
    room = desk.client.get_workflow_handle(MAILROOM)

    async def listener() -> int:
        """The process that listens, by what Temporal knows of it."""
        if (
            not (tmp_path / "worker-1.log").exists()
            or "worker ready" not in (tmp_path / "worker-1.log").read_text()
        ):
            return 0
        pending = (await room.describe()).raw_description.pending_activities
        found = [
            each.last_worker_identity.partition("@")[0]
            for each in pending
            if each.last_heartbeat_time.seconds
        ]
        return int(found[0]) if found and found[0] else 0

    async def heard(number: int) -> bool:
        return len(await desk.heard(number)) == 1

    async def both_ready() -> bool:
        logs = (tmp_path / f"worker-{number}.log" for number in (1, 2))
        return all("worker ready" in log.read_text() for log in logs)

    try:
        await eventually(both_ready)
        first = await eventually(listener)
        desk.box.deliver(desk.answer(0))
        await eventually(lambda: heard(0))
        assert first in [each.pid for each in workers]
        os.kill(first, signal.SIGKILL)
        desk.box.deliver(desk.answer(1))
        await eventually(lambda: heard(1))
        assert await eventually(listener) in {each.pid for each in workers} - {first}
    finally:
        await room.terminate()
        for each in workers:
            await end_child(each, 20)

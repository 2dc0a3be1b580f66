"""Letters go out once, over a real SMTP server that fails as servers do."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icalendar
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.mail.outbox import SETTLE_TIME, Outbox, address_digest, letter_id, objects_of
from activities.mail.sending import Mail, SendLetter
from activities.recruiting.letters import LetterBook, WrittenLetter
from activities.recruiting.records import LetterKind, Outgoing, SendOutreach
from activities.recruiting.sending import LetterActivities
from common.agents.recruiter import OutreachPlan, Slot
from common.approval.signing import Authority
from common.approval.types import Verdict
from common.artifacts import ArtifactStore
from common.digest import digest
from common.mail import LetterPlan, Sent, SentStatus
from common.notices.types import Delivery
from common.object_store import FolderStore
from common.settings import Settings
from common.temporal.converter import AgentPayloadConverter
from tests.support.mail.desk import AGENT, RING, MailDesk, approval_of, approved, letter, notice
from tests.support.mail.smtp_server import PASSWORD, USER, certificate, smtp_server
from tests.support.recruiting.stage import slots

INVITATION = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@example.com\r\n"
    "DTSTAMP:20260803T100000Z\r\nDTSTART:20260804T100000Z\r\nSUMMARY:A talk – über Äpfel\r\nEND:VEVENT\r\n"
    "END:VCALENDAR\r\n"
)


async def test_a_letter_goes_out_once_with_addresses_that_name_it(tmp_path: Path) -> None:
    """However often it is sent, by whichever worker; the words arrive as they were written."""
    async with smtp_server() as server:
        request = approved(letter())
        sent = await MailDesk(tmp_path, server.port).send(request)
        assert sent.status is SentStatus.SENT
        desk = MailDesk(tmp_path, server.port)
        assert await desk.send(request) == sent == await desk.find(request)
    [taken] = server.taken
    mail = taken.mail
    assert mail["From"] == "Ann's agents <agents@example.com>"
    assert (mail["To"], mail["Subject"]) == ("bob@example.com", "A talk on Tuesday?")
    assert mail.get_content() == letter().text.replace("\n", "\r\n") or mail.get_content() == letter().text
    assert mail["Message-ID"] == sent.message_id
    # Bounces come back to the same address as answers.
    assert mail["Reply-To"] == taken.sender
    local, _, domain = taken.sender.partition("@")
    assert len(local) <= 64
    assert domain == "example.com"
    assert local == local.lower()
    record = desk.outbox.find(local.partition("+")[2].upper())
    assert record
    assert (record.agent, record.thread) == (AGENT, "bob")
    assert record.to == address_digest("BOB@example.com")
    assert "bob@example.com" not in record.model_dump_json()


async def test_an_invitation_is_an_alternative_and_a_file(tmp_path: Path) -> None:
    async with smtp_server() as server:
        wanted = letter(html="<p>Does <b>Tuesday</b> suit you?", calendar=INVITATION, in_reply_to="<a@b>")
        await MailDesk(tmp_path, server.port).send(approved(wanted))
    mail = server.taken[0].mail
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "text/calendar",
        "application/ics",
    ]
    for part in list(mail.walk())[-2:]:
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        [event] = icalendar.Calendar.from_ical(data).walk("VEVENT")
        assert str(event["SUMMARY"]) == "A talk – über Äpfel"
    assert list(mail.walk())[-2].get_param("method") == "REQUEST"
    assert (mail["In-Reply-To"], mail["References"]) == ("<a@b>", "<a@b>")


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        ("mail 421 too busy", timedelta(minutes=1)),
        ("rcpt 450 Greylisted, try again in 300 seconds", timedelta(minutes=5)),
        ("rcpt 451 4.7.1 come back in 2 minutes", timedelta(minutes=2)),
        ("data 452 4.3.1 no room", timedelta(minutes=5)),
        ("rcpt 450 wait 99999 hours", timedelta(hours=4)),
    ],
)
async def test_for_now_means_later(tmp_path: Path, fault: str, wait: timedelta) -> None:
    """The wait that the server asks for, within bounds; then it goes out, once."""
    async with smtp_server() as server:
        server.script = [fault]
        desk, request = MailDesk(tmp_path, server.port), approved(letter())
        with pytest.raises(ApplicationError) as refused:
            await desk.send(request)
        assert server.struck == [fault]
        assert (refused.value.type, refused.value.non_retryable) == ("MailBusy", False)
        assert refused.value.next_retry_delay == wait
        assert await desk.find(request) is None
        assert (await desk.send(request)).status is SentStatus.SENT
    assert len(server.taken) == 1


@pytest.mark.parametrize(
    "fault", ["rcpt 550 5.1.1 no such user here", "data 552 5.3.4 too large", "mail 553 not your address"]
)
async def test_a_refusal_is_a_result_in_the_servers_words(tmp_path: Path, fault: str) -> None:
    """And it is final: nobody asks again."""
    async with smtp_server() as server:
        server.script = [fault]
        desk, request = MailDesk(tmp_path, server.port), approved(letter())
        sent = await desk.send(request)
        assert server.struck == [fault]
        assert (sent.status, sent.reason) == (SentStatus.REFUSED, fault.partition(" ")[2])
        assert await desk.send(request) == sent == await desk.find(request)
        assert server.connections == 1
    assert server.taken == []


async def test_a_connection_that_breaks_before_the_letter_means_later(tmp_path: Path) -> None:
    async with smtp_server() as server:
        server.script = ["drop rcpt"]
        desk, request = MailDesk(tmp_path, server.port), approved(letter())
        with pytest.raises(ApplicationError) as broke:
            await desk.send(request)
        assert (broke.value.type, broke.value.non_retryable) == ("MailAway", False)
        assert (await desk.send(request)).status is SentStatus.SENT
    assert len(server.taken) == 1


@pytest.mark.parametrize("fault", ["drop data", "hold data"])
async def test_a_connection_that_breaks_after_the_letter_means_unknown(tmp_path: Path, fault: str) -> None:
    """The server may have it, and here it has; so it is not sent again."""
    async with smtp_server() as server:
        server.script = [fault]
        # The one is waited for in vain.
        seconds = 1 if fault == "hold data" else 60
        desk, request = MailDesk(tmp_path, server.port, data_seconds=seconds), approved(letter())
        sent = await desk.send(request)
        assert server.struck == [fault]
        assert sent.status is SentStatus.UNKNOWN
        assert "no answer came" in sent.reason
        assert await desk.send(request) == sent == await desk.find(request)
    assert len(server.taken) == 1


async def test_of_the_letters_of_a_turn_one_goes_out(tmp_path: Path) -> None:
    """A restored server has an agent write another, with newer facts, while the first may have arrived.

    Where that certainly did not go out, or was refused, the other one does.
    """
    texts = ("Monday or Tuesday?", "Wednesday or Thursday?")
    async with smtp_server() as server:
        desk = MailDesk(tmp_path, server.port)

        async def send(turn: str, text: str) -> Sent:
            return await ActivityEnvironment().run(
                desk.mail.send, letter(key=f"{turn}:{text}", text=text), turn
            )

        for fault, first, second in (
            (None, SentStatus.SENT, SentStatus.UNKNOWN),
            ("rcpt 550 no", SentStatus.REFUSED, SentStatus.SENT),
            ("drop rcpt", None, SentStatus.SENT),
        ):
            server.script = [fault] if fault else []
            if first is None:
                with pytest.raises(ApplicationError):
                    await send(f"{fault}", texts[0])
            else:
                assert (await send(f"{fault}", texts[0])).status is first
            for _ in range(2):
                assert (await send(f"{fault}", texts[1])).status is second
        assert [each.mail.get_content().strip() for each in server.taken] == [texts[0], texts[1], texts[1]]
        theirs = objects_of(desk.store, [AGENT])
        assert sum(each.key.startswith("turns/") for each in theirs) == 3
        assert objects_of(desk.store, ["another"]) == []


async def test_a_proposal_of_other_times_does_not_go_out_beside_the_first(tmp_path: Path) -> None:
    """Of the recruiter, whose calendar has changed since the server's older copy was made."""
    async with smtp_server() as server:
        desk, artifacts = MailDesk(tmp_path, server.port), ArtifactStore(FolderStore(tmp_path / "artifacts"))
        written = WrittenLetter(to="c@example.com", name="C", subject="s", first="f", follow_up="u")
        book = LetterBook(
            sender="s",
            title="t",
            answer_within=timedelta(days=1),
            letters={"c": written},
            slots=tuple(map(Slot.model_validate, slots(3))),
        )
        plan = OutreachPlan(
            role="t",
            count=1,
            letters=artifacts.put(book.model_dump_json().encode()),
            sample=(),
            recipients=(),
            slots=3,
            proposal="",
            answer_within=timedelta(days=1),
            model="offline",
        )
        letters = LetterActivities(artifacts, desk.authority, desk.mail)
        outcomes = []
        for times in ((0, 1), (1, 2), (0, 1)):
            proposal = Outgoing(candidate="c", kind=LetterKind.PROPOSAL, slots=times)
            request = SendOutreach(plan=plan, letters=(proposal,), chain="c", authorization=approval_of(plan))
            sent = await ActivityEnvironment().run(letters.send_outreach, request)
            outcomes.append(sent.sent["c"].status)
        assert outcomes == [SentStatus.SENT, SentStatus.UNKNOWN, SentStatus.SENT]
    assert len(server.taken) == 1


async def test_nothing_listens_there(tmp_path: Path) -> None:
    async with smtp_server() as server:
        port = server.port
    with pytest.raises(ApplicationError, match="HIBERNAUT_SMTP") as away:
        await MailDesk(tmp_path, port).send(approved(letter()))
    assert (away.value.type, away.value.non_retryable) == ("MailAway", False)


def test_by_a_clock_that_is_days_behind_a_letter_is_not_waited_for_any_longer(tmp_path: Path) -> None:
    """Nobody can know yet what became of it; that is asked again as soon as by any other clock."""
    store, now = FolderStore(tmp_path), datetime.now(UTC)
    about = {
        "agent": AGENT,
        "thread": "bob",
        "to": "bob@example.com",
        "content": "c",
        "domain": "example.com",
    }
    right, behind = (Outbox(store, RING, lambda at=at: at) for at in (now, now - timedelta(days=3)))
    record = right.enter("letter-1", **about)
    assert right.claim(record.id, 1)
    with pytest.raises(ApplicationError) as busy:
        behind.state(record.id, record.message_id)
    assert busy.value.type == "MailBusy"
    assert busy.value.next_retry_delay is not None
    assert busy.value.next_retry_delay <= SETTLE_TIME


async def test_of_many_that_send_a_letter_at_once_one_does(tmp_path: Path) -> None:
    """Whoever comes late is told that it is under way, or what became of it."""
    async with smtp_server() as server:
        request = approved(letter())
        desks = [MailDesk(tmp_path, server.port) for _ in range(8)]
        outcomes = await asyncio.gather(*(desk.send(request) for desk in desks), return_exceptions=True)
        for outcome in outcomes:
            assert getattr(outcome, "status", None) is SentStatus.SENT or (
                isinstance(outcome, ApplicationError) and outcome.type == "MailBusy"
            ), outcome
        assert len(server.taken) == 1
        assert (await desks[0].send(request)).status is SentStatus.SENT
    assert len(server.taken) == 1


async def test_after_a_look_that_found_nothing_an_earlier_attempt_cannot_send(tmp_path: Path) -> None:
    """A worker that was stopped before the letter left, and goes on when it was given up."""
    async with smtp_server() as server:
        desk, request = MailDesk(tmp_path, server.port), approved(letter())
        reached, go_on = asyncio.Event(), asyncio.Event()
        claim = desk.mail._claim

        async def stopped(*arguments: Any) -> None:
            reached.set()
            await go_on.wait()
            await claim(*arguments)

        desk.mail._claim = stopped  # type: ignore[method-assign]
        late = asyncio.create_task(desk.send(request))
        await reached.wait()
        other = MailDesk(tmp_path, server.port)
        assert await other.find(request) is None
        go_on.set()
        with pytest.raises(ApplicationError, match="another attempt"):
            await late
        assert server.taken == []
        assert (await other.send(request)).status is SentStatus.SENT
    assert len(server.taken) == 1


async def test_a_cancelled_attempt_hears_the_answer_out(tmp_path: Path) -> None:
    """An agent or a worker that ends leaves no letter behind of which nobody knows."""
    async with smtp_server() as server:
        server.script = ["hold data"]
        desk, request = MailDesk(tmp_path, server.port), approved(letter())
        sending = asyncio.create_task(desk.send(request))
        await server.holding.wait()
        sending.cancel()
        await asyncio.sleep(0)
        server.release.set()
        assert (await sending).status is SentStatus.SENT
        assert (await desk.send(request)).status is SentStatus.SENT
    assert len(server.taken) == 1


async def test_another_letter_under_the_same_key_is_refused(tmp_path: Path) -> None:
    async with smtp_server() as server:
        desk = MailDesk(tmp_path, server.port)
        await desk.send(approved(letter()))
        with pytest.raises(ApplicationError, match="letter-1") as conflict:
            await desk.send(approved(letter(text="something else")))
        assert (conflict.value.type, conflict.value.non_retryable) == ("LetterConflict", True)
    assert len(server.taken) == 1


async def test_nothing_goes_out_without_a_valid_word_for_this_letter(tmp_path: Path) -> None:
    """No approval, a no, one for other letters; but the digest of a letter stands for it."""
    one, other = letter(), letter("letter-2", to="eve@example.com")
    async with smtp_server() as server:
        desk = MailDesk(tmp_path, server.port)
        for request in (
            approved(one).model_copy(update={"authorization": None}),
            approved(one, verdict=Verdict.REJECT),
            approved(one).model_copy(update={"letter": other}),
            approved(one).model_copy(update={"plan": LetterPlan(letters=(one, other)), "letter": other}),
        ):
            with pytest.raises(ApplicationError) as refused:
                await desk.send(request)
            assert refused.value.type == "NotAuthorized"
        assert server.connections == 0
        by_digest = approved(one, digest(other)).model_copy(update={"letter": other})
        assert (await desk.send(by_digest)).status is SentStatus.SENT
    assert [each.recipient for each in server.taken] == ["eve@example.com"]


class RolePlan(LetterPlan, frozen=True):
    """What an agent of its own asks people about."""

    role: str = "engineer"
    from_: datetime = datetime(2026, 8, 3, tzinfo=UTC)


async def test_an_agents_own_plan_arrives_as_it_was_approved(tmp_path: Path) -> None:
    """With all that the agent added to it, defaults included, by way of Temporal's payloads."""
    one = letter()
    request = approved(one, plan=RolePlan(letters=(one,)))
    converter = AgentPayloadConverter()
    [arrived] = converter.from_payloads(converter.to_payloads([request]), [SendLetter])
    assert arrived.plan.role == "engineer"
    async with smtp_server() as server:
        assert (await MailDesk(tmp_path, server.port).send(arrived)).status is SentStatus.SENT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"to": "bob@example.com\r\nBcc: eve@example.com"}, "no mail address"),
        ({"to": "bob@example.com, eve@example.com"}, "no mail address"),
        ({"to": "<bob@example.com>"}, "no mail address"),
        ({"to": "bob"}, "no mail address"),
        ({"subject": "Hello\r\nBcc: eve@example.com"}, ""),
        ({"in_reply_to": "<a@b>\r\nBcc: eve@example.com"}, ""),
    ],
)
async def test_nothing_breaks_out_of_a_header(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    async with smtp_server() as server:
        sent = await MailDesk(tmp_path, server.port).send(approved(letter(**changes)))
    if reason:
        assert sent.status is SentStatus.REFUSED
        assert reason in sent.reason
        assert server.connections == 0
    else:
        [taken] = server.taken
        assert taken.mail["Bcc"] is None
        assert taken.recipient == "bob@example.com"


async def test_without_settings_a_letter_fails_and_names_them(tmp_path: Path) -> None:
    """The worker itself starts; so it is with no key to sign addresses with."""
    bare = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "bare")})
    for settings, named in (
        (bare, "HIBERNAUT_SMTP"),
        (MailDesk(tmp_path / "keyless", 1).settings, "HIBERNAUT_APPROVAL_KEYS"),
    ):
        mail = Mail.build(settings, Authority.load(settings))
        delivery = Delivery(notice=notice(), way="email", address="ann@example.com")
        with pytest.raises(ApplicationError, match=named) as unset:
            await ActivityEnvironment().run(mail.mail_notice, delivery)
        assert (unset.value.type, unset.value.non_retryable) == ("MailNotSet", True)


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "TLS"])
async def test_the_server_is_verified_and_signed_in_to(
    tmp_path: Path, implicit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown certificate, then a wrong password, then everything right."""
    context, pem = certificate(tmp_path)
    scheme = "smtps" if implicit else "smtp"
    async with smtp_server(tls=context, implicit=implicit, auth=True) as server:
        there = {"HIBERNAUT_SMTP": f"{scheme}://127.0.0.1:{server.port}", "HIBERNAUT_SMTP_USER": USER}
        right = {**there, "HIBERNAUT_SMTP_PASSWORD": PASSWORD}
        with pytest.raises(ApplicationError, match="certificate") as unknown:
            await MailDesk(tmp_path, server.port, right).send(approved(letter()))
        assert unknown.value.type == "MailAway"
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        wrong = {**there, "HIBERNAUT_SMTP_PASSWORD": "wrong"}
        with pytest.raises(ApplicationError, match="HIBERNAUT_SMTP_USER") as refused:
            await MailDesk(tmp_path, server.port, wrong).send(approved(letter()))
        assert refused.value.type == "MailLoginRefused"
        assert not refused.value.non_retryable
        assert "wrong" not in str(refused.value)
        assert (await MailDesk(tmp_path, server.port, right).send(approved(letter()))).status == "sent"
        assert (server.signed_in, server.encrypted) == (1, 1)


async def test_what_a_token_names_is_signed(tmp_path: Path) -> None:
    """A forged token, a cut one, another letter's, and a record that was changed in the store."""
    async with smtp_server() as server:
        desk = MailDesk(tmp_path, server.port)
        for key in ("letter-1", "letter-2"):
            await desk.send(approved(letter(key)))
    one, two = (each.sender.partition("+")[2].partition("@")[0] for each in server.taken)
    assert desk.outbox.find(one)
    assert desk.outbox.find(two)
    for forged in (one[:16] + two[16:], one[:-1], one[:-1] + ("a" if one[-1] != "a" else "b"), "a" * 28, ""):
        assert desk.outbox.find(forged) is None
    place = f"outbox/{letter_id('letter-1')}/letter"
    changed = desk.store.get(place).replace(b'"thread":"bob"', b'"thread":"eve"')
    assert changed != desk.store.get(place)
    desk.store.put(place, changed)
    assert desk.outbox.find(one) is None


def test_a_key_names_one_letter() -> None:
    ids = {letter_id(f"key-{number}") for number in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[a-z2-7]{16}", id) for id in ids)

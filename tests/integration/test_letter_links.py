"""Links by which candidates answer letters: one button, one use, nobody's but the recipient's."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.dev_server import DevServer
from common.approval.link import AnswerLink, recipient_of
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.key_ring import KeyRing
from common.mail import IncomingMail, MailKind
from common.settings import Settings
from tests.support.patience import patient
from tests.support.recruiting.letters import LetterWorld, open_letters
from tests.support.recruiting.stage import mail, recruiter_input

__all__ = ["patient"]

pytestmark = pytest.mark.usefixtures("patient")
YES, NO = "Yes, I am interested", "No, I am not interested"
OTHER, WITHDRAW = "None of these times; another one", "I am not interested any more"


@pytest.fixture(scope="module")
async def letters(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LetterWorld]:
    async with open_letters(server, tmp_path_factory.mktemp("letters")) as letters:
        yield letters


async def test_the_whole_way_by_links(letters: LetterWorld) -> None:
    """Yes, another time, a slot, an invitation, a withdrawal; no word of it had to be understood."""
    wanted = recruiter_input(1)
    agent = await letters.sent_out(wanted)
    first = await letters.links("c1@example.com", 1)
    assert list(first) == [YES, NO]
    assert "has been sent" in (await letters.press(first[YES])).text

    await letters.stage_is(agent, "c1", "slots_proposed")
    proposal = await letters.links("c1@example.com", 2)
    assert list(proposal)[-2:] == [OTHER, WITHDRAW]
    assert len(proposal) == 5
    await letters.press(proposal[OTHER])
    again = await letters.links("c1@example.com", 3)
    times = list(again)[:-2]
    assert set(times).isdisjoint(proposal)
    await letters.press(again[times[1]])

    candidacy = await letters.stage_is(agent, "c1", "slot_chosen")
    assert wanted.slots[candidacy.slot or 0].in_words == times[1]
    request = await letters.question(agent.id, "Invite 1")
    await letters.approve(agent.id, request)
    await letters.stage_is(agent, "c1", "invited")
    invitation = await letters.links("c1@example.com", 4)
    await letters.press(invitation[WITHDRAW])
    result = await agent.result()
    assert result["counts"] == {"withdrawn": 1}
    closed = await letters.http.get(first[NO])
    assert (closed.status_code, "This has ended" in closed.text) == (410, True)
    assert "<button" not in closed.text
    assert (await letters.press(invitation["I cannot come then; another time"])).status_code == 410


async def test_what_opens_every_link_answers_nothing(letters: LetterWorld) -> None:
    """A mail scanner GETs and HEADs them all, and POSTs without the page's form."""
    agent = await letters.sent_out(recruiter_input(1))
    links = await letters.links("c1@example.com", 1)
    for link in links.values():
        for _ in range(3):
            page = await letters.http.get(link)
            assert (page.status_code, page.text.count("<button")) == (200, 1)
            assert "//" not in page.text, "nothing from elsewhere"
        assert (await letters.http.head(link)).status_code == 200
        assert (await letters.http.post(link, data={})).status_code == 403
        cross = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        assert (await letters.http.post(link, data={}, headers=cross)).status_code == 403
    candidacy = await letters.stage_is(agent, "c1", "asked")
    assert candidacy.happened[-1].what == "first"
    await agent.cancel()


async def test_a_letter_is_answered_once(letters: LetterWorld) -> None:
    """Ten presses at once, of both links: the first that arrives counts, and the page says so afterwards."""
    agent = await letters.sent_out(recruiter_input(2))
    links = await letters.links("c1@example.com", 1)
    await asyncio.gather(*(letters.press(links[each]) for each in [YES, NO] * 5))
    for link in links.values():
        page = await letters.press(link)
        assert "answered already" in page.text
        assert "<button" not in page.text
    view: Any = await agent.query("candidates")
    said = [each["what"] for each in view["courses"]["c1"]["happened"] if each["what"] in ("yes", "no")]
    assert len(said) == 1
    if said == ["yes"]:  # The next test's letters have the same addresses.
        await letters.links("c1@example.com", 2)
    await agent.cancel()


async def test_what_was_answered_by_mail_is_not_answered_again_by_an_old_link(letters: LetterWorld) -> None:
    """A yes by mail, one time proposed: the first letter's yes is no yes to that time."""
    agent = await letters.sent_out(recruiter_input(1, slot_count=1))
    first = await letters.links("c1@example.com", 1)
    await agent.signal("mail", mail("c1", "Yes, I am interested."))
    await letters.stage_is(agent, "c1", "slots_proposed")
    page = await letters.press(first[YES])
    assert (page.status_code, "not on offer any more" in page.text) == (410, True)
    # Nor if its signal was under way already when the stage changed: then a person looks.
    chain = (await agent.describe()).raw_description.workflow_execution_info.first_run_id
    late = _choice(first[YES].rpartition("/")[2], recipient_of(agent.id, chain, "c1"))
    await agent.signal("mail", late)
    candidacy = await letters.stage_is(agent, "c1", "with_a_human")
    assert (candidacy.slot, "by a link" in candidacy.wrote) == (None, True)
    proposal = await letters.links("c1@example.com", 2)
    assert "has been sent" in (await letters.press(proposal[WITHDRAW])).text
    assert (await agent.result())["counts"] == {"declined": 1}


async def test_a_link_is_the_recipients_alone_and_names_nobody(letters: LetterWorld) -> None:
    """Forged, of another key, another candidate, another chain of runs, expired: nothing is answered."""
    agent = await letters.sent_out(recruiter_input(2))
    link = (await letters.links("c1@example.com", 1))[NO]
    token = link.rpartition("/")[2]
    named, recipient, letter, choice, _ = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    chain = (await agent.describe()).raw_description.workflow_execution_info.first_run_id
    assert (named, recipient, choice) == (agent.id, recipient_of(agent.id, chain, "c1"), "no")
    assert re.fullmatch("[a-z2-7]{16}", letter), "a digest, which tells nobody anything"

    def made(signer: Signer = letters.world.desk.signer, **changes: Any) -> str:
        return AnswerLink(
            **{
                "agent": agent.id,
                "recipient": recipient_of(agent.id, chain, "c2"),
                "letter": "abc",
                "choice": "no",
                "expires_at": datetime.now(UTC) + timedelta(days=1),
                **changes,
            }
        ).token(signer)

    other_key = Signer(KeyRing.of({"dev": b"f" * 32}))
    expired = made(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for bad in (made(other_key), expired, token[:-1], f"x{token}", "a.b.c"):
        assert (await letters.press(f"/answer/{bad}")).status_code == 404
    approval = letters.world.link(agent.id, (await _any_request(letters)), "ann").rpartition("/")[2]
    assert (await letters.press(f"/answer/{approval}")).status_code == 404, "signed for something else"
    assert (await letters.press(f"/approve/{token}")).status_code == 404

    # Past the gateway, as whoever can send signals: the agent checks for itself.
    c2 = recipient_of(agent.id, chain, "c2")
    stranger = made(recipient=recipient_of(agent.id, "another chain", "c2"))
    for link, thread in ((made(other_key), c2), (token, c2), (stranger, c2), ("", "c2"), ("no", c2)):
        await agent.signal("mail", _choice(link, thread))
    await agent.signal("mail", _choice(made(), c2))
    await letters.stage_is(agent, "c2", "declined")
    candidacy = await letters.stage_is(agent, "c1", "asked")
    assert [each.what for each in candidacy.happened] == ["first"]
    notes = [each.text for each in (await letters.world.view(agent.id)).notebook]
    assert sum(note.startswith("refused an answer by a link") for note in notes) == 5
    await agent.cancel()


async def _any_request(letters: LetterWorld) -> Any:
    id = await letters.world.agents.start("recruiter", recruiter_input(1), owner="owner")
    return await letters.question(id, "Write to")


def _choice(link: str, thread: str) -> dict[str, Any]:
    made = IncomingMail(
        message_id="<x@links.invalid>",
        thread=thread,
        kind=MailKind.CHOICE,
        sender="",
        subject="",
        text="no",
        received_at=datetime.now(UTC),
        link=link,
    )
    return dict(made.model_dump(mode="json"))


async def test_a_link_waits_for_a_worker(letters: LetterWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """With none the page shows its button all the same, and the answer is kept."""
    monkeypatch.undo()
    agents = AgentClient(letters.world.desk.client, _nobodys_queue(letters), letters.world.desk.signer)
    id = await agents.start("recruiter", recruiter_input(1), owner="owner")
    handle = letters.world.desk.client.get_workflow_handle(id)
    chain = (await handle.describe()).raw_description.workflow_execution_info.first_run_id
    link = AnswerLink(
        agent=id,
        recipient=recipient_of(id, chain, "c1"),
        letter="abc",
        choice="yes",
        expires_at=datetime.now(UTC) + timedelta(days=1),
    ).token(letters.world.desk.signer)
    answer = await letters.press(f"/answer/{link}")
    assert (answer.status_code, "Thank you" in answer.text) == (200, True)
    history = [event async for event in handle.fetch_history_events()]
    assert any(e.workflow_execution_signaled_event_attributes.signal_name == "mail" for e in history)
    await handle.terminate("the test is over")


def _nobodys_queue(letters: LetterWorld) -> Settings:
    return letters.world.settings.but(task_queue="nobody")

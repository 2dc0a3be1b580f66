"""Slack from end to end: a real agent asks, a message stands there, somebody presses, the agent goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cli.dev_server import free_port
from common.approval.link import ApprovalButton
from common.approval.signing import Signer
from common.key_ring import KeyRing
from common.notices.types import SlackUpdate
from gateway.app import build_from
from tests.support.patience import patient
from tests.support.serving import Serving
from tests.support.slack.checks import texts
from tests.support.slack.server import Fault, SlackServer
from tests.support.slack.world import PostedQuestion, SlackWorld, delivery_of, run, sealed, world

__all__ = ["patient", "world"]

pytestmark = pytest.mark.usefixtures("patient")


async def test_a_button_approves_and_the_message_tells_it_in_place(world: SlackWorld) -> None:
    """The decision is signed by this door, in the approver's name; the message ends without buttons."""
    asked = await world.asked()
    assert asked.buttons() == ["approve", "reject"]
    pressed = await asked.press("approve", "U0ANN")
    assert pressed.status == 200, pressed.answer.text
    view = await asked.ended()
    assert view.result["verdict"] == "approved"
    (record,) = view.decisions
    assert record.decision.through == "slack"
    assert (record.decision.by, record.signed) == ("approver", True)
    assert await asked.said(pressed.payload) == "Your approval counts."

    outcome = "approved by approver (through slack)"
    update = SlackUpdate(
        delivery=asked.delivery, channel=asked.where.channel, ts=asked.where.ts, outcome=outcome
    )
    await run(world.activities.slack_update, update)
    await run(world.activities.slack_update, update, attempt=2)
    message = world.slack.message(asked.where.channel, asked.where.ts)
    assert asked.buttons() == []
    assert outcome in list(texts(message))
    assert "Fix [red]them?" in list(texts(message))


async def test_a_rejection_asks_for_its_reason(world: SlackWorld) -> None:
    """The form opens, blanks are no reason, and the reason is the decision's note."""
    asked = await world.asked()
    opened = await asked.press("reject", "U0ANN")
    assert (opened.status, opened.answer.text) == (200, "")
    assert await world.decisions(asked.id) == []
    blank = await asked.submit("  ", "U0ANN")
    assert "Say why not" in blank.answer.json()["errors"]["reason"]
    sent = await asked.submit("too <risky> & late", "U0ANN")
    assert (sent.status, sent.answer.text) == (200, "")
    view = await asked.ended()
    assert view.result["verdict"] == "rejected"
    (record,) = view.decisions
    assert (record.decision.note, record.decision.by) == ("too <risky> & late", "approver")
    assert await asked.said(opened.payload) == "Your rejection counts; nothing will be done."


async def test_a_replay_decides_nothing(world: SlackWorld) -> None:
    """Sent again within five minutes, letter for letter: 409; at a gateway that never saw it: no second."""
    asked = await world.asked("approver", "member")
    request = world.slack.signed(asked.pressed("approve", "U0EVE"))
    http = world.world.http
    first = await http.post("/slack/actions", **request)
    assert first.status_code == 200
    await world.world.until(asked.id, lambda view: len(view.decisions) == 1)
    for _ in range(3):
        assert (await http.post("/slack/actions", **request)).status_code == 409
    assert await world.decisions(asked.id) == [("stranger", "approve", "refused")]

    # Now one that counts, at a gateway that has just started, with nothing in its memory.
    request = world.slack.signed(asked.pressed("approve", "U0ANN"))
    assert (await http.post("/slack/actions", **request)).status_code == 200
    await asked.ended()
    async with Serving(await build_from(world.world.settings)) as second, httpx.AsyncClient() as client:
        replayed = await client.post(f"{second.address}/slack/actions", **request)
        assert replayed.status_code in (200, 409)
    counted = [each for each in await world.decisions(asked.id) if each[2] == "counted"]
    assert counted == [("approver", "approve", "counted")]


async def test_a_replay_at_a_gateway_that_restarted_makes_no_second_vote(world: SlackWorld) -> None:
    """While the agent still asks, for it needs two: the same press is the same decision everywhere."""
    id, request = await world.world.asking("approver", "@treasury")
    delivery = delivery_of(id, request, "C0GENERAL")
    asked = PostedQuestion(world, id, request, delivery, await world.post(delivery))
    signed = world.slack.signed(asked.pressed("approve", "U0EVE"))
    assert (await world.world.http.post("/slack/actions", **signed)).status_code == 200
    await world.world.until(id, lambda view: len(view.decisions) == 1)
    async with Serving(await build_from(world.world.settings)) as second, httpx.AsyncClient() as client:
        assert (await client.post(f"{second.address}/slack/actions", **signed)).status_code == 200
        assert (await client.post(f"{second.address}/slack/actions", **signed)).status_code == 409
    view = await world.world.until(id, lambda view: len(view.decisions) == 2)
    assert len({each.decision.id for each in view.decisions}) == 1
    assert view.decisions[1].reason == "this decision was already received"


async def test_what_slack_did_not_sign_is_refused(world: SlackWorld) -> None:
    """Another secret, an old or a strange time, a changed body, no signature, a bearer token in its place."""
    asked = await world.asked()
    payload = asked.pressed("approve", "U0ANN")
    good = world.slack.signed(payload)
    headers = good["headers"]
    forged = {
        "another secret": world.slack.signed(payload, secret="guessed"),
        "old": world.slack.signed(payload, age=301),
        "from the future": world.slack.signed(payload, age=-600),
        "another body": {**good, "content": good["content"].replace(b"U0ANN", b"U0BOB")},
        "no time": {**good, "headers": {**headers, "X-Slack-Request-Timestamp": "soon"}},
        "no text": {**good, "content": b"payload=\xff", "headers": headers},
        "no signature": {"content": good["content"]},
        "a strange one": {**good, "headers": {**headers, "X-Slack-Signature": "v0=é".encode()}},
        "a token": {"content": good["content"], "headers": world.world.as_("operator")},
    }
    for name, request in forged.items():
        answer = await world.world.http.post("/slack/actions", **request)
        assert answer.status_code == 403, name
        assert answer.headers["content-type"] == "application/problem+json"
    assert await world.decisions(asked.id) == []
    large = await world.world.http.post("/slack/actions", content=b"x" * 300_000)
    assert large.status_code == 413
    assert (await world.world.http.post("/slack/actions", **good)).status_code == 200
    await asked.ended()


async def test_signed_nonsense_is_refused(world: SlackWorld) -> None:
    """What is no interaction gets 422, and what is none of ours 200 and nothing."""
    asked = await world.asked()
    for payload, status in (
        ({"type": "block_actions"}, 422),
        ({"type": ["x"], "user": {"id": "U0ANN"}}, 422),
        ({**asked.pressed("approve", "U0ANN"), "user": {"id": "U" * 5000}}, 422),
        ({"type": "view_submission", "user": {"id": "U0ANN"}, "view": {"callback_id": "reject"}}, 422),
        ({"type": "view_closed", "user": {"id": "U0ANN"}}, 200),
        (asked.pressed("open", "U0ANN"), 200),
    ):
        answer = await world.slack.send(world.world.address, payload)
        assert answer.status_code == status, payload
    async with httpx.AsyncClient() as client:
        signed = world.slack.signed({})
        nothing = await client.post(f"{world.world.address}/slack/actions", **{**signed, "content": b""})
        assert nothing.status_code == 403
    assert await world.decisions(asked.id) == []


async def test_a_button_that_is_not_ours_or_is_over_decides_nothing(world: SlackWorld) -> None:
    """Tampered with, signed with another key, expired, a link's token: a clear word to the person."""
    asked = await world.asked()
    good = sealed(world, asked)
    link = world.world.link(asked.id, asked.request).rpartition("/")[2]
    foreign = ApprovalButton(
        agent=asked.id,
        request_id=asked.request.id,
        digest=asked.request.digest,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    ).token(Signer(KeyRing.of({"dev": b"f" * 32})))
    other = sealed(world, asked, digest="0" * 64)
    for token, words in (
        (good[:-1] + ("0" if good[-1] != "0" else "1"), "not whole"),
        (other.split(".")[0] + good[good.index(".") :], "not whole"),
        (foreign, "not whole"),
        (link, "not whole"),
        ("", "not whole"),
        (sealed(world, asked, expires_at=datetime.now(UTC) - timedelta(minutes=1)), "expired"),
    ):
        payload = asked.pressed("approve", "U0ANN", actions=[{"action_id": "approve", "value": token}])
        assert (await world.slack.send(world.world.address, payload)).status_code == 200
        assert words in await asked.said(payload)
    assert await world.decisions(asked.id) == []


async def test_who_may_not_decide_is_told(world: SlackWorld) -> None:
    """A Slack user nobody knows does not get to the agent; somebody outside the policy is refused by it."""
    asked = await world.asked()
    unknown = await asked.press("approve", "U0NOBODY")
    assert unknown.status == 200
    assert "nobody here is known by your Slack user id U0NOBODY" in await asked.said(unknown.payload)
    for_reason = await asked.press("reject", "U0NOBODY")
    assert "nobody here is known" in await asked.said(for_reason.payload)
    assert await world.decisions(asked.id) == []
    outsider = await asked.press("approve", "U0EVE")
    assert outsider.status == 200
    told = await asked.said(outsider.payload)
    assert told == "The agent did not take your decision: stranger is not among those who may decide."
    assert (await world.world.view(asked.id)).requests


async def test_a_stale_plan_is_refused_by_the_agent(world: SlackWorld) -> None:
    """A button of another plan than the one that is asked about, and one of an agent that has ended."""
    asked = await world.asked()
    stale = [{"action_id": "approve", "value": sealed(world, asked, digest="0" * 64)}]
    payload = asked.pressed("approve", "U0ANN", actions=stale)
    assert (await world.slack.send(world.world.address, payload)).status_code == 200
    assert "it is for plan 000000000000" in await asked.said(payload)
    assert (await world.world.view(asked.id)).requests
    assert (await asked.press("approve", "U0ANN")).status == 200
    await asked.ended()
    for action in ("approve", "reject"):
        late = await asked.press(action, "U0BOB")
        assert (late.status, late.answer.text) == (200, "")
        told = await asked.said(late.payload)
        assert told.startswith("Nothing was decided: this question is over (approval-1: approved by approver")


async def test_many_presses_are_one_decision(world: SlackWorld) -> None:
    """Ten presses at once, yes and no mixed: one counts."""
    asked = await world.asked()
    await asked.press("reject", "U0ANN")
    presses = [asked.press("approve", "U0ANN") for _ in range(5)] + [
        asked.submit("no", "U0ANN") for _ in range(5)
    ]
    answers = await asyncio.gather(*presses)
    assert {each.status for each in answers} == {200}
    await asked.ended()
    counted = [each for each in await world.decisions(asked.id) if each[2] == "counted"]
    assert len(counted) == 1


async def test_slack_hears_of_a_failure_while_temporal_is_away(
    world: SlackWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No 200 for what is not safe; the same button works as soon as Temporal can be reached."""
    asked = await world.asked()
    monkeypatch.undo()
    with monkeypatch.context() as away:
        away.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
        async with Serving(await build_from(world.world.settings)) as gateway:
            pressed = await asked.press("approve", "U0ANN", gateway.address)
            assert pressed.status == 503
            assert "Temporal cannot be reached" in pressed.answer.json()["detail"]
    assert world.slack.said(pressed.payload) == []
    assert await world.decisions(asked.id) == []
    assert (await asked.press("approve", "U0ANN")).status == 200
    assert (await asked.ended()).result["verdict"] == "approved"


async def test_a_decision_waits_for_a_worker(world: SlackWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """With none it is kept, and the person is told so."""
    asked = await world.asked()
    monkeypatch.undo()
    await world.world.desk.rest()
    try:
        pressed = await asked.press("approve", "U0ANN")
        assert pressed.status == 200
        assert "counts as soon as the agent wakes" in await asked.said(pressed.payload)
    finally:
        await world.world.desk.work()
    assert (await asked.ended()).result["verdict"] == "approved"


async def test_words_go_to_slack_alone(world: SlackWorld) -> None:
    """An address elsewhere in what Slack sent is never called."""
    asked = await world.asked()
    async with SlackServer() as elsewhere:
        for url in (
            f"{elsewhere.address}/actions/x",
            f"{world.slack.address}@127.0.0.1:{elsewhere.address.rpartition(':')[2]}/actions/x",
            f"http://user@{world.slack.address.removeprefix('http://')}/actions/x",
            "file:///etc/passwd",
            "//x",
            "",
        ):
            payload = asked.pressed("approve", "U0NOBODY", response_url=url)
            assert (await world.slack.send(world.world.address, payload)).status_code == 200
            assert world.slack.said(payload) == []
        told = asked.pressed("approve", "U0NOBODY")
        await world.slack.send(world.world.address, told)
        assert await asked.said(told)
        assert elsewhere.words == []


async def test_a_form_that_slack_does_not_open_is_a_failure(world: SlackWorld) -> None:
    """The person sees that nothing happened."""
    asked = await world.asked()
    with world.slack.failing("views.open", Fault(error="expired_trigger_id")):
        assert (await asked.press("reject", "U0ANN")).status == 503
    assert await world.decisions(asked.id) == []

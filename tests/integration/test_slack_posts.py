"""What is posted to Slack: once, to whom it is for, within its limits; and what Slack has against it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError

from activities.delivery.slack import Slack
from cli.dev_server import free_port
from common.approval.action_log import ActionLog
from common.notices.types import Delivery, NoticeEvent, SlackUpdate
from tests.support.patience import patient
from tests.support.slack.checks import parsed, texts
from tests.support.slack.server import Fault
from tests.support.slack.world import SlackWorld, delivery_of, request_of, run, world

__all__ = ["patient", "world"]

pytestmark = pytest.mark.usefixtures("patient")


async def refused(world: SlackWorld, delivery: Delivery) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await world.post(delivery)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_slacks_wish_to_wait_is_granted(world: SlackWorld) -> None:
    """429 with Retry-After becomes the delay of the next attempt; no attempt is made within one."""
    before = len(world.slack.calls)
    with world.slack.failing("chat.postMessage", Fault(429, {"Retry-After": "37"}, "ratelimited")):
        error = await refused(world, delivery_of("a", None, "C0GENERAL"))
    assert (error.type, error.next_retry_delay) == ("SlackBusy", timedelta(seconds=37))
    assert not error.non_retryable
    assert len(world.slack.calls) == before + 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("C0MISSING", "invite the app"),
        ("C0ALIEN", "invite it"),
        ("C0OLD", "archived"),
        ("U0MISSING", "no such channel"),
    ],
)
async def test_a_wrong_address_is_named(world: SlackWorld, address: str, words: str) -> None:
    """No retry mends it."""
    error = await refused(world, delivery_of("a", None, address))
    assert error.non_retryable
    assert address in str(error)
    assert words in str(error)


async def test_what_slack_has_against_the_token_is_named(world: SlackWorld) -> None:
    """The setting, and the scope that is missing; without a token, the setting."""
    delivery = delivery_of("a", None, "C0GENERAL")
    world.slack.scopes.discard("chat:write")
    try:
        error = await refused(world, delivery)
    finally:
        world.slack.scopes.add("chat:write")
    assert error.non_retryable
    assert "HIBERNAUT_SLACK_BOT_TOKEN" in str(error)
    assert "scope chat:write" in str(error)
    slack = world.world.settings.slack
    for token, words in (("xoxb-wrong", "invalid_auth"), ("", "set it")):
        settings = world.world.settings.but(slack=slack.but(bot_token=token))
        with pytest.raises(ApplicationError, match=f"HIBERNAUT_SLACK_BOT_TOKEN.*{words}") as caught:
            await run(Slack.build(settings, world.artifacts).slack_post, delivery)
        assert caught.value.non_retryable


async def test_slack_being_away_is_tried_again(world: SlackWorld) -> None:
    """5xx, an internal error, no answer at all."""
    delivery = delivery_of("a", None, "C0GENERAL")
    for fault in (Fault(503), Fault(error="internal_error"), Fault(500, error="fatal_error")):
        with world.slack.failing("chat.postMessage", fault):
            error = await refused(world, delivery)
        assert (error.type, error.non_retryable) == ("SlackAway", False)
    gone = world.world.settings.slack.but(api=f"http://127.0.0.1:{free_port()}/api/")
    activities = Slack.build(world.world.settings.but(slack=gone), world.artifacts)
    with pytest.raises(ApplicationError, match="cannot be reached") as caught:
        await run(activities.slack_post, delivery)
    assert (caught.value.type, caught.value.non_retryable) == ("SlackAway", False)


@pytest.mark.parametrize("address", ["C0GENERAL", "U0BOB"])
async def test_a_post_that_came_to_an_unknown_end_is_not_made_twice(world: SlackWorld, address: str) -> None:
    """Posted, and the answer lost: the next attempt finds it, among many others."""
    delivery = delivery_of(f"lost-{address}", None, address)
    with (
        world.slack.failing("chat.postMessage", Fault(503, after=True)),
        pytest.raises(ApplicationError, match="503"),
    ):
        await world.post(delivery)
    for number in range(210):  # more than a page
        await world.post(delivery_of(f"other-{number}", None, address))
    found = await world.post(delivery, attempt=2)
    messages = world.slack.channels[found.channel].messages
    same = [each for each in messages if each["metadata"]["event_payload"]["notice_id"] == delivery.notice.id]
    assert [each["ts"] for each in same] == [found.ts]


async def test_after_a_restore_of_the_server_a_post_is_looked_for_first(world: SlackWorld) -> None:
    """The first attempt that the server knows of may be the second one."""
    delivery = delivery_of("forgotten", None, "C0GENERAL")
    before = datetime.now(UTC)
    first = await world.post(delivery)
    ActionLog.of(world.world.settings).note_restore(before)
    try:
        assert await world.post(delivery) == first
        other = await world.post(delivery_of("not forgotten", None, "C0GENERAL"))
        assert other.ts != first.ts
    finally:
        shutil.rmtree(world.world.settings.data_dir / "objects" / "restores")


async def test_without_the_scope_a_second_copy_may_appear(world: SlackWorld) -> None:
    """What cannot be looked for is posted again rather than lost."""
    delivery = delivery_of("unseen", None, "C0GENERAL")
    first = await world.post(delivery)
    world.slack.scopes.discard("channels:history")
    try:
        second = await world.post(delivery, attempt=2)
    finally:
        world.slack.scopes.add("channels:history")
    assert first.ts != second.ts
    assert await world.post(delivery, attempt=3) in (first, second)


async def test_a_link_goes_to_its_person_alone(world: SlackWorld) -> None:
    """In a direct message to the very user; not in a channel, nor to another, whatever the delivery says."""
    id, request = await world.world.asking()

    async def link(address: str, person: str) -> str:
        where = await world.post(delivery_of(id, request, address, person=person))
        found = json.dumps(world.slack.message(where.channel, where.ts))
        return "approval" if "/approve/" in found else "page" if f"/ui/agents/{id}" in found else ""

    assert await link("U0ANN", "approver") == "approval"
    assert await link("U0ANN", "") == "page"
    assert await link("U0BOB", "approver") == "page"
    assert await link("C0GENERAL", "approver") == "page"
    where = await world.post(delivery_of(id, request, "U0ANN", person="approver"))
    message = world.slack.message(where.channel, where.ts)
    url = next(e["url"] for b in message["blocks"] for e in b.get("elements", []) if e.get("url"))
    page = await world.world.http.get(url)
    assert page.status_code == 200
    assert "You decide as <b>approver</b>" in page.text


async def test_nothing_that_is_written_mentions_anybody_or_links_anywhere(world: SlackWorld) -> None:
    """The question, the plan, the evidence, the notice: full of what Slack would parse."""
    hostile = (
        "<!channel> <@U0ANN> <https://evil.example|ok> @here #general https://evil.example & ``` *x* \u202e"
    )
    ref = world.artifacts.put(f"--- a\n+++ b\n+{hostile}\n".encode())
    plan = {
        hostile: hostile,
        "note": f"{hostile}\n{hostile}",
        "rows": [{"a": hostile, "b": 1}],
        "diff": ref.model_dump(),
    }
    request = request_of(question=hostile, plan=plan, evidence=(hostile,) * 30)
    for event in NoticeEvent:
        delivery = delivery_of("agent-1", request, "C0GENERAL", event=event, text=hostile + "!")
        where = await run(world.unasked.slack_post, delivery)
        message = world.slack.message(where.channel, where.ts)
        assert parsed(message) == []
        assert "&lt;!channel&gt;" in "".join(texts(message))
        update = SlackUpdate(delivery=delivery, channel=where.channel, ts=where.ts, outcome=hostile)
        await run(world.activities.slack_update, update)
        assert parsed(world.slack.message(where.channel, where.ts)) == []


@pytest.mark.parametrize("sign", ["x", "<", "é", "😀", "line\n"])
async def test_a_plan_of_any_size_is_a_message_that_slack_takes(world: SlackWorld, sign: str) -> None:
    """What does not fit is cut, and the message says so; the buttons are always there."""
    long = sign * 9000
    ref = world.artifacts.put("".join(f"+{sign * 50}{number}\n" for number in range(3000)).encode())
    for plan in (
        {f"field_{number}": long for number in range(40)},
        {f"field_{number}": number for number in range(400)},
        {"rows": [{"a": sign * 30, "b": number} for number in range(500)], "diff": ref.model_dump()},
        {},
    ):
        request = request_of(question=long, plan=plan, evidence=(long,) * 30)
        delivery = delivery_of("agent-1", request, "C0GENERAL", text=long)
        where = await run(world.unasked.slack_post, delivery)
        message = world.slack.message(where.channel, where.ts)
        assert [each["action_id"] for each in message["blocks"][-1]["elements"]] == [
            "approve",
            "reject",
            "open",
        ]
        if plan:
            assert "see the details before you decide" in "".join(texts(message))
        update = SlackUpdate(delivery=delivery, channel=where.channel, ts=where.ts, outcome=long)
        await run(world.activities.slack_update, update)

"""Notices on a real server: each told once, by every way, whatever fails, and never to the agent's harm."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.delivery.notices import Notices
from activities.delivery.open_questions import OpenQuestions
from activities.delivery.webhooks import Webhooks
from cli.notice_log import CourierRow, recent_couriers
from common.approval.signed import sign_start
from common.approval.types import ApprovalPolicy, Verdict
from common.client.client import AgentClient
from common.client.filters import AgentFilter
from common.errors import permanent
from common.mail import Sent, SentStatus
from common.notices.routes import Routes
from common.notices.types import (
    COURIER,
    Delivery,
    DeliveryLog,
    Destination,
    Dispatch,
    Notice,
    NoticeEvent,
    SlackPost,
    SlackUpdate,
    Told,
    courier_id,
)
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import OWNER, Stage, noted
from tests.support.web import Route, WebServer
from workflows.courier import Courier

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()

WAYS = {
    "HIBERNAUT_WEBHOOK_SECRETS": SECRET,
    "HIBERNAUT_SLACK_BOT_TOKEN": "xoxb-1",
    "HIBERNAUT_SMTP": "smtp://localhost:25",
    "HIBERNAUT_MAIL_FROM": "agents@example.com",
}


class Ways:
    """Slack and mail as a courier knows them; each fails as long as it is told to."""

    def __init__(self) -> None:
        self.posted: list[Delivery] = []
        self.updated: list[SlackUpdate] = []
        self.mailed: list[Delivery] = []
        self.attempts = 0
        self.slack_fails: Exception | None = None
        self.mail = Sent(status=SentStatus.SENT, message_id="<1@example.com>")

    @activity.defn(name="slack_post")
    async def slack_post(self, delivery: Delivery) -> SlackPost:
        self.attempts += 1
        if self.slack_fails:
            raise self.slack_fails
        self.posted.append(delivery)
        return SlackPost(channel=delivery.address, ts=str(len(self.posted)))

    @activity.defn(name="slack_update")
    async def slack_update(self, update: SlackUpdate) -> None:
        self.updated.append(update)

    @activity.defn(name="mail_notice")
    async def mail_notice(self, delivery: Delivery) -> Sent:
        self.mailed.append(delivery)
        return self.mail


class NoticeStage(Stage):
    """A stage whose notices go by the routes of its data folder."""

    def __init__(self, client: Any, settings: Settings) -> None:
        super().__init__(client, settings)
        self.ways = Ways()
        self.agents = [*self.agents, Courier]

    def objects(self) -> list[Any]:
        kept = [each for each in super().objects() if each is not self.notices]
        return [
            *kept,
            Notices(Routes.load(self.settings), self.signer),
            self.ways,
            OpenQuestions(),
            Webhooks.build(self.settings),
        ]

    def route(self, *ways: str, **more: Any) -> None:
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        people = {"ann": {"email": "ann@example.com"}, OWNER: {"email": "owner@example.com"}}
        routes = [*more.get("before", ()), {"ways": ways}]
        (self.settings.data_dir / "notices.json").write_text(json.dumps({"people": people, "routes": routes}))

    async def rows(self, agent: str, **wanted: Any) -> list[CourierRow]:
        return await recent_couriers(self.client, agent, failed=wanted.get("failed", False), limit=50)

    async def ended(self, agent: str, count: int) -> list[CourierRow]:
        """The agent's couriers, once so many have ended."""

        async def find() -> list[CourierRow] | None:
            rows = await self.rows(agent)
            return rows if len([row for row in rows if row.ended]) >= count else None

        found: list[CourierRow] = await eventually(find)
        return found


@pytest.fixture
def receiver() -> Iterator[WebServer]:
    with WebServer({"/hook": Route("thanks")}) as site:
        yield site


@pytest.fixture
async def stage(settings: Settings, receiver: WebServer) -> AsyncIterator[NoticeStage]:
    """A stage with a worker at work; every history is replayed in the end."""
    more = Settings.read({"HIBERNAUT_ALLOWED_HOSTS": receiver.host, **WAYS})
    settings = settings.but(fetching=more.fetching, notices=more.notices, slack=more.slack, mail=more.mail)
    stage = NoticeStage(await connect(settings), settings)
    async with stage.at_work():
        yield stage


def told(receiver: WebServer) -> list[str]:
    """The events that came to the receiver, verified, in order."""
    return [Webhook(SECRET).verify(hit.body, dict(hit.headers))["event"] for hit in receiver.hits("/hook")]


async def test_each_event_is_told_once_by_every_way_and_a_message_is_brought_up_to_date(
    stage: NoticeStage, receiver: WebServer
) -> None:
    """Asked and finished: Slack, mail and a webhook each once; Slack's message then shows who decided."""
    hook = f"webhook:{receiver.url('/hook')}"
    stage.route("slack:#ops", "email", hook, before=[{"events": ["decided"], "ways": [hook]}])
    agent = await stage.start(ErrandInput())
    await stage.decide(agent, await stage.asked(agent))
    await agent.result()
    rows = await stage.ended(agent.id, 3)
    assert sorted(row.event or "" for row in rows) == ["asked", "decided", "finished"]
    assert all(each.delivered for row in rows for each in row.receipts)
    assert sorted(told(receiver)) == ["asked", "decided", "finished"]
    assert len({hit.headers["webhook-id"] for hit in receiver.hits("/hook")}) == 3
    by_mail = [(each.notice.event, each.address, each.person) for each in stage.ways.mailed]
    assert sorted(by_mail) == [
        ("asked", "ann@example.com", "ann"),
        ("finished", "owner@example.com", OWNER),
    ]
    [update] = stage.ways.updated
    assert update.delivery.notice.event is NoticeEvent.ASKED
    assert "approved by ann" in update.outcome
    assert (update.channel, update.ts) == ("#ops", str(_post_of(stage, NoticeEvent.ASKED)))


def _post_of(stage: NoticeStage, event: NoticeEvent) -> int:
    return next(n for n, each in enumerate(stage.ways.posted, 1) if each.notice.event is event)


async def test_by_default_the_terminal_is_told_and_nothing_else_is_started(
    stage: NoticeStage, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line for the question and one for the end, once each, and one marker in history for both."""
    agent = await stage.start(ErrandInput())
    await stage.decide(agent, await stage.asked(agent))
    await agent.result()
    # Temporal's core has words of its own for a slow machine.
    printed = [line.partition(":") for line in capfd.readouterr().err.splitlines() if agent.id in line]
    lines = [words for event, _, words in printed if event in [*NoticeEvent]]
    assert [event for event, _, _ in printed if event in [*NoticeEvent]] == ["asked", "finished"]
    assert "may decide: ann" in lines[0]
    events = await stage.events(agent)
    assert events.count("EVENT_TYPE_MARKER_RECORDED") == 2  # the other is the check of the envelope
    assert await stage.rows(agent.id) == []


async def test_an_agent_that_fails_or_is_cancelled_says_so(stage: NoticeStage) -> None:
    """A failure with its reason; a cancellation as an end; a message that still asks is put right."""
    stage.route("slack:#ops", before=[{"events": ["stuck"], "ways": []}])
    cancelled = await stage.start(ErrandInput())
    await stage.asked(cancelled)
    await eventually(lambda: _posted(stage, cancelled.id))
    await cancelled.cancel()
    await stage.ended(cancelled.id, 2)
    stage.world.step_error = permanent("LoginGone", "no such page")
    failed = await stage.start(ErrandInput())
    await stage.ended(failed.id, 1)
    ends = {each.notice.agent: each.notice for each in stage.ways.posted if each.notice.request is None}
    assert (ends[cancelled.id].event, ends[cancelled.id].text) == ("finished", "ended: cancelled")
    assert (ends[failed.id].event, ends[failed.id].text) == ("failed", "failed: LoginGone: no such page")
    [update] = stage.ways.updated
    assert "not answered, ended: cancelled" in update.outcome


async def _posted(stage: NoticeStage, agent: str) -> bool:
    return any(each.notice.agent == agent for each in stage.ways.posted)


async def test_a_way_that_fails_keeps_no_agent_waiting_and_is_noted(
    stage: NoticeStage, receiver: WebServer
) -> None:
    """Slack refuses for good: the agent asks, acts, ends; its notebook and the log say what was not told."""
    stage.ways.slack_fails = permanent("SlackRefused", "channel_not_found")
    stage.route("slack:#gone", f"webhook:{receiver.url('/hook')}")
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    words = "not told: asked by slack to #gone: SlackRefused: channel_not_found"
    await eventually(lambda: noted(stage, agent, words))
    await stage.decide(agent, request)
    await agent.result()
    await stage.ended(agent.id, 2)
    rows = await stage.rows(agent.id, failed=True)
    failed = [each for row in rows for each in row.receipts if not each.delivered]
    assert {(each.way, each.address) for each in failed} == {("slack", "#gone")}
    assert {each.reason for each in failed} == {"SlackRefused: channel_not_found"}
    assert sorted(told(receiver)) == ["asked", "finished"]
    assert stage.ways.attempts == len(failed)
    listed = await asyncio.create_subprocess_exec(
        *(sys.executable, "starter.py", "notices", "--failed", "--agent", agent.id),
        env={**os.environ, "HIBERNAUT_DATA_DIR": str(stage.settings.data_dir)},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await listed.communicate()
    assert out.decode().count("SlackRefused: channel_not_found") == len(failed)


async def test_a_worker_that_ends_in_between_loses_no_notice_and_tells_none_twice(stage: NoticeStage) -> None:
    """Slack is away, the worker restarts, Slack comes back: one message."""
    stage.ways.slack_fails = ApplicationError("away", type="SlackAway", next_retry_delay=timedelta(seconds=1))
    stage.route("slack:#ops", before=[{"events": ["finished"], "ways": []}])
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await eventually(lambda: _tried(stage))
    await stage.rest()
    stage.ways.slack_fails = None
    assert stage.ways.posted == []
    await stage.work()
    await eventually(lambda: _posted(stage, agent.id))
    await stage.decide(agent, request)
    await agent.result()
    [row] = await stage.ended(agent.id, 1)
    assert (row.event, [each.delivered for each in row.receipts]) == ("asked", [True])
    assert (len(stage.ways.posted), len(stage.ways.updated)) == (1, 1)


async def _tried(stage: NoticeStage) -> bool:
    return stage.ways.attempts > 0


async def test_reminders_escalations_and_drift_are_told_to_whom_they_concern(stage: NoticeStage) -> None:
    """Those who may decide hear of both, those it escalated to from then on; all is told once."""
    stage.route("slack:#ops")
    policy = ApprovalPolicy(
        approvers=("ann",),
        reminders=(timedelta(hours=1),),
        escalate_to=("bob",),
        escalate_after=timedelta(hours=2),
        expires_after=timedelta(days=3),
    )
    agent = await stage.start(ErrandInput(policy=policy))
    request = await stage.asked(agent)
    await stage.skipper.fast_forward(agent, timedelta(hours=1, minutes=1))
    await eventually(lambda: _events(stage, agent.id, "reminder"))
    await stage.skipper.fast_forward(agent, timedelta(hours=1))
    await eventually(lambda: _events(stage, agent.id, "escalation"))
    stage.world.value = 12
    await stage.decide(agent, request, by="bob")
    second = await stage.asked(agent, after=request.id)
    await stage.decide(agent, second, Verdict.REJECT)
    await agent.result()
    await eventually(lambda: _events(stage, agent.id, "finished"))
    events = [each.notice.event for each in stage.ways.posted]
    assert sorted(events) == ["asked", "asked", "drift", "escalation", "finished", "reminder"]
    escalation = next(each.notice for each in stage.ways.posted if each.notice.event == "escalation")
    assert escalation.request
    assert escalation.request.deciders == ("ann", "bob")
    assert len({each.notice.id for each in stage.ways.posted}) == 6


async def _events(stage: NoticeStage, agent: str, event: str) -> bool:
    return any((each.notice.agent, each.notice.event) == (agent, event) for each in stage.ways.posted)


def notice(agent: str, **changes: Any) -> Notice:
    fields = {"id": "7", "agent": agent, "kind": "errand", "owner": OWNER, "event": NoticeEvent.STUCK}
    return Notice(**{**fields, "text": "stuck at login", **changes})


async def test_a_way_that_is_away_for_a_day_is_given_up_and_noted(
    stage: NoticeStage, receiver: WebServer
) -> None:
    """Tried through the day, then in the log and in the agent's notebook; the other way was not held up."""
    receiver.routes["/hook"] = Route(status=503, headers={"Retry-After": str(6 * 3600)})
    agent = await stage.start(ErrandInput())
    await stage.asked(agent)
    places = (
        Destination(way="webhook", address=receiver.url("/hook")),
        Destination(way="email", address="ann@example.com", person="ann"),
    )
    courier = await stage.skipper.client.start_workflow(
        "courier",
        sign_start(
            COURIER, Dispatch(notice=notice(agent.id, id=f"{agent.id}/0/7"), places=places), stage.signer
        ),
        id=courier_id(f"{agent.id}/0/7"),
        task_queue=stage.settings.task_queue,
        result_type=DeliveryLog,
    )
    stage.handles.append(stage.client.get_workflow_handle(courier.id))
    log = await courier.result()
    by_way = {each.way: each for each in log.receipts}
    assert by_way["email"].delivered
    assert not by_way["webhook"].delivered
    assert "127.0.0.1: status 503" in by_way["webhook"].reason
    assert len(receiver.hits("/hook")) in (4, 5), "tried again as often as it was asked to"
    await eventually(lambda: _has_note(stage, agent, "not told: stuck by webhook to 127.0.0.1: "))
    assert (await stage.status(agent)).state == "awaiting_approval"


async def _has_note(stage: NoticeStage, agent: Any, words: str) -> bool:
    return any(words in note for note in await stage.notes(agent))


async def test_mail_whose_fate_is_unknown_is_noted_and_not_sent_again(stage: NoticeStage) -> None:
    """The server may have it."""
    stage.ways.mail = Sent(status=SentStatus.UNKNOWN, message_id="<1@example.com>", reason="lost on the way")
    stage.route("email")
    agent = await stage.start(ErrandInput())
    await stage.asked(agent)
    await eventually(lambda: noted(stage, agent, "not told: asked by email to ann: unknown: lost on the way"))
    assert len(stage.ways.mailed) == 1


async def test_the_same_notice_twice_starts_one_courier(stage: NoticeStage) -> None:
    """As after a worker's death in the middle of a task."""
    stage.route("slack:#ops")
    environment = ActivityEnvironment(client=stage.client)
    environment.info = dataclasses.replace(
        environment.info,
        task_queue=stage.settings.task_queue,
        workflow_run_id=f"run-{stage.settings.task_queue}",
    )
    notices = Notices(Routes.load(stage.settings), stage.signer)
    given = notice(f"agent-{stage.settings.task_queue}")
    for _ in range(2):
        assert await environment.run(notices.notify, given) == Told()
    [row] = await stage.ended(given.agent, 1)
    assert row.event == "stuck"
    assert len(stage.ways.posted) == 1
    # Of an agent that a restored server brought back: the same number, and something else to tell.
    await environment.run(notices.notify, notice(given.agent, text="stuck at checkout"))
    await stage.ended(given.agent, 2)
    assert len({each.notice.id for each in stage.ways.posted}) == 2


async def test_a_broken_file_of_routes_costs_no_agent_its_way(
    stage: NoticeStage, capfd: pytest.CaptureFixture[str]
) -> None:
    """The terminal is told, and what is wrong with the file; mended, it counts again."""
    stage.route("slack:#ops")
    (stage.settings.data_dir / "notices.json").write_text('{"routes": 7}  ')
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    printed: list[str] = []

    def told_there() -> str:
        printed.append(capfd.readouterr().err)
        lines = "".join(printed).splitlines()
        return next((line for line in lines if line.startswith("asked: ") and agent.id in line), "")

    line = await eventually(told_there)
    assert "HIBERNAUT_NOTICES" in line
    stage.route("slack:#ops", "terminal")
    await stage.decide(agent, request)
    await agent.result()
    await eventually(lambda: _events(stage, agent.id, "finished"))


async def test_couriers_are_no_agents_but_go_with_their_owner(stage: NoticeStage) -> None:
    """`list` shows the agent alone; by its owner the courier is found, to be forgotten."""
    stage.route("slack:#ops")
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    owner = f"owner-{stage.settings.task_queue}"
    id = await agents.start("errand", ErrandInput(), owner=owner)
    agent = stage.client.get_workflow_handle(id)
    stage.handles.append(agent)
    await stage.decide(agent, await stage.asked(agent))
    await agent.result()
    await stage.ended(id, 2)
    assert [row.id for row in await agents.list_agents(AgentFilter(owner=owner))] == [id]
    found = [each.workflow_type async for each in stage.client.list_workflows(f"AgentOwner = '{owner}'")]
    assert sorted(set(found)) == ["courier", "errand"]


async def test_what_is_no_outcome_wedges_no_courier(stage: NoticeStage) -> None:
    """Signals of any name and shape are passed over."""
    stage.route("slack:#ops", before=[{"events": ["finished"], "ways": []}])
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await eventually(lambda: _posted(stage, agent.id))
    [row] = await eventually(lambda: stage.rows(agent.id))
    courier = stage.client.get_workflow_handle(row.id)
    await courier.signal("settled", args=[1, 2, 3])
    await courier.signal("settled", {"no": "text"})
    await courier.signal("anything")
    await stage.decide(agent, request)
    await agent.result()
    await stage.ended(agent.id, 1)
    assert stage.ways.updated[-1].outcome.startswith("approval-1: approved")

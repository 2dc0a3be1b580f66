"""Messages with buttons in Slack: each loses them when its question ends, and none comes after that."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.delivery.notices import Notices
from activities.delivery.open_questions import OpenQuestions
from activities.delivery.slack import Slack
from activities.mail.sending import Mail
from cli.notice_log import recent_couriers
from common.approval.signed import sign_start
from common.approval.types import ApprovalPolicy, ApprovalRequest, Verdict
from common.artifacts import ArtifactStore
from common.notices.routes import Routes
from common.notices.types import (
    NO_LONGER_ASKED,
    Delivery,
    Destination,
    Dispatch,
    Notice,
    NoticeEvent,
    courier_id,
)
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.slack.server import SlackServer
from tests.support.stage import OWNER, Stage
from workflows.courier import Courier

POLICY = ApprovalPolicy(
    approvers=("ann",),
    reminders=(timedelta(hours=1),),
    escalate_to=("bob",),
    escalate_after=timedelta(hours=2),
    expires_after=timedelta(days=3),
)


class SlackStage(Stage):
    """A stage whose notices go to Slack: to a channel, and to each person."""

    def __init__(self, client: Any, settings: Settings, slack: SlackServer) -> None:
        super().__init__(client, settings)
        self.slack = slack
        self.agents = [*self.agents, Courier]
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        people = {"ann": {"slack": "U0ANN"}, "bob": {"slack": "U0BOB"}}
        routes = [
            {"events": ["asked", "reminder", "escalation"], "ways": ["slack:C0GENERAL", "slack"]},
            {"ways": ["terminal"]},
        ]
        (self.settings.data_dir / "notices.json").write_text(json.dumps({"people": people, "routes": routes}))

    def objects(self) -> list[Any]:
        kept = [each for each in super().objects() if each is not self.notices]
        slack = Slack.build(self.settings, ArtifactStore.of(self.settings))
        mail = Mail.build(self.settings, self.authority)
        return [*kept, Notices(Routes.load(self.settings), self.signer), OpenQuestions(), slack, mail]

    def messages(self) -> list[dict[str, Any]]:
        return [each for channel in self.slack.channels.values() for each in channel.messages]

    def alive(self) -> list[str]:
        """The headings of messages that have buttons to decide with."""
        return [
            message["blocks"][0]["text"]["text"]
            for message in self.messages()
            if '"approve"' in json.dumps(message["blocks"])
        ]

    async def posted(self, count: int) -> None:
        await eventually(lambda: len(self.messages()) >= count)

    async def tried(self, count: int) -> None:
        """Wait until Slack was asked so often to post something."""
        await eventually(lambda: [name for name, _ in self.slack.calls].count("chat.postMessage") >= count)

    async def all_ended(self, agent: WorkflowHandle[Any, Any], count: int) -> list[tuple[str, bool, bool]]:
        """What became of each delivery, once the agent's couriers have ended: event, delivered, needless."""

        async def find() -> list[tuple[str, bool, bool]] | None:
            rows = await recent_couriers(self.client, agent.id, failed=False, limit=50)
            if len(rows) < count or not all(row.ended for row in rows):
                return None
            return sorted((str(row.event), e.delivered, e.needless) for row in rows for e in row.receipts)

        return await eventually(find)


def reminder(agent: WorkflowHandle[Any, Any], request: ApprovalRequest, number: int) -> Notice:
    return Notice(
        id=f"{agent.id}/0/{number}",
        agent=agent.id,
        kind="errand",
        owner=OWNER,
        event=NoticeEvent.REMINDER,
        text="Buy?",
        request=request,
    )


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[SlackStage]:
    async with SlackServer() as slack:
        settings = settings.but(slack=slack.settings())
        stage = SlackStage(await connect(settings), settings, slack)
        async with stage.at_work():
            yield stage


async def test_every_message_that_asks_loses_its_buttons(stage: SlackStage) -> None:
    """The question, its reminder, its escalation, in the channel and to each person: seven messages."""
    agent = await stage.start(ErrandInput(policy=POLICY))
    request = await stage.asked(agent)
    await stage.posted(2)
    await stage.skipper.fast_forward(agent, timedelta(hours=1, minutes=1))
    await stage.posted(4)
    await stage.skipper.fast_forward(agent, timedelta(hours=1))
    await stage.posted(7)
    assert len(stage.alive()) == 7
    await stage.decide(agent, request)
    await agent.result()
    assert {delivered for _, delivered, _ in await stage.all_ended(agent, 3)} == {True}
    assert stage.alive() == []
    assert all("approved by ann" in json.dumps(message["blocks"]) for message in stage.messages())
    # A mail that was held up is not sent any more, either; it could not be taken back.
    late = reminder(agent, request, 9)
    smtp = {"HIBERNAUT_SMTP": "smtp://127.0.0.1:1", "HIBERNAUT_MAIL_FROM": "agents@example.com"}
    mail = Mail.build(stage.settings.but(mail=Settings.read(smtp).mail), stage.authority)
    with pytest.raises(ApplicationError) as refused:
        await ActivityEnvironment(client=stage.client).run(
            mail.mail_notice, Delivery(notice=late, way="email", address="ann@example.com", person="ann")
        )
    assert refused.value.type == NO_LONGER_ASKED


async def cancelled(stage: SlackStage, agent: WorkflowHandle[Any, Any], request: ApprovalRequest) -> None:
    await agent.cancel()


async def decided(stage: SlackStage, agent: WorkflowHandle[Any, Any], request: ApprovalRequest) -> None:
    await stage.decide(agent, request, Verdict.REJECT)


async def terminated(stage: SlackStage, agent: WorkflowHandle[Any, Any], request: ApprovalRequest) -> None:
    await agent.terminate("by hand")


@pytest.mark.parametrize("end", [decided, cancelled, terminated])
async def test_a_reminder_that_an_outage_held_up_is_not_posted_after_the_end(
    stage: SlackStage, end: Any
) -> None:
    """Slack is away when people are reminded; meanwhile the question ends; Slack comes back."""
    agent = await stage.start(ErrandInput(policy=POLICY))
    request = await stage.asked(agent)
    await stage.posted(2)
    stage.slack.down = True
    await stage.skipper.fast_forward(agent, timedelta(hours=1, minutes=1))
    await stage.tried(4)
    await end(stage, agent, request)
    # A terminated agent tells nobody: who follows the first messages finds out by looking.
    if end is not terminated:
        await eventually(lambda: "chat.update" in [name for name, _ in stage.slack.calls])
    else:
        await eventually(lambda: ended(agent))
    stage.slack.down = False

    async def reminder_over() -> bool:
        rows = await recent_couriers(stage.client, agent.id, failed=False, limit=50)
        return any(row.event == "reminder" and len(row.receipts) == 2 for row in rows)

    await eventually(reminder_over)
    rows = await recent_couriers(stage.client, agent.id, failed=False, limit=50)
    [reminder] = [row for row in rows if row.event == "reminder"]
    assert [(e.delivered, e.needless) for e in reminder.receipts] == [(False, True)] * 2
    assert not reminder.failed
    assert len(stage.messages()) == 2
    if end is not terminated:
        await stage.all_ended(agent, 2)
        assert stage.alive() == []


async def ended(agent: WorkflowHandle[Any, Any]) -> bool:
    return (await agent.describe()).status != 1


async def test_messages_of_an_agent_that_is_terminated_lose_their_buttons(stage: SlackStage) -> None:
    """Nobody tells the courier; it looks now and then, for as long as the question might be open."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await stage.posted(2)
    notice = reminder(agent, request, 7)
    courier = await stage.client.start_workflow(
        "courier",
        sign_start(
            "courier",
            Dispatch(notice=notice, places=(Destination(way="slack", address="C0GENERAL"),)),
            stage.signer,
        ),
        id=courier_id(notice.id),
        task_queue=stage.settings.task_queue,
    )
    stage.handles.append(stage.client.get_workflow_handle(courier.id))
    await stage.posted(3)
    await agent.terminate("by hand")
    await stage.skipper.fast_forward(courier)
    await courier.result()
    last = json.dumps(stage.slack.channels["C0GENERAL"].messages[-1]["blocks"])
    assert "the agent has ended: terminated" in last
    assert '"approve"' not in last

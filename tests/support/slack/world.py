"""A gateway, a worker, a simulated Slack, and people who press buttons."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.delivery.slack import Slack
from cli.dev_server import DevServer
from common.approval.link import ApprovalButton
from common.approval.types import ApprovalPolicy, ApprovalRequest
from common.artifacts import ArtifactStore
from common.client.view import AgentView
from common.notices.types import Delivery, Notice, NoticeEvent, SlackPost
from common.settings import Settings
from tests.support.gateway.world import GatewayWorld, open_world
from tests.support.slack.server import SlackServer

PEOPLE = {"approver": {"slack": "U0ANN"}, "member": {"slack": "U0BOB"}, "stranger": {"slack": "U0EVE"}}
ACTIONS = ("approve", "reject")


class SlackWorld:
    """Slack, a gateway that is connected to it, and the worker's Slack activities."""

    def __init__(self, world: GatewayWorld, slack: SlackServer) -> None:
        self.world = world
        self.slack = slack
        self.artifacts = ArtifactStore.of(world.settings)
        self.activities = Slack.build(world.settings, self.artifacts)
        # For requests that are not from an agent.
        self.unasked = Slack.build(world.settings, self.artifacts, _say_open)

    async def post(self, delivery: Delivery, *, attempt: int = 1) -> SlackPost:
        return await run(self.activities.slack_post, delivery, attempt, self.world.desk.client)

    async def asked(self, *approvers: str, address: str = "C0GENERAL") -> PostedQuestion:
        """Start an agent that asks in a channel."""
        id, request = await self.world.asking(*approvers)
        delivery = delivery_of(id, request, address)
        return PostedQuestion(self, id, request, delivery, await self.post(delivery))

    async def decisions(self, id: str) -> list[tuple[str, str, str]]:
        view = await self.world.view(id)
        return [(each.decision.by, each.decision.verdict.value, each.status.value) for each in view.decisions]


async def _say_open(notice: Notice) -> None:
    """Replaces the check that the agent's question is still open."""


class PostedQuestion:
    """A question posted in Slack."""

    def __init__(
        self, world: SlackWorld, id: str, request: ApprovalRequest, delivery: Delivery, post: SlackPost
    ) -> None:
        self.id, self.request, self.delivery, self.where = id, request, delivery, post
        self._world = world
        self.slack = world.slack

    def pressed(self, action: str, user: str, **changes: Any) -> dict[str, Any]:
        return self.slack.pressed(self.where.channel, self.where.ts, action, user, **changes)

    async def press(self, action: str, user: str, gateway: str = "", **how: Any) -> SentPayload:
        payload = self.pressed(action, user)
        return SentPayload(
            payload, await self.slack.send(gateway or self._world.world.address, payload, **how)
        )

    async def submit(self, reason: str, user: str) -> SentPayload:
        payload = self.slack.submitted(self.slack.views[-1], reason, user)
        return SentPayload(payload, await self.slack.send(self._world.world.address, payload))

    async def said(self, pressed: dict[str, Any]) -> str:
        """The reply to the person who pressed the button, a single line."""
        return await self.slack.heard(pressed)

    async def ended(self) -> AgentView:
        return await self._world.world.until(self.id, lambda view: not view.running)

    def buttons(self) -> list[str]:
        message = self.slack.message(self.where.channel, self.where.ts)
        elements = [each for block in message["blocks"] for each in block.get("elements", [])]
        return [each["action_id"] for each in elements if each.get("action_id") in ACTIONS]


class SentPayload:
    """A payload that was sent, and the gateway's answer."""

    def __init__(self, payload: dict[str, Any], answer: httpx.Response) -> None:
        self.payload, self.answer, self.status = payload, answer, answer.status_code


def request_of(**changes: Any) -> ApprovalRequest:
    """A request that is not from an agent, for tests that only look at its message."""
    fields = {
        "id": "approval-1",
        "question": "Shall I?",
        "plan": {},
        "digest": "d" * 64,
        "policy": ApprovalPolicy(approvers=("approver", "member"), quorum=2),
        "requester": "owner",
        "asked_at": datetime.now(UTC),
    }
    return ApprovalRequest(**{**fields, **changes})


def delivery_of(id: str, request: ApprovalRequest | None, address: str, **changes: Any) -> Delivery:
    notice = {
        "id": f"{id}:asked",
        "agent": id,
        "kind": "code-auditor",
        "owner": "owner",
        "event": NoticeEvent.ASKED,
        "text": request.question if request else "It works.",
        "request": request,
    }
    person = changes.pop("person", "")
    return Delivery(notice=Notice(**{**notice, **changes}), way="slack", address=address, person=person)


def write_people(settings: Settings, *routes: dict[str, Any]) -> None:
    """Write the mapping of people to Slack users, and the notice routes."""
    content = {"people": PEOPLE, "routes": [*routes, {"ways": ["terminal"]}]}
    (settings.data_dir / "notices.json").write_text(json.dumps(content))


async def run(activity: Any, argument: Any, attempt: int = 1, client: Client | None = None) -> Any:
    environment = ActivityEnvironment(client=client)
    environment.info = replace(
        ActivityEnvironment.default_info(), attempt=attempt, scheduled_time=datetime.now(UTC)
    )
    if asyncio.iscoroutinefunction(activity):
        return await environment.run(activity, argument)
    return await asyncio.to_thread(environment.run, activity, argument)


@pytest.fixture(scope="module")
async def world(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SlackWorld]:
    """A gateway, a worker and Slack, shared by the tests of this file."""
    folder = tmp_path_factory.mktemp("slack")
    async with SlackServer() as slack, open_world(server, folder, slack=slack.settings()) as world:
        write_people(world.settings)
        yield SlackWorld(world, slack)


def sealed(world: SlackWorld, asked: PostedQuestion, **changes: Any) -> str:
    claims = {
        "agent": asked.id,
        "request_id": asked.request.id,
        "digest": asked.request.digest,
        "expires_at": datetime.now(UTC) + timedelta(hours=1),
    }
    return ApprovalButton(**{**claims, **changes}).token(world.world.desk.signer)

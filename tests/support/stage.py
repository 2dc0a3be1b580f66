"""The stage of the kit's own tests: small agents, test doubles, workers for only workflows or activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

import testing.stage
import worker
from activities.calendars import Calendars
from activities.decisions import DecisionChecks
from activities.preconditions import Preconditions
from activities.starts import StartChecks
from common.agents.agent import AgentInput
from common.approval.types import ApprovalsView, DecisionRecord
from common.settings import Settings
from testing.stage import OWNER
from testing.waiting import eventually
from tests.support.agents.agents import ErrandAgent, PanelAgent
from tests.support.agents.doubles import NoticeBoard, World
from workflows.replayer import interceptors, sandbox

__all__ = ["OWNER", "Stage", "noted", "state_is"]


def prepared(settings: Settings) -> Preconditions:
    """Preconditions like on a worker with mail servers and a broker."""

    async def answers() -> None: ...

    mail = settings.mail.but(
        smtp_url="smtp://127.0.0.1:25",
        mail_from=("", "agents@example.com"),
        imap_url="imap://127.0.0.1:143",
        imap_user="agents",
        imap_password="secret",
    )
    return Preconditions(settings.but(mail=mail), answers)


class Stage(testing.stage.Stage):
    """A running worker with test doubles, and shortcuts for what a user does."""

    def __init__(self, client: Client, settings: Settings) -> None:
        super().__init__(client, settings)
        self.world = World(self.authority)
        self.notices = NoticeBoard()
        self.agents: list[type] = [ErrandAgent, PanelAgent]

    def objects(self) -> list[Any]:
        return [
            self.world,
            DecisionChecks(self.authority),
            StartChecks(self.signer),
            Calendars(),
            self.notices,
            prepared(self.settings),
        ]

    def workflow_worker(self) -> Worker:
        """A worker for workflows only, with the activities that run inside workflow tasks."""
        return worker.EndingWorker(
            self.client,
            task_queue=self.settings.task_queue,
            workflows=self.agents,
            activities=worker.activity_methods(self.objects()),
            workflow_runner=sandbox(self.client),
            interceptors=interceptors(),
            max_cached_workflows=self.settings.cached_agents,
            no_remote_activities=True,
        )

    def activity_worker(self, slots: int = 100) -> Worker:
        """A worker for activities only; at exit, running activities may finish.

        If all its slots are taken at that time, it polls the server no more and gets no more work.
        """
        return worker.EndingWorker(
            self.client,
            task_queue=self.settings.task_queue,
            activities=worker.activity_methods(self.objects()),
            max_concurrent_activities=slots,
            graceful_shutdown_timeout=timedelta(seconds=10),
        )

    async def start(
        self,
        input: AgentInput,
        kind: str = "errand",
        skipping: bool = False,
        id: str = "",
        task_timeout: timedelta | None = None,
    ) -> WorkflowHandle[Any, Any]:
        """Start an agent, by default an errand."""
        return await super().start(input, kind, skipping, id, task_timeout)

    async def fate(self, handle: WorkflowHandle[Any, Any], decision_id: str) -> DecisionRecord:
        """Wait until a decision is judged; return its record."""

        async def find() -> DecisionRecord | None:
            view = await self.query(handle, "approvals", ApprovalsView)
            return next(
                (
                    each
                    for each in view.decisions
                    if each.decision.id == decision_id and each.status != "waiting"
                ),
                None,
            )

        return await eventually(find)

    async def attributes(self, handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
        described = await handle.describe()
        return {each.key.name: each.value for each in described.typed_search_attributes}

    async def shows(self, handle: WorkflowHandle[Any, Any], **wanted: Any) -> dict[str, Any]:
        """Wait until the search attributes have these values: Temporal shows them later than the agent."""

        async def find() -> dict[str, Any] | None:
            found = await self.attributes(handle)
            return found if all(found.get(name) == value for name, value in wanted.items()) else None

        return await eventually(find)

    async def events(self, handle: WorkflowHandle[Any, Any]) -> list[str]:
        return [EventType.Name(event.event_type) async for event in handle.fetch_history_events()]


async def state_is(stage: Stage, agent: WorkflowHandle[Any, Any], state: str) -> bool:
    return (await stage.status(agent)).state == state


async def noted(stage: Stage, agent: WorkflowHandle[Any, Any], text: str) -> bool:
    return any(note.endswith(text) for note in await stage.notes(agent))

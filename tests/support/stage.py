"""A worker in this process, short ways to do what a user does, and a replay of every history."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from pydantic import BaseModel
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

import worker
from activities.calendars import Calendars
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.starts import StartChecks
from common.agents.agent import AgentInput, AgentStatus, Notebook
from common.approval.floors import write_alone
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalRequest, ApprovalsView, Decision, DecisionRecord, Verdict
from common.settings import Settings
from common.temporal import search_attributes
from common.temporal.connect import data_converter
from tests.support.agents.agents import ErrandAgent, PanelAgent
from tests.support.agents.doubles import NoticeBoard, World
from tests.support.waiting import eventually
from workflows.replayer import interceptors, replayer, sandbox

OWNER = "owner-1"
Answer = TypeVar("Answer", bound=BaseModel)
# Between two histories an agent cannot answer yet, and on a busy machine it may take long.
NOT_NOW = (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)


class Stage:
    """A running worker with test doubles, and short ways to do what a user does."""

    def __init__(self, client: Client, settings: Settings, cached: int) -> None:
        self.client = client
        self.settings = settings.but(cached_agents=cached)
        write_alone(settings)
        self.signer = Signer.load(settings, create=True)
        self.authority = Authority.load(settings)
        self.world = World(self.authority)
        self.notices = NoticeBoard()
        self.skipper = TimeSkipper(client)
        self.agents: list[type] = [ErrandAgent, PanelAgent]
        self.handles: list[WorkflowHandle[Any, Any]] = []
        self._worker: AsyncExitStack | None = None

    def objects(self) -> list[Any]:
        return [
            self.world,
            DecisionChecks(self.authority),
            StartChecks(self.signer),
            Calendars(),
            self.notices,
        ]

    @asynccontextmanager
    async def at_work(self, *, replays: bool = True) -> AsyncIterator[Self]:
        """A worker at work; where all went well every history is replayed, and no agent is left behind."""
        await self.work()
        try:
            yield self
            if replays:
                await self.replay_all()
        finally:
            await self.rest()
            for handle in self.handles:
                if (await handle.describe()).status == WorkflowExecutionStatus.RUNNING:
                    await handle.terminate("the test is over")

    async def work(self) -> None:
        """Start the worker."""
        reports = ReliableReports(self.client)
        built: Worker = worker.build(
            self.client, self.settings, reports=reports, workflows=self.agents, objects=self.objects()
        )
        self._worker = AsyncExitStack()
        await self._worker.enter_async_context(built)

    def workflow_worker(self) -> Worker:
        """A worker for workflows alone, and the activities that run inside their tasks."""
        return worker.EndingWorker(
            self.client,
            task_queue=self.settings.task_queue,
            workflows=self.agents,
            activities=worker.activity_methods(self.objects()),
            workflow_runner=sandbox(),
            interceptors=interceptors(),
            max_cached_workflows=self.settings.cached_agents,
            no_remote_activities=True,
        )

    def activity_worker(self) -> Worker:
        """A worker for activities alone; leaving it lets what is under way end."""
        return worker.EndingWorker(
            self.client,
            task_queue=self.settings.task_queue,
            activities=worker.activity_methods(self.objects()),
            graceful_shutdown_timeout=timedelta(seconds=10),
        )

    async def rest(self) -> None:
        """Stop the worker."""
        if self._worker:
            await self._worker.aclose()
        self._worker = None

    async def start(
        self,
        input: AgentInput,
        kind: str = "errand",
        skipping: bool = False,
        id: str = "",
    ) -> WorkflowHandle[Any, Any]:
        """Start an agent as a door does."""
        client = self.skipper.client if skipping else self.client
        with self.skipper.with_time_skipping_disabled() if not skipping else _nothing():
            handle = await client.start_workflow(
                kind,
                input,
                id=id or f"{kind}-{uuid.uuid4().hex[:8]}",
                task_queue=self.settings.task_queue,
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(search_attributes.OWNER, OWNER),
                        SearchAttributePair(search_attributes.STATE, "working"),
                    ]
                ),
            )
        handle = self.client.get_workflow_handle(handle.id)
        self.handles.append(handle)
        return handle

    async def query(self, handle: WorkflowHandle[Any, Any], name: str, result_type: type[Answer]) -> Answer:
        """What the agent answers, asked again where it could not answer just then."""

        async def find() -> Answer | None:
            try:
                return await handle.query(name, result_type=result_type)
            except RPCError as error:
                if error.status not in NOT_NOW:
                    raise
                return None

        return await eventually(find)

    async def status(self, handle: WorkflowHandle[Any, Any]) -> AgentStatus:
        return await self.query(handle, "status", AgentStatus)

    async def notes(self, handle: WorkflowHandle[Any, Any]) -> list[str]:
        notebook = await self.query(handle, "notebook", Notebook)
        return [f"{entry.node}: {entry.text}" for entry in notebook.entries]

    async def asked(self, handle: WorkflowHandle[Any, Any], after: str = "") -> ApprovalRequest:
        """The open request, once there is one other than `after`."""

        async def find() -> ApprovalRequest | None:
            view = await self.query(handle, "approvals", ApprovalsView)
            return next((request for request in view.open if request.id != after), None)

        return await eventually(find)

    def decision(
        self, request: ApprovalRequest, verdict: Verdict = Verdict.APPROVE, **changes: Any
    ) -> Decision:
        """A decision as an approver makes it, not yet signed."""
        return Decision(
            **{
                "id": uuid.uuid4().hex,
                "request_id": request.id,
                "digest": request.digest,
                "verdict": verdict,
                "by": "ann",
                "through": "cli",
                "at": datetime.now(UTC),
                **changes,
            }
        )

    def sign(self, decision: Decision, handle: WorkflowHandle[Any, Any]) -> Decision:
        return self.signer.sign(decision, handle.id, datetime.now(UTC))

    async def decide(
        self,
        handle: WorkflowHandle[Any, Any],
        request: ApprovalRequest,
        verdict: Verdict = Verdict.APPROVE,
        **changes: Any,
    ) -> Decision:
        """Send a signed decision."""
        decision = self.sign(self.decision(request, verdict, **changes), handle)
        await handle.signal("decide", decision)
        return decision

    async def fate(self, handle: WorkflowHandle[Any, Any], decision_id: str) -> DecisionRecord:
        """What became of a decision, once it is judged."""

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

    async def events(self, handle: WorkflowHandle[Any, Any]) -> list[str]:
        return [EventType.Name(event.event_type) async for event in handle.fetch_history_events()]

    async def replay_all(self) -> None:
        """Replay every history, each run of each agent, with the code as it is."""
        replays = replayer(self.agents, data_converter(self.settings, writes=False))
        for handle in self.handles:
            run_id: str | None = (
                await handle.describe()
            ).raw_description.workflow_execution_info.first_run_id
            while run_id:
                run = self.client.get_workflow_handle(handle.id, run_id=run_id)
                history = await run.fetch_history()
                await replays.replay_workflow(history)
                last = history.events[-1]
                run_id = (
                    last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id or None
                )


async def state_is(stage: Stage, agent: WorkflowHandle[Any, Any], state: str) -> bool:
    return (await stage.status(agent)).state == state


async def noted(stage: Stage, agent: WorkflowHandle[Any, Any], text: str) -> bool:
    return any(note.endswith(text) for note in await stage.notes(agent))


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

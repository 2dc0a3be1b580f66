"""An in-process worker, shortcuts for what people do, and a replay of every history."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowQueryFailedError,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper

import worker
from activities.calls.interceptor import ReliableReports
from common.agents.agent import AgentInput, AgentStatus, Notebook
from common.approval.floors import write_alone
from common.approval.groups import Directory
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalRequest, ApprovalsView, Decision, Verdict
from common.client.diagnosis import Diagnosis
from common.client.trouble import NOT_IN_TIME, Cause
from common.settings import Settings
from common.temporal import search_attributes
from common.temporal.connect import data_converter
from common.temporal.sandbox import TOO_EARLY
from testing.waiting import eventually
from workflows.replayer import ATTEMPTS, DEADLOCK, replayer, workflow_classes

OWNER = "owner-1"
Handle = WorkflowHandle[Any, Any]
Answer = TypeVar("Answer", bound=BaseModel)
# A query can get lost, as when a worker evicts the agent with its last answer; it then hangs this long.
ANSWERS_WITHIN = timedelta(seconds=10)
# Code that failed this often while a test waits will not recover by itself.
FAILS_AGAIN = 2
# Errors while an agent continues as new, or on a slow, busy machine.
NOT_NOW = (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)


async def answer_of(
    handle: Handle,
    name: str,
    result_type: type[Answer],
    require_progress: Callable[[], Awaitable[None]] | None = None,
) -> Answer:
    """An agent's answer to a query, retried while it cannot answer.

    Before each retry `require_progress` is called, which raises if the agent will never answer.
    """

    async def find() -> Answer | None:
        try:
            answer: Answer = await handle.query(name, result_type=result_type, rpc_timeout=ANSWERS_WITHIN)
        except (RPCError, WorkflowQueryFailedError) as error:
            if not is_passing(error):
                raise
            if require_progress:
                await require_progress()
            return None
        return answer

    return await eventually(find)


def is_passing(error: RPCError | WorkflowQueryFailedError) -> bool:
    """Whether the error is transient: the agent could not answer just then."""
    if isinstance(error, RPCError):
        return error.status in NOT_NOW
    # On a busy machine, replaying its history may take over two seconds, and a query may overtake a task.
    return DEADLOCK in str(error) or TOO_EARLY in str(error)


class Stage:
    """A worker of a test.

    Attributes:
        agents: the workflows that it runs; every kind unless set before `work`.
        skipper: skips agents' time.
        handles: the agents that were started.
    """

    def __init__(self, client: Client, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        write_alone(settings)
        self.signer = Signer.load(settings, create=True)
        self.authority = Authority.load(settings)
        self.skipper = TimeSkipper(client)
        self.agents: Sequence[type] = workflow_classes()
        self.handles: list[Handle] = []
        self._worker: AsyncExitStack | None = None
        self._diagnosis = Diagnosis(client, Directory.load(settings), settings.task_queue)

    def objects(self) -> list[Any]:
        """Objects whose methods are the activities: a worker's own. Override it to use doubles."""
        return worker.all_activity_objects(self.client, self.settings)

    @asynccontextmanager
    async def at_work(self, *, replays: bool = True) -> AsyncIterator[Self]:
        """Run the worker. On success replay every history; in any case terminate agents left running."""
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
        built = worker.build(
            self.client, self.settings, reports=reports, workflows=self.agents, objects=self.objects()
        )
        self._worker = AsyncExitStack()
        await self._worker.enter_async_context(built)

    async def rest(self) -> None:
        """Stop the worker; agents sleep on without it."""
        if self._worker:
            await self._worker.aclose()
        self._worker = None

    async def start(
        self,
        input: AgentInput,
        kind: str,
        skipping: bool = False,
        id: str = "",
        task_timeout: timedelta | None = None,
    ) -> Handle:
        """Start an agent of `OWNER`; with `skipping`, each of its sleeps ends at once.

        `task_timeout` limits each workflow task; by default the server's limit applies.
        """
        client = self.skipper.client if skipping else self.client
        with nullcontext() if skipping else self.skipper.with_time_skipping_disabled():
            handle = await client.start_workflow(
                kind,
                input,
                id=id or f"{kind}-{uuid.uuid4().hex[:8]}",
                task_queue=self.settings.task_queue,
                task_timeout=task_timeout,
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

    async def query(self, handle: Handle, name: str, result_type: type[Answer]) -> Answer:
        """The agent's answer to a query; see `answer_of`.

        Raises:
            AssertionError: the agent's code keeps failing; the message says why.
        """
        first_attempt: int | None = None

        async def require_progress() -> None:
            nonlocal first_attempt
            described = await handle.describe()
            attempt = described.raw_description.pending_workflow_task.attempt
            first_attempt = attempt if first_attempt is None else first_attempt
            if attempt < first_attempt + FAILS_AGAIN:
                return
            for trouble in await self._diagnosis.of(described, datetime.now(UTC)):
                if (
                    trouble.cause in (Cause.TASK_FAILS, Cause.UNKNOWN_KIND)
                    and NOT_IN_TIME not in trouble.words
                ):
                    raise AssertionError(f"{handle.id}: {trouble.words}; {trouble.fix}")

        return await answer_of(handle, name, result_type, require_progress)

    async def status(self, handle: Handle) -> AgentStatus:
        """What the agent is doing now."""
        return await self.query(handle, "status", AgentStatus)

    async def asleep(self, handle: Handle, after: datetime | None = None) -> datetime:
        """Wait until the agent sleeps, with another end than `after`; return when it wakes."""

        async def find() -> datetime | None:
            wake_at = (await self.status(handle)).wake_at
            return wake_at if wake_at != after else None

        return await eventually(find)

    async def skip(self, handle: Handle, time: timedelta) -> None:
        """Skip that much of the agent's time."""
        await self.skipper.fast_forward(handle, time)

    async def notes(self, handle: Handle) -> list[str]:
        """The agent's notebook, each line as `node: text`."""
        notebook = await self.query(handle, "notebook", Notebook)
        return [f"{entry.node}: {entry.text}" for entry in notebook.entries]

    async def asked(self, handle: Handle, after: str = "") -> ApprovalRequest:
        """The open request, once there is one other than `after` and Temporal knows of it."""

        async def find() -> ApprovalRequest | None:
            # A query may be answered from a task that Temporal has not committed yet.
            waits_for = await self._waits_for(handle)
            known = search_attributes.parse_waiting_for_approvals(waits_for)
            view = await self.query(handle, "approvals", ApprovalsView)
            return next(
                (
                    request
                    for request in view.open
                    if request.id != after
                    and ((request.id, request.digest) in known or search_attributes.is_cut(waits_for))
                ),
                None,
            )

        return await eventually(find)

    async def _waits_for(self, handle: Handle) -> str:
        """What the agent waits for, according to Temporal."""
        described = await handle.describe()
        return described.typed_search_attributes.get(search_attributes.WAITING_FOR) or ""

    async def decide(
        self, handle: Handle, request: ApprovalRequest, verdict: Verdict = Verdict.APPROVE, **changes: Any
    ) -> Decision:
        """Send a decision signed for `ann`; `changes` override its fields, such as `by` or `edits`."""
        decision = self.sign(self.decision(request, verdict, **changes), handle)
        await handle.signal("decide", decision)
        return decision

    def decision(
        self, request: ApprovalRequest, verdict: Verdict = Verdict.APPROVE, **changes: Any
    ) -> Decision:
        """A decision as an approver makes it, unsigned."""
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

    def sign(self, decision: Decision, handle: Handle) -> Decision:
        """The decision as an entry point signs it."""
        return self.signer.sign(decision, handle.id, datetime.now(UTC))

    async def replay_all(self) -> None:
        """Replay every history, of each run of each agent, with the current code."""
        left = [history async for history in self._histories()]
        for _ in range(ATTEMPTS):
            failures = await self._replay(left)
            if wrong := next((each for each in failures.values() if DEADLOCK not in str(each)), None):
                raise wrong
            left = [each for each in left if each.run_id in failures]
        assert not left, f"they do not yield: {failures}"

    async def _replay(self, histories: Sequence[WorkflowHistory]) -> dict[str, Exception]:
        """The failures, by run id."""
        if not histories:
            return {}

        async def each() -> AsyncIterator[WorkflowHistory]:
            for history in histories:
                yield history

        replays = replayer(self.agents, data_converter(self.settings, writes=False))
        # Use one worker for all: making one takes longer than a replay.
        results = await replays.replay_workflows(each(), raise_on_replay_failure=False)
        return dict(results.replay_failures)

    async def _histories(self) -> AsyncIterator[WorkflowHistory]:
        """The histories of each run of each agent."""
        for handle in self.handles:
            run_id = (await handle.describe()).raw_description.workflow_execution_info.first_run_id
            while run_id:
                history = await self.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
                yield history
                last = history.events[-1]
                run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id

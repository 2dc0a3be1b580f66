"""Wraps every activity of a rehearsal: runs it confined or answers with a stand-in, and records the call."""

from __future__ import annotations

import asyncio
import contextvars
import json
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import temporalio.client
from pydantic import AwareDatetime, BaseModel, JsonValue, ValidationError
from temporalio import activity, workflow
from temporalio.client import OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.common import Priority
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from activities.rehearsal.confinement import OUTSIDE_ACCESS, OutsideAccess, confine
from activities.rehearsal.stand_ins import (
    NoStandInError,
    agent_time,
    has_own_stand_in,
    is_destructive,
    looks_up,
    stand_in,
)
from common.artifacts import ArtifactStore
from common.errors import classify_error, permanent
from common.settings import Settings

# Files in the folder of a rehearsal: the calls its worker made, and preset answers by activity name.
CALLS, ANSWERS = "calls.jsonl", "answers.json"
# Attempts before a stand-in answers. Outside a rehearsal, a failing call may be retried for days.
TRIES = 2
_LOCAL = timedelta(minutes=1)


class CallOutcome(StrEnum):
    """What became of a call in a rehearsal."""

    RUN = "run"
    FAILED = "failed"
    NOT_DONE = "not done"
    STAND_IN = "stand-in"
    STARTED = "started"


class RehearsedCall(BaseModel, frozen=True):
    """A call of an activity in a rehearsal, at the agent's time; `why` says why it did not run as usual.

    With `STARTED`, it is instead a workflow that an activity started; `agent` is its id.
    """

    at: AwareDatetime
    agent: str
    activity: str
    how: CallOutcome
    why: str = ""
    argument: JsonValue = None


class Rehearsal(Interceptor):
    """A worker interceptor that keeps a rehearsal from doing anything outside.

    Args:
        folder: the rehearsal's; the process may write nowhere else.
        artifacts: stores what stand-ins refer to.
    """

    def __init__(self, folder: Path, artifacts: ArtifactStore) -> None:
        self.artifacts = artifacts
        answers = folder / ANSWERS
        self.answers: dict[str, JsonValue] = json.loads(answers.read_bytes()) if answers.exists() else {}
        self._calls = folder / CALLS

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap one activity execution."""
        return _Rehearsed(next, self)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[_LocalAsRemote]:
        """Wrap each workflow."""
        return _LocalAsRemote

    def note(self, how: CallOutcome, argument: Any, why: str = "") -> None:
        """Record a call."""
        info = activity.info()
        call = RehearsedCall(
            at=info.started_time,
            agent=info.workflow_id or "",
            activity=info.activity_type,
            how=how,
            why=why,
            argument=argument.model_dump(mode="json") if isinstance(argument, BaseModel) else None,
        )
        _write(self._calls, call)


class _Rehearsed(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, rehearsal: Rehearsal) -> None:
        super().__init__(next)
        self._rehearsal = rehearsal

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        argument = input.args[0] if input.args else None
        name = activity.info().activity_type
        if is_destructive(argument):
            if looks_up(input.fn):
                return await self._answer(
                    input, argument, CallOutcome.STAND_IN, "nothing was done that it could find"
                )
            return await self._answer(
                input, argument, CallOutcome.NOT_DONE, "destructive, it takes an approval"
            )
        if name in self._rehearsal.answers:
            return await self._answer(input, argument, CallOutcome.STAND_IN, "as the answers say")
        if has_own_stand_in(input.fn):
            return await self._answer(input, argument, CallOutcome.STAND_IN, "it reaches outside")
        access = OutsideAccess()
        OUTSIDE_ACCESS.set(access)
        try:
            result = await super().execute_activity(input)
        except CancelledError:
            raise
        except Exception as error:
            failure = classify_error(error)
            if not access.words and (_is_final(failure) or activity.info().attempt < TRIES):
                self._rehearsal.note(CallOutcome.FAILED, argument, str(failure))
                raise
            why = access.words or f"it fails, and would be tried again: {failure}"
            return await self._answer(input, argument, CallOutcome.STAND_IN, why)
        if access.words:
            return await self._answer(input, argument, CallOutcome.STAND_IN, access.words)
        self._rehearsal.note(
            CallOutcome.STAND_IN if access.made_up else CallOutcome.RUN, argument, access.made_up
        )
        return result

    async def _answer(self, input: ExecuteActivityInput, argument: Any, how: CallOutcome, why: str) -> Any:
        rehearsal, name = self._rehearsal, activity.info().activity_type
        try:
            answer = await asyncio.to_thread(
                stand_in, input.fn, argument, rehearsal.artifacts, rehearsal.answers.get(name)
            )
        except NoStandInError as error:
            raise permanent("NoStandIn", f"{name}: {error}; say in the answers what it answers") from None
        except ValidationError as error:
            flaw = error.errors(include_url=False)[0]["msg"]
            raise permanent("NoStandIn", f"{name} cannot answer what the answers say: {flaw}") from None
        rehearsal.note(how, argument, why)
        return answer


def _is_final(failure: BaseException) -> bool:
    return isinstance(failure, ApplicationError) and failure.non_retryable


def _write(file: Path, call: RehearsedCall) -> None:
    # A single write, so that concurrent lines do not mix.
    with file.open("ab", buffering=0) as calls:
        calls.write(call.model_dump_json().encode() + b"\n")


class NotedStarts(temporalio.client.Interceptor):
    """A client interceptor that delays workflows started by activities to their time, and records them."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / CALLS

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap the calls of a client."""
        return _NotedStart(next, self._calls)


class _NotedStart(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, calls: Path) -> None:
        super().__init__(next)
        self._calls = calls

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        # Start it at the time of the agent behind the activity, which is ahead of this machine's clock.
        ahead = agent_time() - datetime.now(UTC)
        if ahead > timedelta():
            input.start_delay = ahead
        handle = await super().start_workflow(input)
        by = activity.info().activity_type if activity.in_activity() else ""
        _write(
            self._calls, RehearsedCall(at=agent_time(), agent=input.id, activity=by, how=CallOutcome.STARTED)
        )
        return handle


class _LocalAsRemote(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Remote(outbound))


class _Remote(WorkflowOutboundInterceptor):
    """Turns local activities into ordinary ones, because local ones do not know the agent's time."""

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        return self.next.start_activity(
            StartActivityInput(
                activity=input.activity,
                args=input.args,
                activity_id=input.activity_id,
                task_queue=None,
                schedule_to_close_timeout=None,
                schedule_to_start_timeout=None,
                start_to_close_timeout=_LOCAL,
                heartbeat_timeout=None,
                retry_policy=input.retry_policy,
                cancellation_type=input.cancellation_type,
                headers=input.headers,
                disable_eager_execution=False,
                versioning_intent=None,
                summary=input.summary,
                event_groups=input.event_groups,
                priority=Priority.default,
                arg_types=input.arg_types,
                ret_type=input.ret_type,
            )
        )


class _InContext(ThreadPoolExecutor):
    """Threads that run in their caller's context, and so know its activity; the loop's own pool's do not."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        return super().submit(contextvars.copy_context().run, function, *arguments, **named)


def begin_rehearsal(settings: Settings) -> None:
    """If this process is a rehearsal's worker, confine it permanently. Call this within its event loop."""
    if settings.rehearsal is not None:
        asyncio.get_running_loop().set_default_executor(_InContext(thread_name_prefix="rehearsal"))
        confine(settings.rehearsal)

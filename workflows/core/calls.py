"""How activities are called: named policies, each with its reason. Temporal owns the retries."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar, overload

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

from activities.delivery.notices import Notices
from common.agents.agent import AgentInput
from common.approval.types import ApprovalRequest
from common.errors import permanent
from common.notices.types import Notice, NoticeEvent, Told
from workflows.core.visible import Visible
from workflows.core.watchdog import OpenCall

# Under the server's 2 MB, over which a call is retried for ever.
MAX_ARGUMENT_BYTES = 1_500_000

# Of the workflow task's time-out. After 0.8 of it the SDK begins another task for a local activity that still
# runs, and then a replay may see another time, or take the result in another order with what came meanwhile.
LOCAL_SHARE = 0.4

# The SDK does not hold a local activity that it tries again to the time all attempts may take.
ONCE = RetryPolicy(maximum_attempts=1)

Argument = TypeVar("Argument", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True)
class CallPolicy:
    """Time-outs and retries of a call.

    Attributes:
        start_to_close: the longest one attempt may take.
        retry: how attempts follow each other.
        heartbeat: the activity reports at least this often; its worker's death is noticed after it.
        schedule_to_start: give up where no worker takes it in time.
        schedule_to_close: give up for good after this time, retries included.
        stuck_after: a call that has not got through by then marks its agent stuck, and goes on.
        local: runs inside the workflow task. Only for what is short and harmless to repeat: it leaves one
            event in history in place of three, and a worker's death repeats it. What does not get through
            there, slow or failing, goes on as any other activity.
        lasting: people will look for an agent in this call, so its search attributes are brought up to date.
        queue: what follows the agent's own task queue in the name of the one this call goes to.
        fairness_key: at most 64 bytes. Calls of one key share the rate that the server allows a key of that
            task queue, and do not keep those of other keys waiting.
    """

    start_to_close: timedelta
    retry: RetryPolicy
    heartbeat: timedelta | None = None
    schedule_to_start: timedelta | None = None
    schedule_to_close: timedelta | None = None
    stuck_after: timedelta | None = timedelta(minutes=10)
    local: bool = False
    lasting: bool = False
    queue: str = ""
    fairness_key: str | None = None

    def fair(self, key: str) -> CallPolicy:
        """This policy, for calls that take turns with others of `key`, the host of an address for example."""
        return replace(self, fairness_key=key)


# An outside system that is away comes back sooner or later; delays under a second become a second anyway.
PATIENTLY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5))

# A computation or a look at something near: no state outside, milliseconds, repeated without a thought.
QUICK = CallPolicy(start_to_close=timedelta(seconds=10), retry=PATIENTLY, local=True)

# One exchange with an outside system that only reads.
READ = CallPolicy(start_to_close=timedelta(minutes=1), retry=PATIENTLY)

# A page of a web site: its host may ask for minutes or a day of patience, and the server hands out each
# host's pages one after another. On a queue of its own, so that this rate slows nothing else.
FETCH = CallPolicy(
    start_to_close=timedelta(minutes=3),
    retry=PATIENTLY,
    heartbeat=timedelta(seconds=30),
    stuck_after=timedelta(hours=1),
    lasting=True,
    queue="-fetch",
)

# Work through many files or pages: it heartbeats with a cursor, and a dead worker is noticed in 30 seconds.
LONG = CallPolicy(
    start_to_close=timedelta(hours=2),
    retry=PATIENTLY,
    heartbeat=timedelta(seconds=30),
    stuck_after=timedelta(minutes=30),
    lasting=True,
)

# A premise fetched again before an action: what cannot be fetched by then counts as drift.
RECHECK = CallPolicy(
    start_to_close=timedelta(minutes=1),
    retry=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
    schedule_to_close=timedelta(minutes=5),
)

# Something destructive: one attempt. Before another the kit looks up what happened and validates again.
ACTION = CallPolicy(
    start_to_close=timedelta(hours=1),
    retry=ONCE,
    heartbeat=timedelta(seconds=30),
    lasting=True,
)


class Caller(Visible):
    """The part of an agent that calls activities."""

    def __init__(self, input: AgentInput) -> None:
        super().__init__(input)
        self._sequence = 0
        self._under_way = 0
        self._local = asyncio.Lock()
        # Whether notices go elsewhere than to the terminal, by the last answer; until the first, perhaps.
        self._elsewhere = True

    @overload
    async def call(
        self, activity: Callable[[Any, Argument], Awaitable[Result]], argument: Argument, policy: CallPolicy
    ) -> Result: ...

    @overload
    async def call(
        self, activity: Callable[[Any, Argument], Result], argument: Argument, policy: CallPolicy
    ) -> Result: ...

    async def call(self, activity: Any, argument: Any, policy: CallPolicy) -> Any:
        """Run an activity, a method of a class in `activities/`, and return its result.

        Its id holds a digest of the argument, so that a replay that would pass another one is noticed. That
        of a local one holds none: its argument goes nowhere, and a time in it may be another in a replay.

        Raises:
            ActivityError: it failed for good; its cause says why.
            ApplicationError: type `ArgumentTooLarge`, where the argument is over 1.5 MB.
        """
        await self._while_paused()
        if policy.lasting or self._shows_wait:
            self._show_all()
        with self._watchdog.watch(activity.__name__, self._node, policy.stuck_after):
            return await self._execute(activity, argument, policy)

    async def _execute(self, activity: Any, argument: BaseModel, policy: CallPolicy) -> Any:
        # Not inside `call` alone: an action's attempts are watched as one, from outside.
        self._sequence += 1
        activity_id = f"{self._node}/{self._sequence}"
        if not policy.local:
            # Without defaults: a field that a later version adds must not keep sleepers from their replay.
            body = argument.model_dump_json(exclude_defaults=True).encode()
            if len(body) > MAX_ARGUMENT_BYTES:
                told = f"{activity.__name__}: {len(body)} bytes; hand over an artifact"
                raise permanent("ArgumentTooLarge", told)
            activity_id += f"/{hashlib.sha256(body).hexdigest()[:12]}"
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        self._under_way += 1
        try:
            result = await self._run(activity, argument, policy, activity_id)
        finally:
            self._under_way -= 1
        if task and task.cancelling() > cancelled_before:
            # The SDK waits for the call's own end; where that is a good one, the cancellation would be lost.
            raise asyncio.CancelledError
        return result

    async def _run(self, activity: Any, argument: BaseModel, policy: CallPolicy, id: str) -> Any:
        if policy.local:
            # One at a time: of two at once that end in different workflow tasks, a replay may take the
            # results in another order than they came, and the agent could never be replayed again.
            async with self._local:
                try:
                    return await workflow.execute_local_activity_method(
                        activity,
                        argument,
                        activity_id=id,
                        schedule_to_close_timeout=workflow.info().task_timeout * LOCAL_SHARE,
                        retry_policy=ONCE,
                    )
                except FailureError as error:
                    # What kind of failure it was, a replay may tell otherwise.
                    if is_cancelled_exception(error):
                        raise
        return await workflow.execute_activity_method(
            activity,
            argument,
            activity_id=id,
            task_queue=workflow.info().task_queue + policy.queue if policy.queue else None,
            start_to_close_timeout=policy.start_to_close,
            schedule_to_start_timeout=policy.schedule_to_start,
            schedule_to_close_timeout=policy.schedule_to_close,
            heartbeat_timeout=policy.heartbeat,
            retry_policy=policy.retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=Priority(fairness_key=policy.fairness_key) if policy.fairness_key else Priority.default,
        )

    async def _tell_people(
        self, event: NoticeEvent, text: str, request: ApprovalRequest | None = None, courier: str = ""
    ) -> Told | None:
        """Have people told. What fails on the way to them is noted later, and never felt here."""
        agent, kind, id = workflow.info().workflow_id, workflow.info().workflow_type, str(self._sequence + 1)
        fields = {"id": id, "agent": agent, "kind": kind, "owner": self.owner, "event": event, "text": text}
        notice = Notice(**fields, request=request, courier=courier)
        told: Told | None = await self._execute(Notices.notify, notice, QUICK)
        self._elsewhere = told is not None
        return told

    async def _now_stuck(self, call: OpenCall) -> None:
        await super()._now_stuck(call)
        await self._tell_people(NoticeEvent.STUCK, f"stuck at {call.node}: {call.name}")

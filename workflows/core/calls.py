"""How activities are called: named policies, each with its reason. Temporal owns the retries."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from common.approval.types import WITH_FIELD_NAMES
from common.errors import permanent
from workflows.core.display import Display

# Below the server's limit of 2 MB, over which a call would be retried for ever.
MAX_ARGUMENT_BYTES = 1_500_000

# Share of the workflow task's time-out. At 0.8 of it the SDK begins another task for a local activity that is
# still running. A replay may then see another time, or take the result in another order among other events.
LOCAL_SHARE = 0.4

Argument = TypeVar("Argument", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True)
class CallPolicy:
    """Time-outs and retries of a call.

    Attributes:
        start_to_close: the longest one attempt may take.
        retry: how attempts follow each other.
        heartbeat: the activity heartbeats at least this often; a dead worker is noticed after this time.
        schedule_to_start: give up if no worker takes it in time.
        schedule_to_close: give up for good after this time, retries included.
        stuck_after: a call that has not succeeded by then marks its agent stuck, and goes on.
        local: run inside the workflow task. Only for what is short and harmless to repeat: it leaves one
            event in history instead of three, and is repeated if the worker dies. If it fails or is slow
            there, it goes on as an ordinary activity.
        lasting: the call may last, so the agent's search attributes are updated before it.
        queue: the suffix added to the name of the agent's own task queue for this call.
        fairness_key: at most 64 bytes. Calls with one key share the rate that the server allows per key on
            that task queue, and do not delay those with other keys.
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
        """This policy, for calls that take turns with others of `key`, such as the host of an address."""
        return replace(self, fairness_key=key)

    @property
    def _first_try(self) -> CallPolicy:
        """A single attempt, given up if no worker takes it before it would count as stuck."""
        return replace(self, retry=ONCE, schedule_to_start=self.schedule_to_start or self.stuck_after)


# One attempt. Also for local calls: if the SDK retried them, it would not bound their total time.
ONCE = RetryPolicy(maximum_attempts=1)

# An outside system that is down comes back eventually; delays under a second become a second anyway.
PATIENTLY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5))

# A computation or a local read: takes milliseconds, changes nothing outside, and is harmless to repeat.
QUICK = CallPolicy(start_to_close=timedelta(seconds=10), retry=PATIENTLY, local=True)

# One exchange with an outside system that only reads.
READ = CallPolicy(start_to_close=timedelta(minutes=1), retry=PATIENTLY)

# A dead worker is noticed after this time. It is longer than a server outage of 30 seconds plus the pause
# between two heartbeats: otherwise an activity that ended in the outage would time out and run again.
HEARTBEAT = timedelta(seconds=45)

# A page of a web site: its host may ask us to wait for minutes or a day, and the server hands out each host's
# pages one after another. It has its own queue, so that this rate limit slows nothing else.
FETCH = CallPolicy(
    start_to_close=timedelta(minutes=3),
    retry=PATIENTLY,
    heartbeat=HEARTBEAT,
    stuck_after=timedelta(hours=1),
    lasting=True,
    queue="-fetch",
)

# Works through many files or pages, and heartbeats with a cursor.
LONG = CallPolicy(
    start_to_close=timedelta(hours=2),
    retry=PATIENTLY,
    heartbeat=HEARTBEAT,
    stuck_after=timedelta(minutes=30),
    lasting=True,
)

# A premise fetched again before an action. If it cannot be fetched in this time, that counts as drift.
RECHECK = CallPolicy(
    start_to_close=timedelta(minutes=1),
    retry=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
    schedule_to_close=timedelta(minutes=5),
)

# Something destructive, in one exchange with an outside system. One attempt: before another, the kit looks up
# what happened and validates again.
ACTION = CallPolicy(start_to_close=timedelta(minutes=1), retry=ONCE)

# Something destructive that takes long, such as writing many files; it heartbeats.
LONG_ACTION = CallPolicy(start_to_close=timedelta(hours=1), retry=ONCE, heartbeat=HEARTBEAT, lasting=True)


class Calls:
    """Runs the activities of one agent.

    `under_way` is how many are running. `has_begun` is whether the agent has done anything yet: called an
    activity, told people, or completed a wait.
    """

    def __init__(self, display: Display) -> None:
        self.under_way = 0
        self.has_begun = False
        self._display = display
        self._sequence = 0
        self._local = asyncio.Lock()

    @property
    def next_id(self) -> str:
        """An id for the next call, unique in this run."""
        return str(self._sequence + 1)

    async def call(self, activity: Any, argument: BaseModel, policy: CallPolicy) -> Any:
        """See `Agent.call`."""
        self.has_begun = True
        await self._display.while_paused()
        if policy.lasting:
            self._display.show()
        else:
            self._display.show_after_wait()
        return await self.execute_watched(activity, argument, policy)

    async def execute_watched(self, activity: Any, argument: BaseModel, policy: CallPolicy) -> Any:
        """Run an activity, paused or not; a call that does not get through marks its agent stuck.

        Most calls succeed at once, and a timer costs two events in history. So only a call that heartbeats or
        has a single attempt is watched from the start, and any other once its first attempt has failed.
        """
        name, since = activity.__name__, workflow.now()
        watch = self._display.watchdog.watch
        if policy.heartbeat or policy.retry.maximum_attempts == 1:
            with watch(name, self._display.node_name, policy.stuck_after, since):
                return await self.execute(activity, argument, policy)
        try:
            return await self.execute(activity, argument, policy._first_try)
        except ActivityError as error:
            if is_cancelled_exception(error) or is_permanent(error):
                raise
            pause = getattr(error.cause, "next_retry_delay", None) or policy.retry.initial_interval
        with self.count_under_way(), watch(name, self._display.node_name, policy.stuck_after, since):
            await workflow.sleep(pause)
            return await self.execute(activity, argument, replace(policy, local=False))

    @contextmanager
    def count_under_way(self) -> Iterator[None]:
        """Count the block as a call under way."""
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def send(self, sending: Coroutine[Any, Any, None]) -> bool:
        """Send something to another workflow; return whether that was running."""
        with self.count_under_way():
            try:
                await sending
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                return False
        return True

    async def execute(self, activity: Any, argument: BaseModel, policy: CallPolicy) -> Any:
        """Run an activity, paused or not, without watching it."""
        self._sequence += 1
        id = f"{self._display.node_name}/{self._sequence}"
        if not policy.local:
            # Without defaults: a field that a later version adds must not break the replay of older agents.
            body = argument.model_dump_json(exclude_defaults=True, context=WITH_FIELD_NAMES).encode()
            if len(body) > MAX_ARGUMENT_BYTES:
                told = f"{activity.__name__}: {len(body)} bytes; hand over an artifact"
                raise permanent("ArgumentTooLarge", told)
            id += f"/{hashlib.sha256(body).hexdigest()[:12]}"
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        with self.count_under_way():
            result = await self._run(activity, argument, policy, id)
        if task and task.cancelling() > cancelled_before:
            # The SDK waits for the call to end; if the call succeeds, the cancellation would be lost.
            raise asyncio.CancelledError
        return result

    async def _run(self, activity: Any, argument: BaseModel, policy: CallPolicy, id: str) -> Any:
        if policy.local:
            # One at a time: if two at once end in different workflow tasks, a replay may take their results
            # in another order, and the agent could never be replayed again.
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
                    # Do not tell other failures apart: a replay may report another kind.
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


def is_permanent(error: ActivityError) -> bool:
    """Whether another attempt would fail as well."""
    return bool(getattr(error.cause, "non_retryable", False))

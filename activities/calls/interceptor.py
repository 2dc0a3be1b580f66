"""Wraps every activity: classifies its errors, and reports its outcome until Temporal has received it.

The SDK gives up reporting after about ten seconds of outage, and the finished activity would run again. Here
the outcome is sent by task token, and retried while the server is down.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError, AsyncActivityHandle, Client
from temporalio.converter import ActivitySerializationContext
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.calls.fair_slots import PUT_OFF
from activities.calls.handover import HANDED_OVER, handed_over, is_cut_off
from common.errors import classify_error, permanent
from common.object_store import StoreUnavailableError
from common.telemetry.metrics import instruments
from common.temporal.newer import require_known

RETRY_SECONDS = 0.5
NO_FAILURES = {HANDED_OVER: "handed_over", PUT_OFF: "put_off"}
# Temporal's answers when it no longer waits for the outcome: timed out, cancelled, or already reported.
_SETTLED = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION)


class ReliableReports(Interceptor):
    """A worker interceptor; `drain` waits for reports in progress."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reports: set[asyncio.Task[None]] = set()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap one activity execution."""
        return _Reporting(next, self)

    def report(self, task_token: bytes, outcome: Any, error: Exception | None) -> None:
        """Send an outcome in the background until it is received."""
        handle = self._client.get_async_activity_handle(task_token=task_token).with_context(_context())
        task = asyncio.create_task(_until_received(handle, outcome, error))
        self._reports.add(task)
        task.add_done_callback(self._received)
        instruments().show_reports(len(self._reports))

    async def drain(self, seconds: float) -> None:
        """Wait for reports in progress, at most `seconds`."""
        if self._reports:
            await asyncio.wait(self._reports, timeout=seconds)

    def _received(self, task: asyncio.Task[None]) -> None:
        self._reports.discard(task)
        instruments().show_reports(len(self._reports))


class _Reporting(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, reports: ReliableReports) -> None:
        super().__init__(next)
        self._reports = reports

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        outcome: Any = None
        failure: Exception | None = None
        if not activity.info().workflow_id:
            # Anyone with access to Temporal can start a standalone activity, bypassing its workflow's checks.
            raise permanent("NoAgent", f"{activity.info().activity_type} runs only for a workflow")
        try:
            require_known()
            outcome = await super().execute_activity(input)
        except (CancelledError, asyncio.CancelledError):
            if not is_cut_off():
                instruments().count_activity("cancelled")
                raise
            failure = handed_over()
        except Exception as error:
            # The cause goes to the log only, not to Temporal.
            cause = error.__cause__
            failure = classify_error(error)
            if failure is not error or cause:
                activity.logger.warning("activity failed", exc_info=cause or error)
        instruments().count_activity(*_outcome(failure))
        info = activity.info()
        if info.is_local:
            if failure:
                raise failure
            return outcome
        self._reports.report(info.task_token, outcome, failure)
        activity.raise_complete_async()


def _outcome(failure: Exception | None) -> tuple[str, str]:
    """How the attempt ended, and the type of its error."""
    if failure is None:
        return "completed", ""
    kind = failure.type if isinstance(failure, ApplicationError) and failure.type else type(failure).__name__
    return NO_FAILURES.get(kind, "failed"), kind


def _context() -> ActivitySerializationContext:
    """The serialization context of the current activity, to encode its outcome with."""
    info = activity.info()
    return ActivitySerializationContext(
        namespace=info.namespace,
        workflow_id=info.workflow_id,
        workflow_type=info.workflow_type,
        activity_type=info.activity_type,
        activity_id=info.activity_id,
        activity_task_queue=info.task_queue,
        is_local=info.is_local,
    )


async def _until_received(handle: AsyncActivityHandle, outcome: Any, error: Exception | None) -> None:
    while True:
        try:
            await (handle.complete(outcome) if error is None else handle.fail(error))
            return
        except AsyncActivityCancelledError:
            return
        except RPCError as refused:
            if refused.status in _SETTLED:
                activity.logger.warning("outcome of an activity came too late: %s", refused)
                return
        except StoreUnavailableError as away:
            activity.logger.warning("a large outcome waits for the store: %s", away)
        except Exception as unfit:
            if error is not None:
                error = permanent(type(error).__name__, "its details cannot be encoded")
            else:
                # Too large, or not JSON: a retry would give the same result.
                error = unfit if isinstance(unfit, ApplicationError) else permanent("Unencodable", str(unfit))
        await asyncio.sleep(RETRY_SECONDS)

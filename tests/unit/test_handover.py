"""An activity whose worker has no time left: another worker has it at once, and it counts as no failure."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.calls.handover import hand_over
from activities.calls.interceptor import ReliableReports


class Reports(ReliableReports):
    """Keeps what would be sent to Temporal."""

    def __init__(self) -> None:
        super().__init__(None)  # it sends nothing
        self.sent: list[Exception | None] = []

    def report(self, task_token: bytes, outcome: Any, error: Exception | None) -> None:
        self.sent.append(error)


class Waiting(ActivityInboundInterceptor):
    """An activity that waits to be cancelled."""

    def __init__(self) -> None: ...

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        await asyncio.Event().wait()


async def cancelled(details: ActivityCancellationDetails) -> tuple[BaseException, list[Exception | None]]:
    """What the activity ends with, and what is reported of it."""
    environment, reports = ActivityEnvironment(), Reports()
    interceptor = reports.intercept_activity(Waiting())
    asyncio.get_running_loop().call_later(0.05, environment.cancel, details)
    with pytest.raises(BaseException) as ended:  # noqa: PT011 - that it ends at all is asked first
        await environment.run(
            interceptor.execute_activity, ExecuteActivityInput(fn=len, args=[], executor=None, headers={})
        )
    return ended.value, reports.sent


async def test_what_is_cut_off_with_its_worker_goes_to_another_at_once() -> None:
    """Not after the pause that its failed attempts have grown to."""
    _, [told] = await cancelled(ActivityCancellationDetails(worker_shutdown=True))
    assert isinstance(told, ApplicationError)
    assert (told.type, told.non_retryable) == ("HandedOver", False)
    assert told.next_retry_delay == timedelta(seconds=1)
    assert told.category is ApplicationErrorCategory.BENIGN


@pytest.mark.parametrize("ends", [False, True])
async def test_what_its_agent_cancelled_is_cancelled(ends: bool) -> None:
    """Nothing is handed over, whether or not the worker ends as well."""
    ended, sent = await cancelled(ActivityCancellationDetails(cancel_requested=True, worker_shutdown=ends))
    assert isinstance(ended, asyncio.CancelledError)
    assert sent == []


def test_an_activity_hands_over_only_while_its_worker_ends() -> None:
    """Until then it goes on."""
    environment = ActivityEnvironment()
    environment.run(hand_over)
    environment.worker_shutdown()
    with pytest.raises(ApplicationError, match="another goes on"):
        environment.run(hand_over)

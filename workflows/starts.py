"""The first step of workflows that are not agents: refuse a start that is not signed."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.starts import StartCheck, StartChecks
    from common.approval.starts import SignedStart, digest_of


async def require_signed(request: SignedStart | None) -> None:
    """Return if the start was signed, or if this run continues one that was.

    Raises:
        ActivityError: caused by `ForgedStart`.
    """
    info = workflow.info()
    # A run that a cron schedule or a retry policy begins was not begun by this program's own code.
    continues = info.continued_run_id and not info.cron_schedule and info.attempt == 1
    if continues or not workflow.patched("signed-start"):
        return
    check = StartCheck(
        kind=info.workflow_type,
        digest=digest_of(request) if request else "",
        signature=request.signature if request else "",
    )
    await workflow.execute_local_activity_method(
        StartChecks.check_start,
        check,
        start_to_close_timeout=timedelta(seconds=10),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)
        ),
    )

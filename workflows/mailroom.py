"""The mail listener: has one worker at a time listen to the mailbox. It is not an agent.

It runs on the workers' current build from one task to the next: pinned to a build that is removed, it would
hold its only id, and nobody could listen.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, VersioningBehavior

with workflow.unsafe.imports_passed_through():
    from activities.mail.mailbox import ListenRequest, Mailbox
    from common.mail import MAILROOM, MailroomRequest
    from workflows.starts import require_signed

# The length of one run, so that its history stays short.
ROUND = timedelta(hours=1)


@workflow.defn(name=MAILROOM, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Mailroom:
    """Runs under one id, so Temporal ensures that only one listens at a time."""

    @workflow.run
    async def run(self, request: MailroomRequest | None = None) -> None:
        """Listen for ever. Ends only on a worker without a mailbox; the next worker with one starts it."""
        await require_signed(request)
        await workflow.execute_activity_method(
            Mailbox.listen,
            ListenRequest(seconds=ROUND.total_seconds()),
            start_to_close_timeout=2 * ROUND,
            # Heartbeats come every few seconds, so another worker soon takes over from one that died.
            heartbeat_timeout=timedelta(seconds=15),
            # A mail server that is down comes back, and mail waits there.
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
            ),
        )
        workflow.continue_as_new()

"""The rate limit of fetches, which the server applies to each web host by its fairness key."""

from __future__ import annotations

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit
from temporalio.api.workflowservice.v1 import UpdateTaskQueueConfigRequest
from temporalio.service import WorkflowService

from common.settings import Settings


async def set_fetch_rate(service: WorkflowService, namespace: str, settings: Settings) -> None:
    """Limit the fetches from each host to `settings.fetching.rate` a second.

    The server keeps the limit with the task queue. On a cluster an operator sets it once:
    `temporal task-queue config set --task-queue hibernaut-fetch --task-queue-type activity
    --fairness-key-rps-limit-default 1`, with the dynamic setting `matching.enableFairness` on.

    Raises:
        RPCError: the server does not answer, or is too old for such limits.
    """
    await service.update_task_queue_config(
        UpdateTaskQueueConfigRequest(
            namespace=namespace,
            identity="hibernaut",
            task_queue=settings.fetch_queue,
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            update_fairness_key_rate_limit_default=UpdateTaskQueueConfigRequest.RateLimitUpdate(
                rate_limit=RateLimit(requests_per_second=settings.fetching.rate),
                reason="politeness towards web hosts",
            ),
        ),
        retry=True,
    )

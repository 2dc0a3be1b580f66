"""The rate limit of fetches, which the server applies per web host by fairness key."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, UpdateTaskQueueConfigRequest
from temporalio.service import WorkflowService

from common.settings import Settings

ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
CALL_TIMEOUT = timedelta(seconds=10)


async def set_fetch_rate(service: WorkflowService, namespace: str, settings: Settings) -> bool:
    """Limit fetches from each host to `settings.fetching.rate` a second; return whether that was new.

    The server stores the limit with the task queue; it needs `matching.enableFairness`.

    Raises:
        RPCError: the server does not answer, or is too old for such limits.
    """
    rate, queue = settings.fetching.rate, TaskQueue(name=settings.fetch_queue)
    described = await service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=namespace, task_queue=queue, task_queue_type=ACTIVITIES, report_config=True
        ),
        retry=True,
        timeout=CALL_TIMEOUT,
    )
    kept = described.config.fairness_keys_rate_limit_default.rate_limit
    # Compare as protobuf: the server stores a 4-byte float.
    if kept == RateLimit(requests_per_second=rate):
        return False
    await service.update_task_queue_config(
        UpdateTaskQueueConfigRequest(
            namespace=namespace,
            identity="hibernaut",
            task_queue=queue.name,
            task_queue_type=ACTIVITIES,
            update_fairness_key_rate_limit_default=UpdateTaskQueueConfigRequest.RateLimitUpdate(
                rate_limit=RateLimit(requests_per_second=rate),
                reason="politeness towards web hosts",
            ),
        ),
        retry=True,
        timeout=CALL_TIMEOUT,
    )
    return True

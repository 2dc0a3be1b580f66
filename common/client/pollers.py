"""Who polls a task queue: the workers, and their builds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

# A poll lasts a minute at most; a worker that has not polled for longer is gone.
POLLED_WITHIN = timedelta(seconds=90)


@dataclass(frozen=True)
class Pollers:
    """Who takes tasks of one kind from a task queue.

    Attributes:
        queue: the task queue.
        builds: the workers by build, as `deployment:build`; unversioned ones under an empty string.
        current: the build that takes what is not pinned; empty for unversioned workers.
        backlog: about how many tasks wait for a worker; `backlog_age` is how long the first has waited.
    """

    queue: str
    builds: dict[str, list[str]]
    current: str
    backlog: int = 0
    backlog_age: timedelta = timedelta()

    @property
    def workers(self) -> list[str]:
        """All of them."""
        return sorted({each for workers in self.builds.values() for each in workers})

    def serve(self, build: str) -> bool:
        """Whether a worker takes the tasks of agents pinned to `build`, or if empty, of unpinned ones."""
        return (build or self.current) in self.builds


async def pollers(client: Client, queue: str, kind: TaskQueueType.ValueType) -> Pollers:
    """The workers that take tasks of this kind from a task queue."""
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=kind,
            report_stats=True,
        )
    )
    builds: dict[str, list[str]] = {}
    for each in described.pollers:
        if each.last_access_time.ToDatetime(UTC) > datetime.now(UTC) - POLLED_WITHIN:
            builds.setdefault(_build_of(each), []).append(each.identity)
    current = name_of(described.versioning_info.current_deployment_version)
    stats = described.stats
    age = stats.approximate_backlog_age.ToTimedelta()
    return Pollers(queue, builds, current, stats.approximate_backlog_count, age)


def name_of(version: WorkerDeploymentVersion) -> str:
    """A build as visibility names it, `deployment:build`; empty for none."""
    return f"{version.deployment_name}:{version.build_id}" if version.build_id else ""


def _build_of(poller: PollerInfo) -> str:
    options = poller.deployment_options
    if options.worker_versioning_mode != WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED:
        return ""
    return f"{options.deployment_name}:{options.build_id}"

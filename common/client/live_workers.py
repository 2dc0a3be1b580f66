"""Workers as they report themselves to the server every few seconds: what they are, and how busy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerSlotsInfo
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.client import Client

from common.client.visibility import quote

# A worker reports at least once a minute; one that has not for longer is gone.
HEARD_WITHIN = timedelta(seconds=90)
PAGE = 1000
MAX_WORKERS = 10_000
# Prefix of the plugin name in which a worker lists the kinds it serves.
KINDS_TOLD = "kinds: "


@dataclass(frozen=True)
class Slots:
    """How many tasks of one kind a worker runs now, and how many it can."""

    used: int
    of: int

    @property
    def all_used(self) -> bool:
        """Whether no slot is free."""
        return 0 < self.of <= self.used

    def __str__(self) -> str:
        return f"{self.used} of {self.of}"


@dataclass(frozen=True)
class LiveWorker:
    """A worker of one task queue.

    Attributes:
        identity: how it names itself to the server.
        build: `deployment:build`; empty for an unversioned one.
        workflows: slots for workflow tasks.
        activities: slots for activities.
        cached: agents that it keeps in memory.
        ending: whether it takes no more work.
        silent: time since its last report; it reports every few seconds while it runs.
        kinds: the kinds of agents that it serves; empty if it does not say.
    """

    identity: str
    build: str
    workflows: Slots
    activities: Slots
    cached: int
    ending: bool
    silent: timedelta = timedelta()
    kinds: frozenset[str] = frozenset()


async def live_workers(client: Client, queue: str) -> list[LiveWorker]:
    """The workers of a task queue that have reported lately, sorted by identity.

    Raises:
        RPCError: Temporal could not be asked, or is too old for this request.
    """
    now, found = datetime.now(UTC), list[WorkerHeartbeat]()
    request = ListWorkersRequest(
        namespace=client.namespace, page_size=PAGE, query=f"TaskQueue = {quote(queue)}"
    )
    while len(found) < MAX_WORKERS:
        page = await client.workflow_service.list_workers(request, retry=True)
        found += [each.worker_heartbeat for each in page.workers_info]
        request.next_page_token = page.next_page_token
        if not page.next_page_token:
            break
    heard = [each for each in found if now - each.heartbeat_time.ToDatetime(UTC) < HEARD_WITHIN]
    return sorted((_worker_of(each, now) for each in heard), key=lambda each: each.identity)


def busiest(workers: Sequence[LiveWorker]) -> list[LiveWorker]:
    """The workers, those with the fewest free activity slots first."""
    return sorted(workers, key=lambda each: each.activities.of - each.activities.used)


def _worker_of(told: WorkerHeartbeat, now: datetime) -> LiveWorker:
    version = told.deployment_version
    return LiveWorker(
        identity=told.worker_identity,
        # An unversioned worker makes up a build id, without a deployment.
        build=f"{version.deployment_name}:{version.build_id}" if version.deployment_name else "",
        workflows=_slots_of(told.workflow_task_slots_info),
        activities=_slots_of(told.activity_task_slots_info),
        cached=told.current_sticky_cache_size,
        ending=told.status != WorkerStatus.WORKER_STATUS_RUNNING,
        silent=now - told.heartbeat_time.ToDatetime(UTC),
        kinds=frozenset(
            kind
            for plugin in told.plugins
            if plugin.name.startswith(KINDS_TOLD)
            for kind in plugin.name.removeprefix(KINDS_TOLD).split()
        ),
    )


def _slots_of(told: WorkerSlotsInfo) -> Slots:
    return Slots(told.current_used_slots, told.current_used_slots + told.current_available_slots)

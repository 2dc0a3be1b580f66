"""Gauges about all agents for `/metrics`, counted in Temporal on request but not too often."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError

from common.agents.states import AgentState
from common.client.builds import Builds
from common.client.diagnosis import OVERDUE_AFTER, Diagnosis
from common.client.errors import AgentClientError
from common.client.filters import AgentFilter
from common.client.pollers import pollers
from common.client.trouble import Cause
from common.client.visibility import ASKING, exactly, in_trouble, quote, rows_of
from common.settings import Settings
from common.temporal import search_attributes
from gateway.counts import RUNNING, age_of_oldest, count_of

# How long a count stays valid, and how long one may take: a scrape waits no longer.
FRESH = 30.0
PATIENCE = 5.0
# How many agents in possible trouble to diagnose, and for how long.
MAX_DIAGNOSED, DIAGNOSIS_TIMEOUT = 200, timedelta(seconds=1)
WORKFLOWS, ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY

_log = logging.getLogger(__name__)


class AgentGauges(Collector):
    """Gauges about all agents, the same on every gateway; a collector for prometheus-client."""

    def __init__(self, client: Client, settings: Settings, diagnosis: Diagnosis) -> None:
        self._client, self._settings, self._diagnosis = client, settings, diagnosis
        self._taken = -math.inf
        self._found: list[Metric] = []
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Count again, unless the last count is recent; if Temporal is unreachable, report only that."""
        async with self._lock:
            if time.monotonic() - self._taken < FRESH:
                return
            found: list[Metric] = []
            try:
                async with asyncio.timeout(PATIENCE):
                    now = datetime.now(UTC)
                    for part in (self._agents, self._approvals, self._trouble, self._queues, self._builds):
                        found += await part(now)
            except (RPCError, RuntimeError, TimeoutError) as error:
                _log.warning("agents could not be counted: %s", type(error).__name__)
                found = []
            up = _gauge("hibernaut_temporal_up", "Whether the agents could be counted.", len(found) > 0)
            self._taken, self._found = time.monotonic(), [up, *found]

    def collect(self) -> Iterator[Metric]:
        """The results of the last count."""
        yield from self._found

    async def _agents(self, now: datetime) -> list[Metric]:
        found = GaugeMetricFamily("hibernaut_agents", "Running agents by state.", labels=["state"])
        for state in AgentState:
            found.add_metric([state], await count_of(self._client, exactly(AgentFilter(state=state))))
        due = (now - OVERDUE_AFTER).isoformat()
        overdue = [
            f"{search_attributes.WAKE_AT.name} < '{due}'",
            f"{search_attributes.STATE.name} != {quote(AgentState.PAUSED)}",
        ]
        late = await count_of(self._client, [*RUNNING, *overdue])
        return [found, _gauge("hibernaut_agents_overdue", "Agents that should have woken by now.", late)]

    async def _approvals(self, now: datetime) -> list[Metric]:
        oldest = await age_of_oldest(self._client, [*RUNNING, ASKING], now)
        return [
            _gauge(
                "hibernaut_approvals_open",
                "Agents that wait for people's decision.",
                await count_of(self._client, [*RUNNING, ASKING]),
            ),
            _gauge(
                "hibernaut_approvals_oldest_seconds",
                "For how long the first of them has been where it asks, to 5 %.",
                oldest,
            ),
        ]

    async def _trouble(self, now: datetime) -> list[Metric]:
        """Diagnosing all agents is expensive; counts among the newest suffice for an alert."""
        queue = f"TaskQueue = {quote(self._settings.task_queue)}"
        maybe = in_trouble(now, await self._diagnosis.workers())
        rows = await rows_of(self._client, [*RUNNING, queue, maybe], MAX_DIAGNOSED)
        await self._diagnosis.look(rows, now, most=MAX_DIAGNOSED, patience=DIAGNOSIS_TIMEOUT)
        causes = Counter(each.cause for row in rows for each in row.trouble)
        found = GaugeMetricFamily(
            "hibernaut_agents_in_trouble",
            f"Agents in trouble by cause, of the newest {MAX_DIAGNOSED} that may be.",
            labels=["cause"],
        )
        for cause in Cause:
            found.add_metric([cause], causes[cause])
        return [found]

    async def _queues(self, now: datetime) -> list[Metric]:
        queues = (
            (self._settings.task_queue, "workflow", WORKFLOWS),
            (self._settings.task_queue, "activity", ACTIVITIES),
            (self._settings.fetch_queue, "activity", ACTIVITIES),
        )
        names = ["queue", "task"]
        workers = GaugeMetricFamily("hibernaut_workers", "Workers that poll a task queue.", labels=names)
        tasks = GaugeMetricFamily("hibernaut_backlog_tasks", "Tasks that wait for a worker.", labels=names)
        age = GaugeMetricFamily("hibernaut_backlog_age_seconds", "The oldest of them.", labels=names)
        for queue, task, kind in queues:
            polling = await pollers(self._client, queue, kind)
            workers.add_metric([queue, task], len(polling.workers))
            tasks.add_metric([queue, task], polling.backlog)
            age.add_metric([queue, task], polling.backlog_age.total_seconds())
        return [workers, tasks, age]

    async def _builds(self, now: datetime) -> list[Metric]:
        try:
            kept = await Builds(self._client, self._settings).kept()
        except AgentClientError:
            return []  # several deployments, and none is configured
        most = self._settings.deployment.most
        return [
            _gauge("hibernaut_builds", "Builds that the server keeps of the deployment.", kept),
            _gauge("hibernaut_builds_max", "How many it keeps at most.", most),
        ]


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)

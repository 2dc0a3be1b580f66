"""The builds of a deployment: which there are, who serves them, what needs them, when they can be removed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, Field
from temporalio.api.deployment.v1 import WorkerDeploymentInfo, WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, VersionDrainageStatus, WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    DeleteWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from common.agents.states import AgentState
from common.client.errors import AgentClientError, BuildRefusedError
from common.client.pollers import Pollers, name_of, pollers
from common.client.visibility import AGENTS, page_of, pinned_to, quote, rows_of
from common.grammar import counted
from common.settings import Settings
from common.temporal import search_attributes

# Warn from this share of the maximum number of builds.
NEAR = 0.8
# How long to wait for a worker that was just started.
ARRIVAL = timedelta(seconds=15)
LOOK_AGAIN = 0.5
# How many builds to count in parallel; how many agents to read to find builds that the server forgot.
AT_ONCE = 8
MOST_FORGOTTEN = 1000
# Page size, and maximum number of pages, of the search for the agent that sleeps longest.
SLEEPERS, ROUNDS = 100, 50

OPEN = "CloseTime IS NULL"
UNKNOWN = "the server does not know it: it registers, or there are as many builds as the server keeps"
ASLEEP = f"{search_attributes.STATE.name} IN " + str(
    tuple(map(str, (AgentState.SLEEPING, AgentState.AWAITING_APPROVAL, AgentState.AWAITING_EVENT)))
)
WAKE_AT = search_attributes.WAKE_AT.name
# The server's answers to a change that it refuses.
REFUSALS = (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.NOT_FOUND)


class Build(BaseModel):
    """A build, and what needs it.

    Attributes:
        build: its id.
        status: `current`, `ramping`, `draining`, `drained`; `inactive` if it never was current; `forgotten`
            if agents are pinned to it but the server does not know it any more; `unknown` if workers poll as
            it but the server does not know it yet, or never will, because it keeps no more builds.
        ramp: the share of new agents that begin on it while it is ramping, in percent.
        agents: the open agents that are pinned to it.
        asleep: how many of these sleep or wait; `asleep_until` is when the last of them wakes, and `open_end`
            says how many have no such time.
        pages: pages of batches, and anything else pinned to it that is not an agent.
        closed: agents that ended on it and are still in Temporal: without a worker of this build, only their
            results can be read.
        workers: those that poll as this build.
        drained: whether the server says that nothing open needs it. Of builds that were never current it says
            nothing, so for them this is false.
        removable: whether it can be removed; `reason` says why not, or what to consider first.
    """

    build: str
    status: str
    ramp: float | None = None
    agents: int = 0
    asleep: int = 0
    asleep_until: datetime | None = None
    open_end: int = 0
    pages: int = 0
    closed: int = 0
    workers: list[str] = Field(default_factory=list)
    drained: bool = False
    removable: bool = False
    reason: str = ""

    @property
    def needed_by(self) -> str:
        """Which open agents need it, in words; empty if none do."""
        needing = [
            *([counted(self.agents, "agent")] if self.agents else []),
            *([counted(self.pages, "page of a batch", "pages of batches")] if self.pages else []),
        ]
        if not needing:
            return ""
        words = " and ".join(needing) + (" needs it" if self.agents + self.pages == 1 else " need it")
        until = f", the last until {self.asleep_until:%Y-%m-%d %H:%M} UTC" if self.asleep_until else ""
        open_end = f", {self.open_end} without an end" if self.open_end else ""
        return f"{words} ({self.asleep} asleep{until}{open_end})" if self.asleep else words


class Deployment(BaseModel):
    """A deployment with its builds, newest first.

    Attributes:
        name: its name; empty if there is none, and all workers are unversioned.
        current: the build on which new agents begin; empty if unversioned workers take them.
        builds: all of them.
        most: how many the server keeps.
        agents: open agents that are pinned to no build.
        workers: unversioned workers.
        elsewhere: `deployment:build` of another deployment, if new agents of the task queue begin there.
    """

    name: str
    current: str
    builds: list[Build]
    most: int
    agents: int
    workers: list[str]
    elsewhere: str = ""

    @property
    def is_near_limit(self) -> bool:
        """Whether there are nearly as many builds as the server keeps."""
        known = sum(each.status not in ("forgotten", "unknown") for each in self.builds)
        return known >= NEAR * self.most


class Builds:
    """Reads and changes the builds of the deployment that serves the agents.

    Every method may raise `RPCError`: Temporal was out of reach for longer than the client's patience.
    """

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client, self._settings = client, settings
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def read(self) -> Deployment:
        """The deployment as it is now; an empty one if all workers are unversioned.

        Raises:
            AgentClientError: there are several, and none is chosen.
        """
        workers = await self.workers()
        name, builds, current = await self._name(workers), list[Build](), ""
        if name:
            info = await self._describe(name)
            current = info.routing_config.current_deployment_version.build_id
            builds = [_build_of(each) for each in info.version_summaries]
            for each in builds:
                each.workers = workers.builds.get(f"{name}:{each.build}", [])
                if each.status == "ramping":
                    each.ramp = info.routing_config.ramping_version_percentage
            await asyncio.gather(*(self._count(name, each) for each in builds))
            builds += await self._forgotten(name, builds)
            known, polling = (
                {each.build for each in builds},
                [each.split(":") for each in workers.builds if each],
            )
            builds += [
                Build(build=build, status="unknown", workers=workers.builds[f"{of}:{build}"], reason=UNKNOWN)
                for of, build in polling
                if of == name and build not in known
            ]
        unpinned = f"{search_attributes.BEHAVIOR} IS NULL"
        return Deployment(
            name=name,
            current=current,
            builds=builds,
            most=self._settings.deployment.most,
            agents=await self._counted([AGENTS, OPEN, unpinned]),
            workers=workers.builds.get("", []),
            elsewhere="" if workers.current.startswith(f"{name}:") else workers.current,
        )

    async def workers(self) -> Pollers:
        """Who takes the agents' tasks."""
        return await pollers(self._client, self._settings.task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)

    async def kept(self) -> int:
        """How many builds of the deployment the server keeps; 0 if all workers are unversioned.

        Raises:
            AgentClientError: as `read`.
        """
        name = await self._name(await self.workers())
        return len((await self._describe(name)).version_summaries) if name else 0

    async def need(self, build: str) -> Build:
        """What needs a build of the deployment in the settings."""
        found = Build(build=build, status="")
        await self._count(self._settings.deployment.name, found)
        return found

    async def pinned_ids(self, build: str) -> list[str]:
        """The ids of everything open that is pinned to a build, newest first.

        Raises:
            AgentClientError: as `read`.
        """
        name = await self._name(await self.workers())
        rows = await rows_of(self._client, [OPEN, *pinned_to([f"{name}:{build}"])], 10**6)
        return [row.id for row in rows]

    async def set_current(self, build: str, tell: Callable[[str], None] = lambda words: None) -> None:
        """Have new agents begin on a build, or on unversioned workers if it is empty. Also for a rollback.

        Waits for a worker that was just started, and says so once through `tell`.

        Raises:
            BuildRefusedError: no worker polls as that build, or the server does not take it.
            AgentClientError: as `read`.
        """
        end, told = time.monotonic() + ARRIVAL.total_seconds(), False
        while True:
            try:
                return await self._set_current(build)
            except BuildRefusedError:
                if time.monotonic() > end:
                    raise
            if not told:
                tell(f"waiting for a worker {f'of build {build}' if build else 'without a build'} …")
            told = True
            await asyncio.sleep(LOOK_AGAIN)

    async def remove(self, build: str) -> Build:
        """Have the server forget a build that nothing needs and no worker polls as; return what it was.

        Raises:
            BuildRefusedError: something needs it, or the server still sees a worker of it.
            AgentClientError: as `read`, or there is no such build.
        """
        deployment = await self.read()
        found = next((each for each in deployment.builds if each.build == build), None)
        if found is None:
            there = ", ".join(each.build for each in deployment.builds) or "none"
            raise AgentClientError(f"there is no build {build!r}; there are: {there}.")
        if not found.removable:
            raise BuildRefusedError(f"build {build} cannot be taken away: {found.reason}.")
        version = WorkerDeploymentVersion(deployment_name=deployment.name, build_id=build)
        request = DeleteWorkerDeploymentVersionRequest(
            namespace=self._client.namespace, deployment_version=version, identity=self._client.identity
        )
        try:
            await self._client.workflow_service.delete_worker_deployment_version(request, retry=True)
        except RPCError as error:
            if error.status not in REFUSALS:
                raise
            how = ": stop them; it sees the last poll for five minutes" if "poller" in error.message else ""
            raise BuildRefusedError(f"the server keeps build {build}: {error.message}{how}.") from None
        return found

    async def _set_current(self, build: str) -> None:
        workers = await self.workers()
        name = await self._name(workers)
        if not name:
            raise BuildRefusedError("there is no deployment: start workers of a build first.")
        if not workers.builds.get(f"{name}:{build}" if build else ""):
            what = f"of build {build}" if build else "without a build"
            raise BuildRefusedError(
                f"no worker {what} polls the task queue {self._settings.task_queue}: start one first."
            )
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._client.namespace,
            deployment_name=name,
            build_id=build,
            identity=self._client.identity,
        )
        try:
            await self._client.workflow_service.set_worker_deployment_current_version(request, retry=True)
        except RPCError as error:
            if error.status not in REFUSALS:
                raise
            most = self._settings.deployment.most
            full = f"; it takes none past {most}: `starter.py versions --remove BUILD`"
            known = len((await self._describe(name)).version_summaries)
            raise BuildRefusedError(
                f"the server does not take build {build}: {error.message}{full if known >= most else ''}."
            ) from None

    async def _name(self, workers: Pollers) -> str:
        """The deployment in the settings, or that polls, or that agents are pinned to; empty if none."""
        if name := self._settings.deployment.name:
            return name
        builds = {workers.current, *workers.builds} - {""}
        if not builds:
            rows = await rows_of(self._client, [AGENTS, OPEN, *pinned_to([], others=True)], SLEEPERS)
            builds = {row.pinned_to for row in rows}
        names = sorted({build.partition(":")[0] for build in builds})
        if len(names) > 1:
            raise AgentClientError(
                f"there are several deployments: {', '.join(names)}; choose one by TEMPORAL_DEPLOYMENT_NAME."
            )
        return names[0] if names else ""

    async def _describe(self, name: str) -> WorkerDeploymentInfo:
        request = DescribeWorkerDeploymentRequest(namespace=self._client.namespace, deployment_name=name)
        try:
            found = await self._client.workflow_service.describe_worker_deployment(request, retry=True)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise AgentClientError(
                f"there is no deployment {name!r}: start workers of it, or set TEMPORAL_DEPLOYMENT_NAME."
            ) from None
        return found.worker_deployment_info

    async def _count(self, name: str, build: Build) -> None:
        """Count what needs a build."""
        async with self._slots:
            pinned = pinned_to([f"{name}:{build.build}"])
            everything = await self._counted([OPEN, *pinned])
            if everything:
                agents = [AGENTS, OPEN, *pinned]
                build.agents = await self._counted(agents)
                build.asleep = await self._counted([*agents, ASLEEP])
                build.open_end = await self._counted([*agents, ASLEEP, f"{WAKE_AT} IS NULL"])
                build.asleep_until = await self._last_to_wake([*agents, ASLEEP])
            build.pages = everything - build.agents
            build.closed = await self._counted([AGENTS, "CloseTime IS NOT NULL", *pinned])
        build.removable, build.reason = _can_go(build)

    async def _last_to_wake(self, sleepers: Sequence[str]) -> datetime | None:
        """When the last of these wakes. Visibility cannot sort, so ask repeatedly for longer sleeps."""
        latest: datetime | None = None
        for _ in range(ROUNDS):
            later = f"{WAKE_AT} IS NOT NULL" if latest is None else f"{WAKE_AT} > '{latest.isoformat()}'"
            rows, _ = await page_of(self._client, [*sleepers, later], SLEEPERS)
            found = [row.wake_at for row in rows if row.wake_at and (latest is None or row.wake_at > latest)]
            if not found:
                break
            latest = max(found)
        return latest

    async def _forgotten(self, name: str, known: Sequence[Build]) -> list[Build]:
        """Builds that agents are pinned to but that the server does not know any more."""
        others = pinned_to([f"{name}:{each.build}" for each in known], others=True)
        of_it = f"TemporalWorkerDeployment = {quote(name)}"
        rows = await rows_of(self._client, [AGENTS, OPEN, of_it, *others], MOST_FORGOTTEN)
        names = Counter(row.pinned_to.partition(":")[2] for row in rows)
        builds = [Build(build=each, status="forgotten") for each in names]
        await asyncio.gather(*(self._count(name, each) for each in builds))
        return builds

    async def _counted(self, conditions: Sequence[str]) -> int:
        return (await self._client.count_workflows(" AND ".join(conditions))).count


def _build_of(summary: WorkerDeploymentInfo.WorkerDeploymentVersionSummary) -> Build:
    status = WorkerDeploymentVersionStatus.Name(summary.status).rpartition("_STATUS_")[2].lower()
    return Build(
        build=name_of(summary.deployment_version).partition(":")[2],
        status="inactive" if status in ("created", "unspecified") else status,
        # Unspecified does not count as drained.
        drained=summary.drainage_info.status == VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED,
    )


def _can_go(build: Build) -> tuple[bool, str]:
    """Whether a build can be removed, and why not, or what to consider first."""
    if build.status in ("current", "ramping"):
        return False, f"new agents begin on it, it is {build.status}"
    if needed_by := build.needed_by:
        return False, needed_by
    if not build.drained and build.status != "inactive":
        return False, "the server has not said yet that it has drained"
    if build.closed:
        return True, (
            f"{counted(build.closed, 'agent')} that ended on it not archived yet: without a worker of it "
            "what they noted cannot be read (`starter.py archive run --older-than 0d`)"
        )
    return True, ""

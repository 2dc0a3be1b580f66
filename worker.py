"""Entry point: builds every client and activity object, registers them, and works until told to stop."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Imports create little garbage, and looking for it takes a sixth of their time.
    gc.disable()

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from temporalio.client import Client
from temporalio.common import (
    VersioningBehavior,
    WorkerDeploymentVersion,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.plugin import SimplePlugin
from temporalio.runtime import Runtime
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from activities.archive.agents import AgentArchiver
from activities.archive.erasure import Erasure
from activities.archive.ledger import ArchiveLedger
from activities.auditor.baseline import BaselineReader
from activities.auditor.fix.apply import FixApplier
from activities.auditor.fix.plan import FixPlanner
from activities.auditor.report.write import AuditReport
from activities.auditor.scan.analyse import versions
from activities.auditor.scan.inventory import CodeInventory
from activities.auditor.scan.result_cache import ResultCache
from activities.auditor.scan.shard import CodeScan
from activities.auditor.triage import FindingTriage
from activities.batch.listing import BatchListing
from activities.batch.pages import BatchPages
from activities.calendars import Calendars
from activities.calls.fair_slots import FairSlots, owner_from_fairness_key
from activities.calls.fork_firewall import ForkFirewall
from activities.calls.interceptor import ReliableReports
from activities.calls.owner import owner_of_caller
from activities.calls.path_limits import PathLimits
from activities.contracts.activities import Contracts
from activities.contracts.judge_process import read_and_judge
from activities.contracts.report.write import ContractReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from activities.delivery.open_questions import OpenQuestions
from activities.delivery.slack import Slack
from activities.delivery.webhooks import Webhooks
from activities.documents.documents import Documents
from activities.documents.extract import text_of
from activities.fetching.scraper import Scraper
from activities.llm.activities import ModelActivities
from activities.llm.estimate import EstimatingRunner
from activities.llm.ranking import ranker
from activities.llm.runner import ModelRunner
from activities.mail.mailbox import Mailbox
from activities.mail.sending import Mail
from activities.market.look import MarketWatch
from activities.market.report import MarketReports
from activities.preconditions import Preconditions
from activities.quotes.choose import price_feed, rehearsed_feed
from activities.quotes.quotes import Quotes
from activities.recruiting.activities import RecruitingActivities
from activities.recruiting.sending import LetterActivities
from activities.recruiting.understanding import OUTPUTS
from activities.rehearsal.interceptor import NotedStarts, Rehearsal, begin_rehearsal
from activities.rehearsal.stand_ins import agent_time
from activities.research.activities import ResearchActivities
from activities.research.publishing import Publisher
from activities.starts import StartChecks
from activities.trading.choose import broker
from activities.trading.orders import Orders
from common.agent_files import AgentFiles
from common.agents.kinds import KINDS
from common.approval.signed import sign_start
from common.approval.signing import Authority, Signer
from common.archive.anchor import ArchiveAnchor
from common.archive.histories import Histories
from common.artifacts import ArtifactStore
from common.client.builds import Builds
from common.client.live_workers import KINDS_TOLD
from common.database import check_database, database_place
from common.health import Health
from common.lifecycle import NOT_STARTED, WORKER_READY, exit_now
from common.mail import MAILROOM, MailroomRequest
from common.notices.routes import Routes
from common.object_store import open_store
from common.roots import Roots
from common.sealed_store import SealedStore
from common.settings import Settings, SettingsError
from common.telemetry.logs import open_logs
from common.telemetry.metrics import open_runtime
from common.telemetry.spans import activity_interceptors, traced
from common.temporal.connect import CannotConnectError, connect
from common.temporal.waiting_proxy import WaitingProxy
from workflows.check_kinds import DEFINED, KindError, check_kinds
from workflows.replayer import interceptors, sandbox, workflow_classes

# Room for at least two owners: one may take two thirds of the slots.
SLOTS = 24
# A worker that has not ended this long after draining is abandoned: it takes no more work, and the server
# hands out its tasks again.
END_SECONDS = 10
# How long a workflow may run without yielding; the server allows a task ten seconds.
YIELD_SECONDS = 8
# Time limit for an ended worker to look up who needs its build.
NEED_SECONDS = 5


def activity_objects(settings: Settings) -> list[Any]:
    """All activity objects with their clients."""
    authority, signer = Authority.load(settings), Signer.load(settings)
    floors = authority.floors
    objects, artifacts = SealedStore.open(settings), ArtifactStore.of(settings)
    files, reports = AgentFiles(objects), settings.data_dir / "reports"
    rehearses = settings.rehearsal is not None
    runner = (EstimatingRunner if rehearses else ModelRunner)(settings, artifacts, outputs=OUTPUTS)
    now = agent_time if rehearses else _now
    mail = Mail.build(settings, authority)
    scan = CodeScan(artifacts, objects)
    replay = database_place(settings, "quotes.db")
    feed = (
        rehearsed_feed(settings.trading, replay, now)
        if rehearses
        else price_feed(settings.trading, replay, now, settings.fetching.allowed_hosts)
    )
    trades = broker(settings.trading, database_place(settings, "paper.db"), feed, now)
    return [
        DecisionChecks(authority),
        StartChecks(signer),
        Preconditions(settings, trades.market_open),
        Notices(Routes.load(settings), signer, floors),
        OpenQuestions(),
        Webhooks.build(settings),
        mail,
        Slack.build(settings, artifacts),
        Calendars(),
        CodeInventory(artifacts, objects=objects),
        BaselineReader(artifacts),
        ResultCache(artifacts, objects),
        scan,
        FindingTriage(artifacts, ranker(runner, settings)),
        ModelActivities(runner, authority),
        Scraper.build(settings, artifacts),
        ResearchActivities(artifacts, files, settings.data_dir / "research"),
        Publisher.build(settings, artifacts, authority, published(settings)),
        RecruitingActivities(
            artifacts,
            ranker(runner, settings),
            text_of,
            files,
            settings.data_dir / "recruiting",
            links=bool(settings.http.outside_url),
        ),
        LetterActivities(artifacts, authority, mail),
        FixPlanner(artifacts, floors),
        FixApplier(artifacts, authority, objects, settings.data_dir / "journals" / "apply"),
        Documents(artifacts, text_of),
        Contracts(artifacts, settings.model, read_and_judge),
        ContractReports(artifacts, files, reports),
        Quotes(feed),
        MarketWatch(feed, artifacts),
        MarketReports(artifacts, files, reports),
        Orders(trades, authority),
        AuditReport(artifacts, files, reports, scan.clear_journals, versions),
        *(each for kind in KINDS.values() for each in kind.build_activities(settings)),
    ]


def published(settings: Settings) -> Path:
    """The local folder for reports that were given no other place."""
    return settings.data_dir / "published"


def archive_objects(client: Client, settings: Settings) -> list[Any]:
    """The activity objects of archivist and eraser, which need a Temporal client."""
    objects = open_store(settings)
    ledger = ArchiveLedger(client, objects, ArchiveAnchor(client, settings))
    return [AgentArchiver(client, objects, settings), ledger, Erasure(client, objects, settings, ledger)]


def batch_objects(client: Client, settings: Settings) -> list[Any]:
    """The activity objects of batches, which start workflows."""
    artifacts = ArtifactStore.of(settings)
    return [BatchListing(artifacts), BatchPages(client, settings, Signer.load(settings), artifacts)]


def _now() -> datetime:
    return datetime.now(UTC)


def all_activity_objects(client: Client, settings: Settings) -> list[Any]:
    """All activity objects of a worker."""
    return [
        *activity_objects(settings),
        *archive_objects(client, settings),
        *batch_objects(client, settings),
        Mailbox.build(client, settings),
    ]


def activity_methods(objects: Sequence[Any]) -> list[Any]:
    """The methods of `objects` that are activities."""
    return [
        getattr(each, name)
        for each in objects
        for name in dir(type(each))
        if hasattr(getattr(type(each), name), DEFINED)
    ]


def activity_names(objects: Sequence[Any]) -> set[str]:
    """The wire names of the activities of `objects`."""
    return {getattr(each, DEFINED).name for each in activity_methods(objects)}


def deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """This worker's build, to which its agents are pinned; None for an unversioned worker.

    Workflows that must not be pinned say so in their `@workflow.defn`.

    Raises:
        SettingsError: the deployment is named, and the build is not.
    """
    name, build = settings.deployment.name, settings.deployment.build
    if not name:
        return None
    if not build:
        raise SettingsError(
            "TEMPORAL_DEPLOYMENT_NAME is set and TEMPORAL_WORKER_BUILD_ID is not: name this worker's build."
        )
    version = WorkerDeploymentVersion(deployment_name=name, build_id=build)
    return WorkerDeploymentConfig(version, True, VersioningBehavior.PINNED)


class EndingWorker(Worker):
    """A worker that always ends, and that makes progress on a busy machine.

    The SDK's worker sometimes hangs in shutdown. It also fails a workflow task that has not yielded within
    two seconds of wall-clock time, which is half a second of work where eight processes share a core: an
    agent that receives thousands of messages at once would make no progress.
    """

    _abandoned = False

    def __init__(self, client: Client, **config: Any) -> None:
        super().__init__(client, **config)
        if self._workflow_worker:
            self._workflow_worker._deadlock_timeout_seconds = YIELD_SECONDS

    async def shutdown(self) -> None:
        """Take no more work, finish or hand over what is in progress, and end in any case."""
        if self._abandoned:
            return
        drain: timedelta = self.config()["graceful_shutdown_timeout"]
        try:
            await asyncio.wait_for(super().shutdown(), drain.total_seconds() + END_SECONDS)
        except TimeoutError:
            self._abandoned = True
            logging.getLogger(__name__).warning(
                "abandoned the worker of %s, which does not end", self.task_queue
            )


def build(
    client: Client,
    settings: Settings,
    *,
    reports: ReliableReports,
    workflows: Sequence[type] | None = None,
    objects: Sequence[Any] | None = None,
    slots: int = SLOTS,
) -> Worker:
    """Build this process's worker; tests and benches pass their own workflows and activity objects.

    `slots` limits concurrent activities; those that are not coroutines share `SLOTS` threads.
    """
    workflows = workflow_classes() if workflows is None else workflows
    limits = PathLimits(client, Roots.load(settings), published(settings))
    firewall = ForkFirewall(Histories.open(client, settings))
    return EndingWorker(
        client,
        task_queue=settings.task_queue,
        workflows=workflows,
        activities=activity_methods(all_activity_objects(client, settings) if objects is None else objects),
        activity_executor=ThreadPoolExecutor(SLOTS, thread_name_prefix="activity"),
        max_concurrent_activities=slots,
        workflow_runner=sandbox(client),
        interceptors=[
            *interceptors(),
            reports,
            FairSlots(slots, owner_from_fairness_key),
            *activity_interceptors(),
            limits,
            firewall,
            *_rehearsal(settings),
        ],
        plugins=[telling_kinds(workflows)],
        deployment_config=deployment(settings),
        max_cached_workflows=settings.cached_agents,
        # After a worker's death, its agents' next task waits this long for it before another may take it.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=settings.drain_seconds),
        plugin_shutdown_timeout=timedelta(seconds=1),
        # A heartbeat carries the cursor that people see; every few seconds is often enough to watch.
        max_heartbeat_throttle_interval=timedelta(seconds=5),
        default_heartbeat_throttle_interval=timedelta(seconds=5),
    )


def telling_kinds(workflows: Sequence[type]) -> SimplePlugin:
    """A plugin whose name lists the kinds of agents served: heartbeats report plugin names to the server."""
    kinds = (name for name, kind in KINDS.items() if kind.workflow_class() in workflows)
    return SimplePlugin(KINDS_TOLD + " ".join(kinds))


def build_fetcher(
    client: Client, settings: Settings, *, reports: ReliableReports, objects: Sequence[Any]
) -> Worker:
    """Build the worker of the fetch queue; the server spreads each host's fetches over all workers."""
    return EndingWorker(
        client,
        task_queue=settings.fetch_queue,
        activities=activity_methods([each for each in objects if isinstance(each, Scraper)]),
        max_concurrent_activities=SLOTS,
        interceptors=[
            reports,
            FairSlots(SLOTS, partial(owner_of_caller, client)),
            *activity_interceptors(),
            *_rehearsal(settings),
        ],
        deployment_config=deployment(settings),
        graceful_shutdown_timeout=timedelta(seconds=settings.drain_seconds),
        plugin_shutdown_timeout=timedelta(seconds=1),
    )


def _rehearsal(settings: Settings) -> list[Rehearsal]:
    """The interceptor that keeps a rehearsal's worker from doing anything; empty for other workers."""
    return [Rehearsal(settings.rehearsal, ArtifactStore.of(settings))] if settings.rehearsal else []


async def open_mailroom(client: Client, settings: Settings) -> None:
    """Start the mailbox's listener, one for all workers, if there is a mailbox."""
    if settings.mail.imap:
        await client.start_workflow(
            MAILROOM,
            sign_start(MAILROOM, MailroomRequest(), Signer.load(settings)),
            id=MAILROOM,
            task_queue=settings.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )


def tune_gc() -> None:
    """Exclude from garbage collection what stays for good.

    Keep the default thresholds: only the collector frees an agent evicted from the cache. With higher ones, a
    worker with 1,000 cached agents grew by 75 KB for each further agent that fell asleep.
    """
    gc.collect()
    gc.freeze()


async def work(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then finish what is in progress."""
    health = await Health.listen(settings.deployment.health)
    proxy = WaitingProxy()
    noted = [NotedStarts(settings.rehearsal)] if settings.rehearsal else []
    client = await connect(settings, interceptors=noted, proxy=proxy)
    reports = ReliableReports(client)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    objects = all_activity_objects(client, settings)
    check_kinds(activity_names(objects))
    begin_rehearsal(settings)
    workers = [make(client, settings, reports=reports, objects=objects) for make in (build, build_fetcher)]
    loop = asyncio.get_running_loop()
    end = loop.time()
    try:
        async with workers[0], workers[1]:
            await open_mailroom(client, settings)
            tune_gc()
            print(WORKER_READY, file=sys.stderr, flush=True)
            health.ready = True
            await stopped.wait()
            health.ready = False
            proxy.stop_waiting()
            end = loop.time() + settings.drain_seconds
            # Both at once: the second would otherwise take new work in the meantime.
            await asyncio.gather(*(each.shutdown() for each in workers))
    finally:
        # If the server is unreachable, give it the remaining time to come back.
        await reports.drain(max(END_SECONDS, end - loop.time()))
    if settings.deployment.build:
        await say_who_needs(client, settings)


async def say_who_needs(client: Client, settings: Settings) -> None:
    """Print what still needs this worker's build, in case it was the last worker of it."""
    builds, build = Builds(client, settings), settings.deployment.build
    try:
        async with asyncio.timeout(NEED_SECONDS):
            need = await builds.need(build)
    except (RPCError, TimeoutError):
        return
    if need.agents or need.pages:
        print(f"this worker of build {build} has ended; {need.needed_by}", file=sys.stderr, flush=True)


def options(arguments: Sequence[str]) -> dict[str, str]:
    """Parse the command line into settings by name."""
    parser = argparse.ArgumentParser(prog="worker.py", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--deployment-name", metavar="NAME", help="the deployment it belongs to; TEMPORAL_DEPLOYMENT_NAME"
    )
    parser.add_argument("--build-id", metavar="BUILD", help="the build that it is; TEMPORAL_WORKER_BUILD_ID")
    found = parser.parse_args(arguments)
    given = {"TEMPORAL_DEPLOYMENT_NAME": found.deployment_name, "TEMPORAL_WORKER_BUILD_ID": found.build_id}
    return {name: value for name, value in given.items() if value is not None}


def main() -> int:
    """Run the worker and return its exit code."""
    gc.freeze()
    gc.enable()
    try:
        settings = Settings.at_start({**os.environ, **options(sys.argv[1:])})
        open_logs(settings)
        check_database(settings)
        Runtime.set_default(open_runtime(settings), error_if_already_set=False)
        # The proxy copies all traffic in the event loop; uvloop halves that cost.
        with traced(settings, "worker"):
            uvloop.run(work(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except KindError as error:
        print(f"{NOT_STARTED}{error}", file=sys.stderr)
        return 2
    except CannotConnectError as error:
        print(error, file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    exit_now(main())

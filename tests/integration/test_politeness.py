"""The fetcher's manners over many workers and a real server; the hosts' access logs are the witness."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

import worker
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from activities.fetching.scraper import Scraper
from cli.dev_server import NAMESPACE, DevServer
from cli.rates import set_fetch_rate
from common.allowed_hosts import AllowedHosts
from common.approval.floors import write_alone
from common.approval.signing import Authority
from common.artifacts import ArtifactStore
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.readers import ReaderAgent
from tests.support.agents.readings import Reading, ReadingInput
from tests.support.web import Route, WebServer
from workflows.core.calls import FETCH


def page(name: str) -> Route:
    return Route(f"<title>{name}</title><p>The text of {name}.")


@contextlib.asynccontextmanager
async def fetching(settings: Settings, count: int) -> AsyncIterator[None]:
    """So many workers for fetches, each with a connection and clients of its own, on one data folder."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            client = await connect(settings)
            scraper = Scraper.build(settings, ArtifactStore.of(settings))
            await stack.enter_async_context(
                Worker(
                    client,
                    task_queue=settings.fetch_queue,
                    activities=worker.activity_methods([scraper]),
                    interceptors=[ReliableReports(client)],
                )
            )
        yield


@contextlib.asynccontextmanager
async def agents(client: Client, settings: Settings) -> AsyncIterator[None]:
    write_alone(settings)
    authority = Authority.load(settings, create=True)
    objects = [DecisionChecks(authority), Notices()]
    async with worker.build(
        client, settings, reports=ReliableReports(client), workflows=[ReaderAgent], objects=objects
    ):
        yield


async def start(
    client: Client, settings: Settings, input: ReadingInput
) -> WorkflowHandle[ReaderAgent, Reading]:
    id = f"reader-{uuid.uuid4().hex[:8]}"
    return await client.start_workflow(ReaderAgent.run, input, id=id, task_queue=settings.task_queue)


async def has_failed(handle: WorkflowHandle[ReaderAgent, Reading]) -> bool:
    """Whether Temporal has heard of a failed attempt of the call that is open."""
    pending = (await handle.describe()).raw_description.pending_activities
    return bool(pending) and pending[0].HasField("last_failure")


def allowing(settings: Settings, *sites: WebServer) -> Settings:
    hosts = AllowedHosts.parse(",".join(site.host for site in sites))
    return settings.but(fetching=settings.fetching.but(allowed_hosts=hosts))


async def test_no_host_sees_more_than_its_rate_and_hosts_do_not_wait_for_each_other(
    settings: Settings,
) -> None:
    """Eight workers, three hosts at one request a second each, two agents: never over 10 within any 10 s."""
    with contextlib.ExitStack() as stack:
        sites = [
            stack.enter_context(
                WebServer({f"/{n}": page(f"{host}/{n}") for n in range(14)}, f"127.0.0.{host}")
            )
            for host in (2, 3, 4)
        ]
        settings = allowing(settings, *sites)
        client = await connect(settings)
        await set_fetch_rate(client.workflow_service, NAMESPACE, settings)
        async with agents(client, settings), fetching(settings, 8):
            handles = [
                await start(
                    client, settings, ReadingInput(urls=[s.url(f"/{n}") for n in half for s in sites])
                )
                for half in (range(7), range(7, 14))
            ]
            titles = [title for handle in handles for title in (await handle.result()).titles]
        assert sorted(titles) == sorted(f"{host}/{n}" for host in (2, 3, 4) for n in range(14))
        for site in sites:
            times = [hit.at for hit in site.log]
            gaps = [after - before for before, after in itertools.pairwise(times)]
            took = times[-1] - times[0]
            print(f"{site.host}: {len(times)} requests in {took:.1f} s, least gap {min(gaps):.3f} s")
            assert sorted(site.paths()) == sorted(["/robots.txt", *(f"/{n}" for n in range(14))]), "each once"
            assert site.most_within(10) <= 10
            assert took > 10, "long enough to tell"
        first, last = (max(s.log[0].at for s in sites), min(s.log[-1].at for s in sites))
        during = [sum(first <= hit.at <= last for hit in site.log) for site in sites]
        # One host after the other would have none or one of its requests among those of the last.
        assert min(during) >= 5, f"side by side: {during} requests while all three were at it"


async def test_a_wait_that_a_host_asked_for_outlives_all_workers(settings: Settings) -> None:
    """429 with Retry-After, then no worker at all: the next one goes on at that page, and no sooner."""
    with WebServer({f"/{n}": page(str(n)) for n in range(4)}, "127.0.0.2") as site:
        site.routes["/2"] = Route(status=429, headers={"Retry-After": "6"}, times=1, then=page("2"))
        settings = allowing(settings, site)
        settings = settings.but(fetching=settings.fetching.but(rate=20.0))
        client = await connect(settings)
        async with agents(client, settings):
            async with fetching(settings, 2):
                input = ReadingInput(urls=[site.url(f"/{n}") for n in range(4)], side_by_side=False)
                handle = await start(client, settings, input)
                await eventually(lambda: site.hits("/2"))
                # The refusal is in Temporal's hands before the workers go.
                async with asyncio.timeout(120):
                    while not await has_failed(handle):
                        await asyncio.sleep(0.05)
            assert site.paths() == ["/robots.txt", "/0", "/1", "/2"]
            async with fetching(settings, 2):
                assert (await handle.result()).titles == ["0", "1", "2", "3"]
        assert site.paths() == ["/robots.txt", "/0", "/1", "/2", "/2", "/3"]
        refused, served = site.hits("/2")
        assert served.at - refused.at >= 6


async def test_the_rate_is_kept_by_the_server_through_its_death(tmp_path: Path) -> None:
    """Set once, it is there after a kill; fetches have a queue of their own."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_FETCH_RATE": "0.5"})
    assert settings.task_queue + FETCH.queue == settings.fetch_queue
    async with DevServer(settings, ui_port=None, scratch=True) as server:
        client = await Client.connect(server.address)
        await set_fetch_rate(client.workflow_service, NAMESPACE, settings)
        server.kill()
        await server.start()
        described = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=NAMESPACE,
                task_queue=TaskQueue(name=settings.fetch_queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
                report_config=True,
            ),
            retry=True,
        )
    kept = described.config.fairness_keys_rate_limit_default.rate_limit.requests_per_second
    assert kept == pytest.approx(0.5)

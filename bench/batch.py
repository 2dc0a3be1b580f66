"""What a batch costs: for each item of a trivial activity, and for each agent that sleeps as an item.

Each part has its own dev server and worker process. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from bench.harness import end_with, measured, started_worker
from bench.histories import kept_of_batch, size_of
from bench.peers.batch_worker import SLEEPER
from bench.peers.batching_types import BatchedInput
from bench.usage import cpu, peak_memory
from cli.children import end_child
from cli.dev_server import DevServer
from common.agents.agent import AgentStatus
from common.agents.batch import BatchItem, BatchStatus, as_lines
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.artifacts import ArtifactStore
from common.settings import Settings
from common.temporal.connect import connect
from common.temporal.search_attributes import OWNER

ROOT = Path(__file__).parents[1]
ID = "batch-bench"
# If memory is flat, ten times the items may raise its peak by this factor at most.
MEMORY_RATIO = 1.2


class Bench:
    """One batch on its own server, in `folder`."""

    def __init__(self, folder: Path, at_once: int) -> None:
        self.settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
        self._folder, self._at_once = folder, at_once
        write_alone(self.settings)
        Signer.load(self.settings, create=True)
        self._artifacts = ArtifactStore.of(self.settings)
        self._server = DevServer(self.settings, ui_port=None)

    async def items(self, count: int) -> dict[str, Any]:
        """Run `count` items of an activity that does nothing."""
        await self._server.start()
        worker = await self._worker()
        client = await self._client()
        agent = client.get_workflow_handle(ID)
        used, before = cpu(worker.pid), perf_counter()
        async with peak_memory(worker.pid) as peak:
            await self._start(client, count, "")
            await agent.result()
        seconds, used = perf_counter() - before, cpu(worker.pid) - used
        kept = await kept_of_batch(client, ID)
        await end_child(worker, 30)
        await self._server.stop()
        return {
            "items": count,
            "at_once": self._at_once,
            "items_a_minute": round(count / seconds * 60),
            "events_an_item": round(kept.events / count, 2),
            "bytes_an_item": round(kept.bytes / count),
            "longest_page_events": kept.longest_page,
            "pages": kept.pages,
            "agent_runs": kept.runs,
            "worker_cpu_ms_an_item": round(used / count * 1000, 2),
            "worker_mb_most": peak.megabytes,
        }

    async def children(self, count: int) -> dict[str, Any]:
        """Run `count` sleeping agents as items; their cost asleep, compared with an empty server."""
        await self._server.start()
        await end_child(await self._worker(), 30)
        await self._server.stop()
        empty = self._database()
        await self._server.start()
        worker = await self._worker()
        client = await self._client()
        idle, used, before = psutil.Process(worker.pid).memory_info().rss, cpu(worker.pid), perf_counter()
        await self._start(client, count, SLEEPER.name)
        agent = client.get_workflow_handle(ID)
        await self._until(agent, lambda batch: batch.in_flight == count)
        await self._all_sleep(client, count)
        seconds, used = perf_counter() - before, cpu(worker.pid) - used
        asleep = psutil.Process(worker.pid).memory_info().rss
        await end_child(worker, 30)
        await self._server.stop()
        database = self._database() - empty
        await self._server.start()
        client = await self._client()
        child_events, child_bytes = await size_of(client.get_workflow_handle(f"{ID}.0"))
        await self._server.stop()
        return {
            "children": count,
            "seconds_until_asleep": round(seconds, 1),
            "processes_asleep": 0 if worker.returncode is not None else 1,
            "worker_cpu_ms_each": round(used / count * 1000, 1),
            "worker_kb_each_cached": round((asleep - idle) / count / 1000, 1),
            "database_bytes_each": round(database / count),
            "events_each": child_events,
            "bytes_each": child_bytes,
        }

    async def _start(self, client: Client, count: int, kind: str) -> None:
        items = (BatchItem(key=str(number), argument={"number": number}) for number in range(count))
        ref = self._artifacts.put(as_lines(items), ID)
        at_once = count if kind else self._at_once
        await client.start_workflow(
            "bench-batch",
            BatchedInput(items=ref, at_once=at_once, kind=kind),
            id=ID,
            task_queue=self.settings.task_queue,
            search_attributes=TypedSearchAttributes([SearchAttributePair(OWNER, "owner-1")]),
        )

    async def _until(self, agent: WorkflowHandle[Any, Any], is_so: Callable[[BatchStatus], bool]) -> None:
        while True:
            status: AgentStatus = await agent.query("status", result_type=AgentStatus)
            if status.batch is not None and is_so(status.batch):
                return
            await asyncio.sleep(0.5)

    async def _all_sleep(self, client: Client, count: int) -> None:
        while True:
            if (await client.count_workflows("AgentState = 'sleeping'")).count >= count:
                return
            await asyncio.sleep(0.5)

    async def _worker(self) -> Process:
        environment = {
            "TEMPORAL_ADDRESS": self._server.address,
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "HIBERNAUT_DATA_DIR": str(self._folder),
        }
        log = self._folder / "logs" / f"worker-{perf_counter()}.log"
        return await started_worker([sys.executable, "-m", "bench.peers.batch_worker"], environment, log)

    async def _client(self) -> Client:
        os.environ.update(TEMPORAL_ADDRESS=self._server.address, TEMPORAL_CONFIG_FILE=os.devnull)
        return await connect(self.settings)

    def _database(self) -> int:
        """Size of the ended server's database, without free pages and journal."""
        copy = self._folder / "copy.db"
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._folder / "temporal.db")) as database:
            database.execute("VACUUM INTO ?", (str(copy),))
        return copy.stat().st_size


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run a tenth of the items and then all of them; or sleeping agents."""
    async with asyncio.timeout(options.limit):
        if options.children:
            return await Bench(folder, options.at_once).children(options.children)
        few = await Bench(folder / "few", options.at_once).items(options.items // 10)
        many = await Bench(folder / "many", options.at_once).items(options.items)
        ratio = many["worker_mb_most"] / few["worker_mb_most"]
        return {"few": few, "many": many, "memory_ratio": round(ratio, 3)}


def main() -> int:
    """Parse the options, run, print the report; the exit code is 1 if memory grows with the items."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=10_000, help="items; a tenth of it before")
    parser.add_argument("--at-once", type=int, default=20, help="how many at once")
    parser.add_argument("--children", type=int, default=0, help="measure so many sleeping agents instead")
    parser.add_argument("--limit", type=float, default=3600, help="give up after so many seconds")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    if options.items < 10 or not 1 <= options.at_once <= 1000 or not 0 <= options.children <= 1000:
        parser.error("give 10 or more items, 1 to 1000 at once, and up to 1000 children")
    report = measured(lambda folder: bench(options, folder), options.limit)
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if report.get("memory_ratio", 0) < MEMORY_RATIO else 1


if __name__ == "__main__":
    end_with(main)

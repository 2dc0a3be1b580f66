"""How long `starter.py inbox` takes, as a whole process, where many agents wait for an approval.

Real buyers on a real server ask; then the table, the JSON and one person's list are printed several
times each. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from activities.trading.paper_faults import Faults
from bench.harness import ROOT, end_with, measured
from bench.peers.buyers import SharedMarket, fleet_of
from bench.peers.market import ALL
from bench.peers.side import throttled
from cli.dev_server import DevServer
from common.agents.buyer import BuyerInput
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect

WHO = "ann"
NAME = "inbox-"
# The server keeps working for a while after the last agent has asked.
SETTLE_SECONDS = 5.0


async def ask(agents: AgentClient, count: int) -> None:
    """Start the agents and wait until all of them ask."""
    input = BuyerInput(symbol="AAA", quantity=Decimal(1), limit=Decimal(11), approvers=[WHO, "bob"])

    async def start(id: str) -> None:
        await agents.start("buyer", input, id=id, owner="owner-1")

    await throttled([f"{NAME}{number:05}" for number in range(count)], start)
    asking = 0
    while asking < count:
        await asyncio.sleep(0.5)
        asking = len(await agents.inbox())
    await asyncio.sleep(SETTLE_SECONDS)


async def timed(
    environment: dict[str, str], runs: int, listed: Callable[[str], int], *words: str
) -> tuple[int, dict[str, float]]:
    """The fewest agents a run of `inbox` listed, and the median and maximum of its seconds and median CPU."""
    counts, seconds, cpu = [], [], []
    for _ in range(runs):
        before, cpu_before = perf_counter(), cpu_of_children()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "starter.py"), "inbox", *words),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        seconds.append(perf_counter() - before)
        cpu.append(cpu_of_children() - cpu_before)
        if process.returncode:
            raise RuntimeError(f"inbox ended with {process.returncode}: {err.decode()}")
        counts.append(listed(out.decode()))
    figures = {"median": statistics.median(seconds), "max": max(seconds), "cpu": statistics.median(cpu)}
    return min(counts), {name: round(value, 3) for name, value in figures.items()}


def cpu_of_children() -> float:
    """CPU seconds of all children that have ended; worker and server are still running."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_table(out: str) -> int:
    """How many agents a table lists."""
    return len({word for line in out.splitlines() for word in line.split()[:1] if word.startswith(NAME)})


def in_json(out: str) -> int:
    """How many agents a JSON document lists."""
    return len({row["id"] for row in json.loads(out)})


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`, within the time limit."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
    write_alone(settings)
    signer = Signer.load(settings, create=True)
    market = SharedMarket(folder / "market", Faults())
    market.folder.mkdir()
    market.board.write({ALL: Decimal(10)})
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with asyncio.timeout(options.limit), DevServer(settings, ui_port=None) as server:
        # Use the bench's own server; ignore any address from the shell or a config file.
        os.environ.update(TEMPORAL_ADDRESS=server.address, TEMPORAL_CONFIG_FILE=os.devnull)
        fleet = fleet_of(market, settings, server.address, 1)
        keeping = asyncio.create_task(fleet.keep_up())
        try:
            unlimited = settings.but(working_agents=None)
            await ask(AgentClient(await connect(settings), unlimited, signer), options.agents)
            load = os.getloadavg()[0]
            environment = {**os.environ, "HIBERNAUT_DATA_DIR": str(folder)}
            table, table_seconds = await timed(environment, options.runs, in_table)
            document, json_seconds = await timed(environment, options.runs, in_json, "--json")
            for_one, for_seconds = await timed(environment, options.runs, in_table, "--for", WHO)
        finally:
            keeping.cancel()
            await fleet.end()
    return {
        "agents": options.agents,
        "listed": min(table, document, for_one),
        "table_seconds": table_seconds,
        "json_seconds": json_seconds,
        "for_seconds": for_seconds,
        "runs": options.runs,
        # On a loaded machine, wall-clock seconds include queueing; CPU is the command's own.
        "load": round(load, 2),
    }


def main() -> int:
    """Parse the options, run, print the report; the exit code is 1 if agents are missing or it was slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=1000, help="agents with an open request")
    parser.add_argument("--runs", type=int, default=7, help="runs of each command")
    parser.add_argument("--within", type=float, default=None, help="seconds that no run may take longer than")
    parser.add_argument("--limit", type=float, default=1800, help="give up after so many seconds")
    options = parser.parse_args()
    if options.agents < 1 or options.runs < 1:
        parser.error("give 1 or more agents, and 1 or more runs")
    report = measured(lambda folder: bench(options, folder), options.limit)
    print(json.dumps(report))
    slowest = max(report[name]["max"] for name in ("table_seconds", "json_seconds", "for_seconds"))
    in_time = options.within is None or slowest <= options.within
    return 0 if report["listed"] == options.agents and in_time else 1


if __name__ == "__main__":
    end_with(main)

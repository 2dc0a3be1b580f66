"""What the kit costs: the same agent on the kit and bare on the SDK, side by side on one dev server.

The sides take turns in blocks, in alternating order, so that the drift of the machine and the growth of
the database fall on both alike. Each side has a worker process of its own; only one side works at a time,
and what the server and its worker spend meanwhile is that side's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.peers.figures import Figures, Spent, ratios, table
from bench.peers.side import BareSide, KitSide, Side, throttled
from bench.usage import cpu
from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.connect import connect

BLOCKS = 4
WARM_SAMPLE = 100
COLD_SAMPLE = 30
HISTORY_SAMPLE = 20
# What the server does after the fact (visibility, timers, task deletion) is waited for, and counted.
SETTLE_SECONDS = 0.5
# After so long without a poll the server takes a worker for gone.
GIVEN_UP_SECONDS = 11.0


class Bench:
    """One run: both sides on one server."""

    def __init__(self, options: argparse.Namespace, server: DevServer, database: Path) -> None:
        self._options = options
        self._server = server
        self._database = database
        self._figures: dict[str, Figures] = {}
        self._server_memory = 0

    async def run(self, sides: Sequence[Side]) -> dict[str, Any]:
        """Start all agents, let all sleep, wake them; the report."""
        options = self._options
        self._figures = {side.name: Figures() for side in sides}
        cold = min(COLD_SAMPLE, options.agents // 4) if options.cold else 0
        for side in sides:
            await self._warm_up(side)
        for number, count in enumerate(shares(options.agents)):
            for side in in_turn(sides, number):
                await self._start(side, count)
        self._server_memory = psutil.Process(self._server.pid).memory_info().rss
        for side in sides:
            self._figures[side.name].worker_memory = psutil.Process(side.pid).memory_info().rss
        one_by_one = shares(min(WARM_SAMPLE, (options.agents - cold + 1) // 2))
        for number, count in enumerate(shares(options.agents - cold)):
            for side in in_turn(sides, number):
                await self._wake(side, count, one_by_one[number] if number < len(one_by_one) else 0)
        for side in sides:
            await self._weigh(side)
            if cold:
                await self._wake_cold(side)
        kit, bare = (self._figures[side.name].summary() for side in sides)
        return {
            "agents": options.agents,
            "steps": options.steps,
            "local": options.local,
            "kit": kit,
            "bare": bare,
            "server_mb_asleep": round(self._server_memory / 1e6, 1),
            "ratios": ratios(kit, bare),
        }

    async def _warm_up(self, side: Side) -> None:
        """The first agents of a process meet imports and empty caches; they are not counted."""
        for id in await side.start_agents(2, 1, self._options.local):
            await side.wake(id)

    async def _start(self, side: Side, count: int) -> None:
        figures = self._figures[side.name]
        async with self._metered(side, figures.starting, count):
            before = perf_counter()
            figures.asleep += await side.start_agents(count, self._options.steps, self._options.local)
            figures.starting.seconds += perf_counter() - before

    async def _wake(self, side: Side, count: int, one_by_one: int) -> None:
        figures = self._figures[side.name]
        block, figures.asleep = figures.asleep[:count], figures.asleep[count:]
        async with self._metered(side, figures.waking, count):
            for id in block[:one_by_one]:
                figures.warm.append(await side.wake(id))
            await throttled(block[one_by_one:], side.wake)
        figures.closed += block

    async def _wake_cold(self, side: Side) -> None:
        """The worker dies and another replays each agent from its history. Its CPU is not counted."""
        figures = self._figures[side.name]
        # The server holds tasks for a worker that polled a moment ago, so that is how both are when they die:
        # the first wake-up waits for the dead, the others come when the server has given it up.
        await side.start_agents(1, 1, self._options.local)
        await side.kill_worker()
        await side.start_worker()
        figures.cold.append(await side.wake(figures.asleep[0]))
        await asyncio.sleep(GIVEN_UP_SECONDS)
        figures.cold += [await side.wake(id) for id in figures.asleep[1:]]

    async def _weigh(self, side: Side) -> None:
        figures = self._figures[side.name]
        histories = [await side.history(id) for id in figures.closed[:HISTORY_SAMPLE]]
        figures.events = sum(map(len, histories)) / len(histories)
        figures.history = sum(map(sum, histories)) / len(histories)

    @asynccontextmanager
    async def _metered(self, side: Side, spent: Spent, agents: int) -> AsyncIterator[None]:
        """Charge what server and worker spend inside to the side."""
        before = cpu(self._server.pid), cpu(side.pid), used_bytes(self._database)
        yield
        await asyncio.sleep(SETTLE_SECONDS)
        spent.agents += agents
        spent.server_cpu += cpu(self._server.pid) - before[0]
        spent.worker_cpu += cpu(side.pid) - before[1]
        spent.database += used_bytes(self._database) - before[2]


def shares(count: int) -> list[int]:
    """`count` in up to `BLOCKS` parts of nearly the same size, none of them empty."""
    parts = max(1, min(BLOCKS, count))
    return [count // parts + (number < count % parts) for number in range(parts)]


def in_turn(sides: Sequence[Side], number: int) -> Sequence[Side]:
    """The sides in the order of block `number`: each second block the other way round."""
    return sides if number % 2 == 0 else sides[::-1]


def used_bytes(database: Path) -> int:
    """Pages in use, the write-ahead log included; free pages are no growth, and the file alone lags."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        (pages,), (free,), (size,) = (
            connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`, bounded in time."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
    database = folder / "temporal.db"
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with asyncio.timeout(options.limit), DevServer(settings, ui_port=None, database=database) as server:
        # The bench's own server is the one meant, whatever the shell or a configuration file says.
        os.environ.update(TEMPORAL_ADDRESS=server.address, TEMPORAL_CONFIG_FILE=os.devnull)
        client = await connect(settings)
        sides = [side(client, settings, server.address) for side in (KitSide, BareSide)]
        try:
            for side in sides:
                await side.start_worker()
            return await Bench(options, server, database).run(sides)
        finally:
            await asyncio.gather(*(side.end_worker() for side in sides))


def main() -> int:
    """Parse the options, run, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=200, help="agents of each side")
    parser.add_argument("--steps", type=int, default=3, help="activities before the approval")
    parser.add_argument("--local", action="store_true", help="steps are local activities, on both sides")
    parser.add_argument("--cold", action="store_true", help="wake some after the worker died, too")
    parser.add_argument("--limit", type=float, default=7200, help="give up after so many seconds")
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    options = parser.parse_args()
    if options.agents < 1 or options.steps < 1:
        parser.error("give 1 or more agents, and 1 or more steps")
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as folder:
        try:
            report = asyncio.run(bench(options, Path(folder)))
        except TimeoutError:
            print(f"not done within {options.limit:g} s", file=sys.stderr)
            return 1
        except asyncio.CancelledError:
            return 130
    print(json.dumps(report) if options.json else table(report))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # The SDK's threads can crash an interpreter that is shutting down.
    os._exit(code)

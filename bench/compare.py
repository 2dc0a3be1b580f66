"""The same agent on the kit, on the bare SDK of Temporal, on LangGraph and on DBOS, side by side.

An agent takes steps of 2 KB, is approved, fetches a fact again, and acts. Each side has its own servers and
worker. The sides take turns in blocks, in alternating order, so that drift of the machine affects all alike;
what servers and worker use during a side's turn is charged to that side. A side that lacks what it needs is
left out. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.harness import add_common_options, bounded, end_with, measured
from bench.peers.contenders import NAMES, CannotTakePartError, Contender, contender
from bench.peers.figures import BASE, Life, Spent, ratios, table
from bench.peers.kills import Kills
from bench.peers.side import TemporalSide, throttled
from bench.usage import cpu_of_all, memory_of_all

BLOCKS = 4
WARM_SAMPLE = 100
COLD_SAMPLE = 30
HISTORY_SAMPLE = 5
# Wait for what the servers do afterwards (visibility, timers, task deletion), and count it.
SETTLE_SECONDS = 0.5
# Temporal's server considers a worker gone after this long without a poll.
GIVEN_UP_SECONDS = 11.0
# Sides whose workers are killed at the same time: what is counted is no time, and much of it is waiting.
KILLED_AT_ONCE = 2


class Comparison:
    """One run, with all contenders."""

    def __init__(self, options: argparse.Namespace, contenders: Sequence[Contender], folder: Path) -> None:
        self._options = options
        self._all = contenders
        self._folder = folder
        self._asleep: dict[str, list[str]] = {each.name: [] for each in contenders}

    async def run(self) -> dict[str, Any]:
        """Start all agents, let all sleep, wake them, kill workers; return the figures by name."""
        options = self._options
        for each in self._all:
            await each.side.start_worker()
            await self._warm_up(each)
            each.figures.server_memory_before = memory_of_all(each.servers())
        for each, count in self._in_turn(shares(options.agents)):
            self._asleep[each.name] += await self._start(each, each.figures.life, count, options.steps)
        for each in self._all:
            each.figures.worker_memory = memory_of_all([each.side.pid])
            each.figures.server_memory = memory_of_all(each.servers())
        self._tell("all asleep")
        singly = min(WARM_SAMPLE, options.agents // 3)
        for each, count in self._in_turn(shares(singly)):
            # Of thousands, a worker has only the newest in memory.
            ids = self._taken(each, count, newest=True)
            async with self._metered(each, each.figures.life.waking, count):
                each.figures.warm += [await each.side.wake(id) for id in ids]
            await self._weigh(each, each.figures.life, ids)
        self._tell("woken one by one")
        if options.deaths:
            for each in self._all:
                await self._wake_after_deaths(each)
            await asyncio.sleep(GIVEN_UP_SECONDS)
            for each in self._all:
                count = min(COLD_SAMPLE, len(self._asleep[each.name]) // 2)
                each.figures.cold = [await each.side.wake(id) for id in self._taken(each, count)]
            self._tell("woken after the worker's death")
        together = min(options.together, len(self._asleep[self._all[0].name]))
        for each, count in self._in_turn(shares(together)):
            await self._wake_at_once(each, count)
        self._tell("woken at once")
        for steps in options.longer:
            for each, count in self._in_turn(shares(options.few)):
                life = each.figures.longer.setdefault(steps, Life())
                ids = await self._start(each, life, count, steps)
                async with self._metered(each, life.waking, count):
                    await throttled(ids, each.side.wake)
                await self._weigh(each, life, ids)
            self._tell(f"{steps} steps")
        if options.kills:
            at_once = asyncio.Semaphore(KILLED_AT_ONCE)
            async with asyncio.TaskGroup() as group:
                for each in self._all:
                    group.create_task(self._kill_workers(each, at_once))
        return {each.name: each.figures.summary(options.steps) for each in self._all}

    def _in_turn(self, blocks: Sequence[int]) -> Sequence[tuple[Contender, int]]:
        """All contenders for each block, in reverse order every second time."""
        return [
            (each, count)
            for number, count in enumerate(blocks)
            for each in (self._all if number % 2 == 0 else self._all[::-1])
        ]

    def _taken(self, each: Contender, count: int, *, newest: bool = False) -> list[str]:
        """Take `count` sleeping agents, the oldest unless said; the caller wakes them."""
        asleep = self._asleep[each.name]
        taken = slice(len(asleep) - count, None) if newest else slice(count)
        ids, asleep[taken] = asleep[taken], []
        return ids

    async def _warm_up(self, each: Contender) -> None:
        """Run a few uncounted agents: a process's first ones pay for imports and cold caches."""
        for id in await each.side.start_agents(2, 1):
            await each.side.wake(id)

    async def _start(self, each: Contender, life: Life, count: int, steps: int) -> list[str]:
        async with self._metered(each, life.starting, count):
            before = perf_counter()
            ids = await each.side.start_agents(count, steps)
            life.starting.seconds += perf_counter() - before
        return ids

    async def _wake_at_once(self, each: Contender, count: int) -> None:
        bulk, ids = each.figures.bulk, self._taken(each, count)
        before = perf_counter()
        await throttled(ids, each.side.wake)
        bulk.agents += count
        bulk.seconds += perf_counter() - before

    async def _wake_after_deaths(self, each: Contender) -> None:
        """Kill the worker, start another with a cold cache, and time a wake-up."""
        for _ in range(self._options.deaths):
            # Temporal's server keeps tasks for a worker that has just polled, so make it poll before it dies.
            await each.side.start_agents(1, 1)
            await each.side.kill_worker()
            [id] = self._taken(each, 1)
            before = perf_counter()
            await each.side.start_worker()
            await each.side.wake(id)
            each.figures.after_kill.append((perf_counter() - before) * 1000)

    async def _kill_workers(self, each: Contender, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            chance = random.Random(self._options.seed)  # noqa: S311 - it has to repeat
            each.figures.kills = await Kills(each, self._folder, chance).run(self._options.kills)
        self._tell(f"{each.name}: {each.figures.kills}")

    async def _weigh(self, each: Contender, life: Life, ids: Sequence[str]) -> None:
        if isinstance(each.side, TemporalSide):
            life.history += [sum(await each.side.history(id)) for id in ids[:HISTORY_SAMPLE]]

    @asynccontextmanager
    async def _metered(self, each: Contender, spent: Spent, agents: int) -> AsyncIterator[None]:
        """Charge the side for what servers and worker use inside."""
        before = self._used(each)
        yield
        await asyncio.sleep(SETTLE_SECONDS)
        server, worker, database = (now - then for now, then in zip(self._used(each), before, strict=True))
        spent.agents += agents
        spent.server_cpu += server
        spent.worker_cpu += worker
        spent.database += round(database)

    def _used(self, each: Contender) -> tuple[float, float, float]:
        return cpu_of_all(each.servers()), cpu_of_all([each.side.pid]), each.used()

    def _tell(self, text: str) -> None:
        if not self._options.json:
            print(text, file=sys.stderr, flush=True)


def shares(count: int) -> list[int]:
    """Split `count` into up to `BLOCKS` nearly equal parts, none of them empty."""
    parts = max(1, min(BLOCKS, count))
    return [count // parts + (number < count % parts) for number in range(parts)]


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`, within the time limit."""
    left_out: dict[str, str] = {}
    async with bounded(options.limit), AsyncExitStack() as stack:
        contenders = []
        for name in options.sides:
            try:
                contenders.append(await stack.enter_async_context(contender(name, folder / name)))
            except CannotTakePartError as error:
                left_out[name] = str(error)
        if not contenders:
            raise SystemExit(f"nobody can take part: {left_out}")
        sides = await Comparison(options, contenders, folder).run()
    return {
        "agents": options.agents,
        "steps": options.steps,
        "few": options.few,
        "seed": options.seed,
        "sides": sides,
        "ratios": {
            name: ratios(side, sides[BASE], options.steps)
            for name, side in sides.items()
            if BASE in sides and name != BASE
        },
        "left_out": left_out,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the given options, or else the process's; run, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sides", nargs="+", choices=NAMES, default=NAMES, help="who takes part")
    parser.add_argument("--agents", type=int, default=1000, help="agents of each side that sleep at once")
    parser.add_argument("--steps", type=int, default=3, help="steps of each before the approval")
    parser.add_argument("--together", type=int, default=2000, help="how many at most are woken at once")
    parser.add_argument("--longer", type=int, nargs="*", default=[50, 200], help="more numbers of steps")
    parser.add_argument("--few", type=int, default=20, help="agents of each side with so many steps")
    parser.add_argument("--deaths", type=int, default=3, help="workers of each side that die over sleepers")
    parser.add_argument("--kills", type=int, default=0, help="workers of each side to kill at random moments")
    add_common_options(parser, limit=14400)
    options = parser.parse_args(arguments)
    if options.agents < 1 or options.steps < 1 or options.few < 1:
        parser.error("give 1 or more agents, and 1 or more steps")

    async def reachable(folder: Path) -> dict[str, Any]:
        # PostgreSQL runs as another user if this is root.
        await asyncio.to_thread(folder.chmod, 0o711)
        return await bench(options, folder)

    report = measured(reachable, options.limit, f", seed {options.seed}")
    if not options.json:
        print(table(report))
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    end_with(main)

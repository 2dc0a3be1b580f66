"""How soon an agent wakes whose worker was just killed, with few agents asleep and with many.

Each time, agents fall asleep in the memory of one worker. That worker is killed, and one of them is approved
at once: either a standby worker takes over, or there is none and a new one is started then. Measured is the
time from before the signal to the agent's result. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.harness import end_with, measured, own_server
from bench.peers.figures import percentiles
from bench.peers.side import KitSide
from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.connect import connect

FIRST_WITHIN_MS = 2000
STEPS = 3
FEW = 20
# Agents to start at a time.
BLOCK = 100


class Wake:
    """One run on one server."""

    def __init__(self, options: argparse.Namespace, sides: tuple[KitSide, KitSide]) -> None:
        self._options = options
        self._at_work, self._spare = sides

    async def run(self) -> dict[str, Any]:
        """Measure with few asleep, then with many; return the report."""
        await self._at_work.start_worker()
        report: dict[str, Any] = {"kills": 0}
        asleep = 0
        for wanted in sorted({min(FEW, self._options.asleep), self._options.asleep}):
            while asleep < wanted:
                block = min(BLOCK, wanted - asleep)
                await self._at_work.start_agents(block, STEPS, False)
                asleep += block
            self._tell(f"{asleep} asleep")
            for name, stands_by in (("taken_over_ms", True), ("restarted_ms", False)):
                first = [await self._first(stands_by) for _ in range(self._options.kills)]
                report["kills"] += len(first)
                report.setdefault(name, {})[str(asleep)] = percentiles(first)
                self._tell(f"{name}: {', '.join(f'{each:.0f}' for each in first)}")
        return {"asleep": asleep, **report}

    async def _first(self, stands_by: bool) -> float:
        """Milliseconds of the first wake-up after a kill; the other worker is at work afterwards."""
        [agent] = await self._at_work.start_agents(1, STEPS, False)
        if stands_by:
            await self._spare.start_worker()
        if self._options.kill:
            await self._at_work.kill_worker()
        else:
            await self._at_work.end_worker()
        self._at_work, self._spare = self._spare, self._at_work
        woken = asyncio.create_task(self._at_work.wake(agent))
        if not stands_by:
            await self._at_work.start_worker()
        return await woken

    def _tell(self, text: str) -> None:
        if not self._options.json:
            print(text, file=sys.stderr, flush=True)


def holds(report: dict[str, Any]) -> bool:
    """Whether the run succeeded; how long a process takes to start is only reported."""
    return all(figures["p99"] < FIRST_WITHIN_MS for figures in report["taken_over_ms"].values())


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`, within the time limit."""
    async with own_server(folder, options.limit) as (server, settings):
        sides = await _sides(server, settings)
        try:
            return await Wake(options, sides).run()
        finally:
            await asyncio.gather(*(side.end_worker() for side in sides))


async def _sides(server: DevServer, settings: Settings) -> tuple[KitSide, KitSide]:
    client = await connect(settings)
    return KitSide(client, settings, server.address), KitSide(client, settings, server.address)


def main() -> int:
    """Parse the options, run, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kill", action="store_true", help="SIGKILL; otherwise workers end in order")
    parser.add_argument("--asleep", type=int, default=2000, help="agents asleep in the second half")
    parser.add_argument("--kills", type=int, default=20, help="for each figure")
    parser.add_argument("--limit", type=float, default=1800, help="give up after so many seconds")
    parser.add_argument("--json", action="store_true", help="nothing but the line of JSON")
    options = parser.parse_args()
    if options.asleep < 0 or options.kills < 1:
        parser.error("give 1 or more kills, and no fewer than 0 asleep")
    report = measured(lambda folder: bench(options, folder), options.limit)
    print(json.dumps(report))
    return 0 if holds(report) else 1


if __name__ == "__main__":
    end_with(main)

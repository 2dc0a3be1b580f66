"""What an agent costs, for the arithmetic of docs/capacity.md.

Agents with 3 steps of 2 KB, and with more, on their own dev server, with payloads compressed and encrypted as
in `starter.py dev`: CPU seconds, bytes while asleep and once closed, transitions (each a database
transaction), tasks and events. The server's background work counts too, so CPU is accurate only on a quiet
machine. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from temporalio.api.enums.v1 import EventType

from bench.harness import bounded, end_with, measured
from bench.peers.contenders import Contender, contender
from bench.peers.side import KitSide, throttled
from bench.usage import cpu_of_all, memory_of_all

SIDE = "kit-encrypted"
SETTLE_SECONDS = 2.0
# Each of these events is a task handed out by a task queue.
TASKS = {EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED}


async def cost_of(found: Contender, agents: int, steps: int) -> dict[str, Any]:
    """The cost of one of `agents` agents, from its start to its sleep and from its approval to its end."""
    side = found.side
    assert isinstance(side, KitSide)

    async def used() -> tuple[float, float, int]:
        await asyncio.sleep(SETTLE_SECONDS)
        return cpu_of_all(found.servers()), cpu_of_all([side.pid]), found.used()

    before = await used()
    ids = await side.start_agents(agents, steps)
    asleep = await used()
    await throttled(ids, side.wake)
    closed = await used()
    handle = side.client.get_workflow_handle(ids[0])
    events = (await handle.fetch_history()).events
    described = (await handle.describe()).raw_description.workflow_execution_info
    return {
        "server_cpu_ms": [round((b[0] - a[0]) / agents * 1000, 1) for a, b in _steps(before, asleep, closed)],
        "worker_cpu_ms": [round((b[1] - a[1]) / agents * 1000, 1) for a, b in _steps(before, asleep, closed)],
        "bytes_asleep": round((asleep[2] - before[2]) / agents),
        "bytes_closed": round((closed[2] - before[2]) / agents),
        "history_bytes": sum(event.ByteSize() for event in events),
        "events": len(events),
        "tasks": sum(event.event_type in TASKS for event in events),
        "transitions": described.state_transition_count,
    }


def _steps(before: Any, asleep: Any, closed: Any) -> list[tuple[Any, Any]]:
    return [(before, asleep), (asleep, closed)]


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure agents of each length, within the time limit."""
    async with bounded(options.limit), contender(SIDE, folder / SIDE) as found:
        await found.side.start_worker()
        for id in await found.side.start_agents(2, 1):
            await found.side.wake(id)
        costs = {str(steps): await cost_of(found, options.agents, steps) for steps in options.steps}
        memory = memory_of_all([found.side.pid])
    return {"agents": options.agents, "costs": costs, "worker_mb": round(memory / 1e6)}


def main() -> int:
    """Parse the options, run, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=100, help="agents of each length")
    parser.add_argument("--steps", type=int, nargs="+", default=[3, 50], help="lengths, in steps")
    parser.add_argument("--limit", type=float, default=3600, help="give up after so many seconds")
    options = parser.parse_args()
    if options.agents < 1 or min(options.steps) < 1:
        parser.error("give 1 or more agents, and 1 or more steps")
    print(json.dumps(measured(lambda folder: bench(options, folder), options.limit)))
    return 0


if __name__ == "__main__":
    end_with(main)

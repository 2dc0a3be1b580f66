"""Kills workers at random moments, and counts what became of their agents' effects."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from temporalio.exceptions import TemporalError

from bench.peers.contenders import Contender
from bench.peers.effects import ACTION, STEP, Effects

# Agents in progress at each kill, their steps, and how long each effect takes, in seconds.
AT_ONCE, STEPS, SLOWNESS = 6, 3, 0.15
# Time limit of one attempt; without heartbeats, only this tells the server that a worker is gone.
PATIENCE = timedelta(seconds=4)
END_WITHIN = 90.0
AGAIN_SECONDS = 0.2


class Kills:
    """One side's turn: kill workers while agents take steps, are approved, or act."""

    def __init__(self, contender: Contender, folder: Path, chance: random.Random) -> None:
        self._side, self._chance = contender.side, chance
        self._file = folder / f"{contender.name}.effects"
        self._unfinished = 0

    async def run(self, kills: int) -> dict[str, int]:
        """Kill the worker repeatedly; return what happened twice, and what never."""
        side = self._side
        await side.end_worker()
        self._file.touch()
        side.count_effects(self._file, SLOWNESS)
        side.patience = PATIENCE
        await side.start_worker()
        agents = []
        for number in range(kills):
            ids = [f"{side.name}-kill-{number}-{each}" for each in range(AT_ONCE)]
            agents += ids
            # Alternate: kill among the steps, or between the approval and the action.
            if acting := number % 2 == 1:
                await asyncio.gather(*(self._started(id) for id in ids))
            working = [asyncio.create_task(self._lives(id, started=acting)) for id in ids]
            await asyncio.sleep(self._chance.uniform(0, SLOWNESS * (2 if acting else STEPS + 1)))
            await side.kill_worker()
            await side.start_worker()
            await asyncio.gather(*working)
        return self._counted(kills, agents)

    async def _started(self, id: str) -> None:
        await _until_answered(lambda: self._side.start(id, STEPS))
        await self._side.asleep(id)

    async def _lives(self, id: str, started: bool) -> None:
        try:
            async with asyncio.timeout(END_WITHIN):
                if not started:
                    await self._started(id)
                await _until_answered(lambda: self._side.approve(id))
        except (TimeoutError, RuntimeError, TemporalError) as error:
            # The agent hangs or has failed; the missing effects will show it.
            print(f"{id}: {error or 'it has not ended'}", file=sys.stderr, flush=True)
            self._unfinished += 1

    def _counted(self, kills: int, agents: list[str]) -> dict[str, int]:
        found = Effects(self._file).counted()
        steps = [f"{STEP} {id} {number}" for id in agents for number in range(STEPS)]
        # The kit's key begins with its agent's id.
        acted = Counter(
            line.split()[1].partition(":")[0] for line in found.elements() if line.startswith(ACTION)
        )
        return {
            "kills": kills,
            "agents": len(agents),
            "steps_twice": sum(found[step] > 1 for step in steps),
            "steps_never": sum(not found[step] for step in steps),
            "actions_twice": sum(acted[id] > 1 for id in agents),
            "actions_never": sum(not acted[id] for id in agents),
            "unfinished": self._unfinished,
        }


async def _until_answered(ask: Callable[[], Awaitable[None]]) -> None:
    """Retry while the worker is gone, as a caller of any service does."""
    while True:
        try:
            return await ask()
        except (ConnectionError, FileNotFoundError):
            await asyncio.sleep(AGAIN_SECONDS)

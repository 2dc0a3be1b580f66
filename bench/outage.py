"""What a server's absence costs: activities end while it is away, and none of them may run again.

Each of the kit's agents has activities in progress when the server is killed; all of them end before it is
back. A file that the activities write tells how often each ran; the agents tell when they ended. The last
line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from temporalio.client import Client

from bench.harness import add_common_options, end_with, measured, own_server, started_worker
from bench.peers.errands import BEGUN, ENDED, Errand, ErrandInput, Witness, end_file
from bench.peers.side import throttled
from cli.children import end_child
from cli.dev_server import DevServer
from common.agents.states import RunStatus
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal import search_attributes
from common.temporal.connect import connect

BACK_WITHIN = 5.0
# One in this many activities heartbeats, as a fetch or a model call does.
BEATS = 10
# Errands end within this share of the outage, so all end before the server is back.
SHARE = 0.8
KIND = "bench-errand"


class Outage:
    """One run on one server."""

    def __init__(self, options: argparse.Namespace, server: DevServer, settings: Settings) -> None:
        self._options = options
        self._server = server
        self._settings = settings
        self._witness = Witness(settings.data_dir)
        chance = random.Random(options.seed)  # noqa: S311 - it has to repeat
        errands = [
            Errand(
                name=f"errand-{number:04}",
                wait=chance.uniform(0, SHARE * options.seconds),
                beats=number % BEATS == 0,
            )
            for number in range(options.activities)
        ]
        self._agents = {
            f"agent-{number:04}": errands[number :: options.agents] for number in range(options.agents)
        }

    async def run(self) -> dict[str, Any]:
        """Begin all errands, take the server down while they end, wait for the agents; return the report."""
        write_alone(self._settings)
        signer = Signer.load(self._settings, create=True)
        client = await connect(self._settings)
        agent_client = AgentClient(client, self._settings, signer)
        environment = {
            "TEMPORAL_ADDRESS": self._server.address,
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "HIBERNAUT_DATA_DIR": str(self._settings.data_dir),
        }
        command = [sys.executable, "-m", "bench.peers.errands", str(self._settings.data_dir)]
        self._workers = workers = [
            await started_worker(command, environment, self._settings.data_dir / f"worker-{number}.log")
            for number in range(self._options.workers)
        ]
        try:
            await self._begin(agent_client)
            away, back = await self._outage()
            await self._all_closed(client)
            return await self._report(client, away, back)
        finally:
            await asyncio.gather(*(end_child(worker, 15) for worker in workers))

    async def _begin(self, agent_client: AgentClient) -> None:
        async def start(id: str) -> None:
            await agent_client.start(KIND, ErrandInput(errands=self._agents[id]), id=id, owner="owner-1")

        await throttled(list(self._agents), start)
        while (begun := len(set(self._said(BEGUN)))) < self._options.activities:  # noqa: ASYNC110 - elsewhere
            await asyncio.sleep(0.2)
        self._tell(f"{begun} activities under way")

    async def _outage(self) -> tuple[float, float]:
        """Take the server down and back up; return when it went, and when it answered again."""
        self._server.kill()
        if (code := await self._server.wait()) != -signal.SIGKILL:
            raise RuntimeError(f"the server ended with {code}")
        away = time.time()
        end_file(self._settings.data_dir).touch()
        self._tell(f"the server is away for {self._options.seconds:g} s")
        await asyncio.sleep(self._options.seconds)
        await self._server.start()
        return away, time.time()

    async def _all_closed(self, client: Client) -> None:
        """Wait until each agent has ended; a server that has just started may list none at all."""
        closed = f"WorkflowType = '{KIND}' AND ExecutionStatus != 'Running'"
        while (done := (await client.count_workflows(closed)).count) < len(self._agents):
            self._tell(f"{done} agents have ended")
            await asyncio.sleep(0.5)

    async def _report(self, client: Client, away: float, back: float) -> dict[str, Any]:
        ended, human, lost = [], 0, 0
        async for agent in client.list_workflows(f"WorkflowType = '{KIND}'"):
            ended.append(agent.close_time.timestamp() - back if agent.close_time else float("inf"))
            stuck = agent.typed_search_attributes.get(search_attributes.STUCK_AT)
            human += bool(stuck)
            lost += agent.status is None or RunStatus(agent.status.name.lower()) is not RunStatus.COMPLETED
        begun = Counter(self._said(BEGUN))
        meanwhile = [name for sign, name, at in self._witness.lines() if sign == ENDED and away <= at <= back]
        return {
            "activities": self._options.activities,
            "agents": len(self._agents),
            "ended_while_away": len(set(meanwhile)),
            "executed_again": sum(count - 1 for count in begun.values()),
            "lost": lost + len(self._agents) - len(ended),
            "need_a_human": human,
            "away_seconds": round(back - away, 1),
            "half_back_after_seconds": round(sorted(ended)[len(ended) // 2], 2),
            "last_back_after_seconds": round(max(ended), 2),
            "workers": self._options.workers,
            "seed": self._options.seed,
        }

    def _said(self, sign: str) -> list[str]:
        return [name for said, name, _ in self._witness.lines() if said == sign]

    def _tell(self, text: str) -> None:
        if not self._options.json:
            print(text, file=sys.stderr, flush=True)


def holds(report: dict[str, Any]) -> bool:
    """Whether the run succeeded."""
    return (
        report["ended_while_away"] == report["activities"]
        and not any(report[name] for name in ("executed_again", "lost", "need_a_human"))
        and report["last_back_after_seconds"] < BACK_WITHIN
    )


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`, within the time limit."""
    async with own_server(folder, options.limit) as (server, settings):
        return await Outage(options, server, settings).run()


def main() -> int:
    """Parse the options, run, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30, help="how long the server is away")
    parser.add_argument("--activities", type=int, default=1000, help="under way when it goes")
    parser.add_argument("--agents", type=int, default=50, help="who called them, each its share at once")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    add_common_options(parser, limit=900)
    options = parser.parse_args()
    if options.seconds <= 0 or options.workers < 1 or not 1 <= options.agents <= options.activities:
        parser.error("give some seconds, 1 or more workers and agents, and no fewer activities than agents")
    report = measured(lambda folder: bench(options, folder), options.limit, f", seed {options.seed}")
    print(json.dumps(report))
    return 0 if holds(report) else 1


if __name__ == "__main__":
    end_with(main)

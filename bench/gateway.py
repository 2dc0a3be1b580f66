"""How the gateway bears a crowd: pollers and event streams at once, over agents that are told things.

Server, worker and gateway are separate processes; the crowd is this one. Each poller asks for an agent every
two seconds on a connection it keeps, while agents that wait for a decision get messages in turn. Limits are
the defaults.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.harness import end_with
from bench.peers.side import KitSide
from bench.peers.tasks import KitInput
from bench.usage import cpu
from cli.children import end_child, start_child
from cli.dev_server import DevServer, free_port, listens
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.client.tokens import Scope, TokenFile
from common.settings import Settings
from common.temporal.connect import connect

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
PEOPLE = 25
EVERY = 2.0  # seconds between polls of one poller
TELL_EVERY = 0.25  # seconds between messages; agents take turns
STEPS = 10
READY_WITHIN = 30.0
MEMORY_EVERY = 0.5


@dataclass
class Crowd:
    """What the crowd has seen: poll durations in seconds, answers other than 200, events."""

    polls: list[float] = field(default_factory=list)
    errors: int = 0
    events: int = 0
    memory: int = 0

    async def poll(self, port: int, path: str, token: str, delay: float) -> None:
        """Poll repeatedly on one connection."""
        await asyncio.sleep(delay)
        reader, writer = await asyncio.open_connection(HOST, port)
        with contextlib.closing(writer):
            while True:
                began = perf_counter()
                writer.write(request(path, token))
                status, headers = await head_of(reader)
                await reader.readexactly(int(headers["content-length"]))
                self.polls.append(perf_counter() - began)
                self.errors += status != 200
                await asyncio.sleep(max(0.0, EVERY - (perf_counter() - began)))

    async def follow(self, port: int, path: str, token: str) -> None:
        """Follow an agent's event stream."""
        reader, writer = await asyncio.open_connection(HOST, port)
        with contextlib.closing(writer):
            writer.write(request(path, token))
            status, _ = await head_of(reader)
            self.errors += status != 200
            while line := await reader.readline():
                self.events += line.startswith(b"event:")

    async def weigh(self, pid: int) -> None:
        """Track a process's peak resident memory, in bytes."""
        while True:
            self.memory = max(self.memory, psutil.Process(pid).memory_info().rss)
            await asyncio.sleep(MEMORY_EVERY)


def request(path: str, token: str) -> bytes:
    """A GET request as bytes; a client library would cost more here than the gateway's answer."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read status and headers of an answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    return int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}


@asynccontextmanager
async def gateway(settings: Settings, server: DevServer, port: int) -> AsyncIterator[int]:
    """Run the gateway as a process; yields its pid."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HIBERNAUT_"))
    }
    process = await start_child(
        [sys.executable, "-m", "gateway"],
        environment={
            **kept,
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": server.address,
            "HIBERNAUT_DATA_DIR": str(settings.data_dir),
            "HIBERNAUT_HTTP": f"{HOST}:{port}",
        },
        log=settings.data_dir / "logs" / "gateway.log",
    )
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not await listens(port):  # noqa: ASYNC110 -- another process opens it
                await asyncio.sleep(0.05)
        yield process.pid
    finally:
        await end_child(process, 10)


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Do one run and return its report."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
    write_alone(settings)
    signer = Signer.load(settings, create=True)
    tokens = [TokenFile.of(settings).add(f"person-{number}", [Scope.READ]) for number in range(PEOPLE)]
    port = free_port()
    async with DevServer(settings, ui_port=None) as server, gateway(settings, server, port) as pid:
        os.environ["TEMPORAL_ADDRESS"] = server.address
        client = await connect(settings)
        side = KitSide(client, settings, server.address)
        await side.start_worker()
        agents = AgentClient(client, side.settings, signer)
        ids = [
            await agents.start(
                "bench-kit", KitInput(steps=STEPS, local=True), owner=f"person-{number % PEOPLE}"
            )
            for number in range(options.agents)
        ]
        async with asyncio.timeout(READY_WITHIN):
            while len(await agents.inbox()) < options.agents:  # noqa: ASYNC110 -- the server knows
                await asyncio.sleep(0.1)
        crowd = Crowd()
        before = cpu(pid)
        tasks = [asyncio.create_task(crowd.weigh(pid)), asyncio.create_task(tell(agents, ids))]
        for number in range(options.pollers):
            agent = number % options.agents
            path, delay = f"/agents/{ids[agent]}", EVERY * number / options.pollers
            tasks.append(asyncio.create_task(crowd.poll(port, path, tokens[agent % PEOPLE], delay)))
        for number in range(options.streams):
            agent = number % options.agents
            path = f"/agents/{ids[agent]}/events"
            tasks.append(asyncio.create_task(crowd.follow(port, path, tokens[agent % PEOPLE])))
        try:
            done, _ = await asyncio.wait(tasks, timeout=options.seconds, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()  # a connection closed by the gateway is a failure of the bench
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            spent = cpu(pid) - before
            await side.kill_worker()
        return {
            "pollers": options.pollers,
            "streams": options.streams,
            "agents": options.agents,
            "seconds": options.seconds,
            "polls": len(crowd.polls),
            "poll_ms": {
                f"p{share}": round(percentile(crowd.polls, share) * 1000, 1) for share in (50, 95, 99)
            },
            "errors": crowd.errors,
            "events": crowd.events,
            "gateway_mb": round(crowd.memory / 1e6, 1),
            "gateway_cpu_share": round(spent / options.seconds, 3),
        }


async def tell(agents: AgentClient, ids: Sequence[str]) -> None:
    """Send messages to the agents, in turn."""
    while True:
        for id in ids:
            await agents.tell(id, "go on")
            await asyncio.sleep(TELL_EVERY)


def percentile(values: Sequence[float], share: int) -> float:
    """The value below which ``share`` percent of ``values`` lie; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)] if ordered else 0.0


def main() -> int:
    """Run the bench and print its report as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pollers", type=int, default=500)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as folder:
        report = asyncio.run(bench(options, Path(folder)))
    print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    end_with(main)

"""What compression and encryption cost: the same agents plain and encrypted, in turns on one dev server.

An agent takes three steps of 2 KB, asks, sleeps, is woken by a signed decision, and acts. Client and worker
share this one process, so its CPU time covers everything that encryption adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).parents[1]))

from activities.calls.interceptor import ReliableReports
from bench.harness import end_with, measured
from bench.peers.side import KitSide
from bench.peers.worker import kit_worker
from cli.dev_server import DevServer
from common.key_ring import rotate
from common.settings import Settings
from common.temporal.codec import key_file
from common.temporal.connect import connect

BLOCKS = 4
STEPS = 3


@dataclass
class Figures:
    """One side's figures: wall-clock seconds of starts, CPU seconds in all, milliseconds per wake-up."""

    start_seconds: float = 0.0
    cpu_seconds: float = 0.0
    wake_ms: list[float] = field(default_factory=list)
    history_bytes: int = 0


async def turn(side: KitSide, agents: int, figures: Figures | None) -> None:
    """Start agents, let all of them sleep, wake each; record nothing if there are no figures."""
    cpu, began = process_time(), perf_counter()
    ids = await side.start_agents(agents, STEPS, local=False)
    started = perf_counter() - began
    waking = [await side.wake(id) for id in ids]
    if figures:
        figures.cpu_seconds += process_time() - cpu
        figures.start_seconds += started
        figures.wake_ms += waking
        figures.history_bytes = sum(await side.history(ids[0]))


async def bench(agents: int, folder: Path) -> dict[str, float]:
    """The ratios of encrypted to plain, with `agents` of each side in each of four blocks."""
    found = {"plain": Figures(), "encrypted": Figures()}
    async with DevServer(Settings.read({"HIBERNAUT_DATA_DIR": str(folder)}), ui_port=None) as server:
        os.environ.update(TEMPORAL_ADDRESS=server.address, TEMPORAL_CONFIG_FILE=os.devnull)
        for block in range(-1, BLOCKS):
            # Alternate the order, so that the growing database affects both; the first block warms up.
            for name in sorted(found, reverse=block % 2 == 0):
                settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / name)})
                if name == "encrypted" and not key_file(settings).exists():
                    rotate(key_file(settings))
                client = await connect(settings)
                side = KitSide(client, settings, server.address)
                async with kit_worker(client, side.settings, ReliableReports(client)):
                    await turn(side, agents, found[name] if block >= 0 else None)
    plain, encrypted = found["plain"], found["encrypted"]
    return {
        "agents": agents * BLOCKS,
        "start_seconds": round(encrypted.start_seconds / plain.start_seconds, 3),
        "wake_p50": round(median(encrypted.wake_ms) / median(plain.wake_ms), 3),
        "cpu": round(encrypted.cpu_seconds / plain.cpu_seconds, 3),
        "plain_cpu_ms_per_agent": round(plain.cpu_seconds * 1000 / agents / BLOCKS, 2),
        "encrypted_cpu_ms_per_agent": round(encrypted.cpu_seconds * 1000 / agents / BLOCKS, 2),
        "history_bytes": round(encrypted.history_bytes / plain.history_bytes, 3),
    }


def main() -> int:
    """Parse the options, run, print one line of JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=25, help="agents of each side in each of four blocks")
    parser.add_argument("--limit", type=float, default=600, help="give up after so many seconds")
    options = parser.parse_args()
    if options.agents < 1:
        parser.error("give 1 or more agents")

    async def limited(folder: Path) -> dict[str, float]:
        return await asyncio.wait_for(bench(options.agents, folder), options.limit)

    report = measured(limited, options.limit)
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    end_with(main)

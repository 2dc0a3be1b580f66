"""What a process has used so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil


def cpu(pid: int) -> float:
    """CPU seconds of a process and of its children so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


@dataclass
class Peak:
    """The most memory that a process had, in bytes."""

    bytes: int = 0

    @property
    def megabytes(self) -> float:
        """The same in MB, to one digit."""
        return round(self.bytes / 1e6, 1)


@asynccontextmanager
async def peak_memory(pid: int) -> AsyncIterator[Peak]:
    """Watch a process's memory, five times a second, for as long as the block lasts."""
    peak = Peak()

    async def watch() -> None:
        while True:
            peak.bytes = max(peak.bytes, psutil.Process(pid).memory_info().rss)
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()

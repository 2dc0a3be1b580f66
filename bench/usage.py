"""What a process has used so far: CPU and memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psutil


def cpu(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def cpu_of_all(pids: Iterable[int]) -> float:
    """CPU seconds of processes and all their descendants, ended ones included."""
    found = 0.0
    for each in _with_children(pids):
        # A process that ends right now counts in its parent from then on.
        with suppress(psutil.NoSuchProcess):
            found += cpu(each.pid)
    return found


def memory_of_all(pids: Iterable[int]) -> int:
    """Bytes of memory of processes and all their descendants; shared pages count once."""
    found = 0
    for each in _with_children(pids):
        with suppress(psutil.NoSuchProcess):
            found += each.memory_full_info().pss
    return found


def _with_children(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        process = psutil.Process(pid)
        yield from (process, *process.children(recursive=True))


@dataclass
class Peak:
    """The peak memory of a process, in bytes."""

    bytes: int = 0

    @property
    def megabytes(self) -> float:
        """In MB, to one decimal."""
        return round(self.bytes / 1e6, 1)


@asynccontextmanager
async def peak_memory(pid: int) -> AsyncIterator[Peak]:
    """Sample a process's memory five times a second while the block runs."""
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

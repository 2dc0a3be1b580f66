"""Faults of processes, network, disk and clock; `count` records what really happened."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.peers.chaos.outside import Outside
from bench.peers.chaos.proxy import Proxy, RequestFault
from bench.peers.fleet import Fleet, Member, resume, suspend
from cli.children import end_child
from cli.dev_server import DevServer

Tell = Callable[[str], None]
Fault = Callable[[], Awaitable[None]]
# Where Debian's package libfaketime puts it.
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
NO_ROOM = ("No space left on device", "database or disk is full")
# Longer than a worker takes to finish its work.
ENDS_WITHIN = 60.0
# Linux constants: CLONE_NEWNS; MS_REC and MS_PRIVATE; MNT_DETACH.
NEW_MOUNTS, PRIVATE, DETACH = 0x20000, 0x44000, 2


@dataclass(frozen=True)
class Pace:
    """Ranges of durations in seconds: `away` is for the server, `down` for everything else outside."""

    away: tuple[float, float]
    down: tuple[float, float]
    stopped: tuple[float, float]
    between: tuple[float, float]
    strikes: tuple[float, float]
    clock_off: float


class Disk:
    """A small file system mounted at a folder, which can be filled. For root on Linux."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._bytes = megabytes << 20
        self._ballast = folder / "ballast"

    @staticmethod
    def can_be() -> bool:
        """Whether this process may mount; it gets a private mount namespace that ends with it."""
        libc = ctypes.CDLL(None)
        return (
            os.geteuid() == 0
            and libc.unshare(NEW_MOUNTS) == 0
            and libc.mount(None, b"/", None, PRIVATE, None) == 0
        )

    def mount(self) -> None:
        """Mount the file system."""
        self.folder.mkdir(parents=True, exist_ok=True)
        size = f"size={self._bytes}".encode()
        if ctypes.CDLL(None).mount(b"tmpfs", bytes(self.folder), b"tmpfs", 0, size):
            raise RuntimeError(f"nothing could be mounted at {self.folder}")

    def unmount(self) -> None:
        """Unmount it, even if it is in use."""
        ctypes.CDLL(None).umount2(bytes(self.folder), DETACH)

    def fill(self) -> None:
        """Leave no byte free.

        Raises:
            RuntimeError: the disk could not be filled.
        """
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    for _ in range(self._bytes // size + 1):
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        if os.statvfs(self.folder).f_bavail:
            raise RuntimeError(f"{self.folder} did not get full")

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)


@dataclass(frozen=True)
class Targets:
    """The targets of faults.

    Attributes:
        fleet: the workers.
        server: Temporal.
        outside: everything else, behind proxies.
        workers, people: the proxies in front of Temporal, for workers and for people.
        disk: holds the data folder; None if it cannot be filled.
    """

    fleet: Fleet
    server: DevServer
    outside: Outside
    workers: Proxy
    people: Proxy
    disk: Disk | None


class Faults:
    """Injects faults into one stack: `chance` decides what and when, `pace` how long."""

    def __init__(
        self, targets: Targets, chance: random.Random, pace: Pace, count: Counter[str], tell: Tell
    ) -> None:
        self._fleet, self._server, self._outside = targets.fleet, targets.server, targets.outside
        self._disk, self._workers = targets.disk, targets.workers
        self._lines = [targets.workers, targets.people]
        self._chance, self._pace, self._count, self._tell = chance, pace, count, tell
        self._alone = asyncio.Lock()
        self._up = asyncio.Event()
        self._up.set()
        self.off: list[int] = []

    @property
    def to_processes(self) -> list[Fault]:
        """Kill and suspend a worker, and the server."""
        return [self.kill, self.stop_worker, self.stop_server, self.outage]

    @property
    def to_others(self) -> list[Fault]:
        """Fill the disk, and take down each outside system, for a while."""
        downs = [lambda name=name: self.down(name) for name in self._outside.proxies]
        return [*([self.full] if self._disk else []), *downs]

    def shuffled(self, faults: Sequence[Fault]) -> list[Fault]:
        """The faults in random order."""
        return self._chance.sample(list(faults), len(faults))

    async def one_after_another(self, faults: Sequence[Fault]) -> None:
        """Run all faults, in this order."""
        for fault in faults:
            await asyncio.sleep(self._chance.uniform(*self._pace.between))
            await fault()

    async def kill(self) -> None:
        """SIGKILL a worker."""
        await self._fleet.kill(await self._someone())
        self._count["kills"] += 1
        self._tell(f"kill {self._count['kills']}")

    async def stop_worker(self) -> None:
        """Suspend a worker for a while (SIGSTOP, SIGCONT)."""
        member = await self._someone()
        seconds = self._chance.uniform(*self._pace.stopped)
        self._tell(f"a worker is stopped for {seconds:.1f} s")
        await self._fleet.stop(member)
        await asyncio.sleep(seconds)
        await self._fleet.go_on(member, 0)
        self._count["stops"] += 1

    async def stop_server(self) -> None:
        """Suspend the server for a while (SIGSTOP, SIGCONT)."""
        async with self._server_alone():
            seconds = self._chance.uniform(*self._pace.stopped)
            self._tell(f"the server is stopped for {seconds:.1f} s")
            await suspend(self._server.pid)
            await asyncio.sleep(seconds)
            resume(self._server.pid)
        self._count["server_stops"] += 1

    async def outage(self) -> None:
        """SIGKILL the server, and restart it after a while."""
        async with self._server_alone():
            self._server.kill()
            if (code := await self._server.wait()) != -signal.SIGKILL:
                raise RuntimeError(f"the server ended with {code}")
            seconds = self._chance.uniform(*self._pace.away)
            self._tell(f"the server is killed, and away for {seconds:.1f} s")
            await asyncio.sleep(seconds)
            await self._server.start()
        self._count["outages"] += 1

    async def down(self, name: str) -> None:
        """Take an outside system down for a while, and a little longer until somebody has noticed."""
        proxy, seconds = self._outside.proxies[name], self._chance.uniform(*self._pace.down)
        self._tell(f"{name} is down for {seconds:.1f} s")
        proxy.go_away()
        await asyncio.sleep(seconds)
        for _ in range(round(self._pace.down[1] * 10)):
            if proxy.is_missed:
                break
            await asyncio.sleep(0.1)
        self._count["unnoticed"] += not proxy.is_missed
        proxy.come_back()
        self._count[f"{name}_down"] += 1

    async def full(self) -> None:
        """Fill the data folder's disk for a while, and a little longer until somebody has noticed.

        The server's database is on it, too: a server that exits on a failed write is restarted, as by `dev`.
        """
        assert self._disk
        async with self._server_alone():
            seconds = self._chance.uniform(*self._pace.down)
            self._tell(f"the disk is full for {seconds:.1f} s")
            before = self.without_room()
            self._disk.fill()
            await asyncio.sleep(seconds)
            for _ in range(round(self._pace.down[1] * 2)):
                if self.without_room() > before or not is_running(self._server.pid):
                    break
                await asyncio.sleep(1)
            self._disk.free()
            if not is_running(self._server.pid):
                self._count["server_without_disk"] += 1
                await self._server.start()
        self._count["disk_full"] += 1

    def without_room(self) -> int:
        """How often workers have logged that the disk was full."""
        said = [log.read_text(errors="replace") for log in self._fleet.folder.glob("*.log")]
        return sum(text.count(words) for text in said for words in NO_ROOM)

    async def clock(self) -> None:
        """Run an extra worker whose wall clock is off by days; its monotonic clock is not."""
        days = self._chance.choice((-1, 1)) * self._chance.uniform(2, 9)
        off = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": f"{days * 86400:+.0f}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        member = await self._working(off)
        self.off.append(member.process.pid)
        self._tell(f"a worker works whose clock is off by {days:.1f} days")
        await asyncio.sleep(self._pace.clock_off)
        await end_child(member.process, ENDS_WITHIN)
        self._count["clocks_off"] += 1

    async def _working(self, more: dict[str, str]) -> Member:
        """Start an extra worker; if it ends because it finds no server, start another."""
        while True:
            await self._up.wait()
            member = await self._fleet.start(more)
            for _ in range(600):
                if member.ready and is_off(member.process.pid):
                    return member
                if member.process.returncode is not None:
                    break
                await asyncio.sleep(0.1)

    async def network(self) -> None:
        """Keep cutting or delaying requests and losing answers, until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(*self._pace.strikes))
            proxy = self._chance.choice([*self._outside.proxies.values(), *self._lines])
            proxy.inject(self._chance.choice(list(RequestFault)))

    def spare_workers(self) -> None:
        """Stop disturbing connections between workers and Temporal."""
        self._lines.remove(self._workers)
        self._workers.inject(None)

    @asynccontextmanager
    async def _server_alone(self) -> AsyncIterator[None]:
        """Serialize the server's faults; meanwhile kill no worker, whose successor would find no server."""
        async with self._alone:
            self._up.clear()
            yield
            self._up.set()

    async def _someone(self) -> Member:
        """A running worker, chosen at random."""
        while True:
            await self._up.wait()
            if ready := [each for each in self._fleet.members if each.ready]:
                return self._chance.choice(ready)
            await asyncio.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether the process is still running; a zombie counts as ended."""
    return psutil.pid_exists(pid) and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def is_off(pid: int) -> bool:
    """Whether a process has loaded libfaketime."""
    return FAKETIME is not None and FAKETIME.name in Path(f"/proc/{pid}/maps").read_text()

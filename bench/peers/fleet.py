"""Worker processes to kill, suspend and restart, each act verified to have hit."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.harness import start_worker
from bench.peers.market import Journal
from cli.children import end_child
from common.lifecycle import WORKER_READY

STOPPED_WITHIN = 5.0


@dataclass(eq=False)
class Member:
    """One worker process, with its own log and journal."""

    process: Process
    journal: Journal
    log: Path
    spared: bool = False

    @property
    def ready(self) -> bool:
        """Whether it is running, and may be killed or suspended."""
        return self.process.returncode is None and not self.spared and WORKER_READY in self.log.read_text()


class Fleet:
    """Workers, `size` at a time.

    Args:
        folder: for their logs and journals.
        environment: their settings.
        size: how many run at a time.
        command: returns the command of a worker that writes the given journal.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        size: int,
        command: Callable[[Path], Sequence[str]],
    ) -> None:
        self.folder = folder
        self._environment = environment
        self._size = size
        self._command = command
        self.members: list[Member] = []
        self.journals: list[Journal] = []

    async def keep_up(self) -> None:
        """Replace each worker that has ended, whatever ended it; until cancelled."""
        while True:
            self.members = [each for each in self.members if each.process.returncode is None]
            while len(self.members) < self._size:
                self.members.append(await self.start())
            await asyncio.sleep(0.2)

    async def end(self) -> None:
        """Stop all gracefully."""
        await asyncio.gather(*(end_child(each.process, 10) for each in self.members))

    async def kill(self, member: Member) -> set[str]:
        """SIGKILL a worker, verified; return symbols with orders in flight. No other strike meanwhile."""
        member.spared = True
        member.process.kill()
        code = await member.process.wait()
        if code != -signal.SIGKILL:
            raise RuntimeError(f"the kill did not hit: exit code {code}, see {member.log}")
        return member.journal.in_flight()

    async def stop(self, member: Member) -> set[str]:
        """SIGSTOP a worker, verified; return symbols with orders in flight. It is spared until `go_on`."""
        member.spared = True
        await suspend(member.process.pid)
        return member.journal.in_flight()

    async def go_on(self, member: Member, grace: float) -> None:
        """SIGCONT; spare it for `grace` more seconds, so that it can do what it was about to."""
        resume(member.process.pid)
        await asyncio.sleep(grace)
        member.spared = False

    async def start(self, more: Mapping[str, str] | None = None) -> Member:
        """Start a worker with `more` settings; `keep_up` does not replace it."""
        name = f"worker-{len(self.journals) + 1}"
        log, journal = self.folder / f"{name}.log", self.folder / f"{name}.journal"
        process = await start_worker(self._command(journal), {**self._environment, **(more or {})}, log)
        member = Member(process, Journal(journal), log)
        self.journals.append(member.journal)
        return member


async def suspend(pid: int) -> None:
    """SIGSTOP a process, and verify that it stopped."""
    os.kill(pid, signal.SIGSTOP)
    deadline = asyncio.get_running_loop().time() + STOPPED_WITHIN
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        if asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"the process {pid} did not stop")
        await asyncio.sleep(0.01)


def resume(pid: int) -> None:
    """SIGCONT a process, after verifying that it is still stopped."""
    if psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        raise RuntimeError(f"the stopped process {pid} did not stay stopped")
    os.kill(pid, signal.SIGCONT)

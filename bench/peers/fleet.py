"""Worker processes to be killed, stopped and started again, each act with proof that it hit."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.peers.buyers import READY, Floor
from bench.peers.market import Journal
from cli.children import end_child, start_child
from common.settings import Settings

ROOT = Path(__file__).parents[2]
STOPPED_WITHIN = 5.0


@dataclass(eq=False)
class Member:
    """One worker process; each has a log and a journal of its own."""

    process: Process
    journal: Journal
    log: Path
    spared: bool = False

    @property
    def ready(self) -> bool:
        """Whether it works, and may be killed or stopped."""
        return self.process.returncode is None and not self.spared and READY in self.log.read_text()


class Fleet:
    """Workers of one floor, as many at a time as `size` says."""

    def __init__(self, floor: Floor, settings: Settings, server: str, size: int) -> None:
        self._settings = settings
        self._server = server
        self._size = size
        self._folder = floor.folder
        self._floor = floor.folder / "floor.json"
        floor.save(self._floor)
        self.members: list[Member] = []
        self.journals: list[Journal] = []

    async def keep_up(self) -> None:
        """Start a worker for each that has ended, whatever ended it; until cancelled."""
        while True:
            self.members = [each for each in self.members if each.process.returncode is None]
            while len(self.members) < self._size:
                self.members.append(await self._start())
            await asyncio.sleep(0.2)

    async def end(self) -> None:
        """End all in order."""
        await asyncio.gather(*(end_child(each.process, 10) for each in self.members))

    async def kill(self, member: Member) -> set[str]:
        """SIGKILL, with proof; the symbols whose orders were under way."""
        member.process.kill()
        code = await member.process.wait()
        if code != -signal.SIGKILL:
            raise RuntimeError(f"the kill did not hit: exit code {code}, see {member.log}")
        return member.journal.in_flight()

    async def stop(self, member: Member) -> set[str]:
        """SIGSTOP, with proof; the symbols whose orders are under way. It is spared until `go_on`."""
        member.spared = True
        member.process.send_signal(signal.SIGSTOP)
        deadline = asyncio.get_running_loop().time() + STOPPED_WITHIN
        while psutil.Process(member.process.pid).status() != psutil.STATUS_STOPPED:
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"the worker did not stop, see {member.log}")
            await asyncio.sleep(0.01)
        return member.journal.in_flight()

    async def go_on(self, member: Member, grace: float) -> None:
        """SIGCONT; it is spared for `grace` seconds more, so that it can do what it was about to."""
        if psutil.Process(member.process.pid).status() != psutil.STATUS_STOPPED:
            raise RuntimeError(f"the stopped worker did not stay stopped, see {member.log}")
        member.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(grace)
        member.spared = False

    async def _start(self) -> Member:
        name = f"worker-{len(self.journals) + 1}"
        log, journal = self._folder / f"{name}.log", self._folder / f"{name}.journal"
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("TEMPORAL_", "HIBERNAUT_"))
        }
        process = await start_child(
            [sys.executable, "-m", "bench.peers.buyers", str(journal), str(self._floor)],
            environment={
                **kept,
                "PYTHONPATH": str(ROOT),
                "TEMPORAL_ADDRESS": self._server,
                "TEMPORAL_CONFIG_FILE": os.devnull,
                "HIBERNAUT_DATA_DIR": str(self._settings.data_dir),
            },
            log=log,
        )
        member = Member(process, Journal(journal), log)
        self.journals.append(member.journal)
        return member

"""The processes of a cluster; each can be killed and restarted."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

from cli.children import NotStartedError, end_child, last_line, start_child
from cli.cluster.postgres import Postgres

STOP_WITHIN = 15.0


class Part(Protocol):
    """A process of a cluster that can be killed and restarted."""

    name: str
    log: Path

    async def start(self) -> None: ...
    async def wait(self) -> int: ...
    async def stop(self) -> None: ...
    def kill(self) -> None: ...


class Database:
    """The PostgreSQL server."""

    name = "PostgreSQL"

    def __init__(self, folder: Path, port: int) -> None:
        self.postgres = Postgres(folder, port)
        self.log = folder / "server.log"

    async def start(self) -> None:
        """Start it.

        Raises:
            NotStartedError: the program is not installed, cannot reach its folder, or does not start.
        """
        try:
            # A server left by a killed cluster may listen on another port.
            await asyncio.to_thread(self.postgres.stop)
            await asyncio.to_thread(self.postgres.start)
        except FileNotFoundError as error:
            raise NotStartedError(str(error)) from error
        except subprocess.CalledProcessError as error:
            said = last_line(self.log) or str(error)
            raise NotStartedError(f"PostgreSQL does not start: {said} (log: {self.log})") from error

    async def wait(self) -> int:
        """Wait until it has ended."""
        pid = self.postgres.pid
        if pid is not None:
            with suppress(psutil.NoSuchProcess):
                # Poll: pg_ctl detaches the server, so it is not our child.
                while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
        return -signal.SIGKILL

    async def stop(self) -> None:
        """Stop it gracefully."""
        with suppress(subprocess.CalledProcessError):
            await asyncio.to_thread(self.postgres.stop)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self.postgres.kill()


class Role:
    """A process of Temporal's server."""

    def __init__(
        self, role: str, program: str, environment: Callable[[], Mapping[str, str]], log: Path
    ) -> None:
        self.name, self.log = f"Temporal's {role}", log
        self._command = [program, "--allow-no-auth", "start", "--service", role]
        self._environment = environment
        self.process: Process | None = None

    async def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self.process = await start_child(self._command, environment=self._environment(), log=self.log)

    async def wait(self) -> int:
        """Wait until it has ended and return its exit code."""
        return await self.process.wait() if self.process else 0

    async def stop(self) -> None:
        """Stop it gracefully."""
        if self.process:
            await end_child(self.process, STOP_WITHIN)

    def kill(self) -> None:
        """Send it SIGKILL."""
        if self.process and self.process.returncode is None:
            self.process.kill()

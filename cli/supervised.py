"""A process that is restarted whenever it ends, and replaced when its code has changed."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cli.children import end_child, keep_running, start_child, text_of, until_says, why

ROOT = Path(__file__).parent.parent


class Supervised:
    """One process of a stack.

    Args:
        name: its name in messages.
        program: its path and arguments.
        environment: called at each start.
        log: the file for both its outputs.
        ready: the words in its log that mean it is ready.
        ends_within: seconds before it is killed.
        overlaps: whether a successor may get ready before this one ends; not if both would listen on one
            port.
    """

    def __init__(
        self,
        name: str,
        program: Sequence[str],
        environment: Callable[[], Mapping[str, str]],
        log: Path,
        *,
        ready: str,
        ends_within: float,
        overlaps: bool,
    ) -> None:
        self.log = log
        self._name, self._program, self._environment = name, program, environment
        self._ready, self._ends_within, self._overlaps = ready, ends_within, overlaps
        self._process: Process | None = None
        # Keeps `start` from restarting a process that `replace` is ending.
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Start it if it is not running."""
        async with self._changing:
            if self._process is None or self._process.returncode is not None:
                self._process = await self._started()

    async def keep(self) -> None:
        """Restart it whenever it ends."""
        await keep_running(self._name, self._end, self.start, self.log)

    async def is_ready(self) -> None:
        """Wait until it is ready."""
        await until_says(self.log, self._ready)

    async def replace(self) -> str:
        """Replace it with a process that runs the current code.

        Returns:
            Why the new code does not start; empty if it does.
        """
        async with self._changing:
            old, begins = self._process, len(text_of(self.log))
            if not self._overlaps:
                await self.end()
            new = await self._started()
            comes_up = await self._comes_up(new, begins)
            if comes_up or not self._overlaps:
                self._process = new
            if not comes_up:
                return why(self.log, begins)
            if old:
                await end_child(old, self._ends_within)
        return ""

    def kill(self) -> None:
        """Kill it."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """Let it finish its work, and end."""
        if self._process:
            await end_child(self._process, self._ends_within)

    async def _started(self) -> Process:
        return await start_child(self._program, environment=self._environment(), log=self.log)

    async def _end(self) -> int:
        """Wait for the process, or whichever replaces it, to end; return the exit code."""
        while True:
            process = self._process
            assert process is not None
            code = await process.wait()
            async with self._changing:
                if self._process is process:
                    return code

    async def _comes_up(self, process: Process, begins: int) -> bool:
        """Wait until a process is ready, or has ended; whether it is ready."""
        ready = asyncio.create_task(until_says(self.log, self._ready, begins))
        ends = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([ready, ends], return_when=asyncio.FIRST_COMPLETED)
            return process.returncode is None
        finally:
            if not ready.done() and process.returncode is None:
                process.kill()  # cancelled: nobody waits for it any more
            ready.cancel()
            ends.cancel()

"""A process that is started again whenever it ends, and replaced when its code has changed."""

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
        name: what it is called.
        program: its path and arguments.
        environment: made when it is started.
        log: where both its outputs go.
        ready: what it says there once it works.
        ends_within: seconds, after which it is killed.
        overlaps: whether it may work beside its successor, which then is ready before this one ends: not
            where both would listen at one port.
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
        # One that ends while it is replaced is not started again besides.
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Start it where it does not run."""
        async with self._changing:
            if self._process is None or self._process.returncode is not None:
                self._process = await self._started()

    async def keep(self) -> None:
        """Start it again whenever it ends."""
        await keep_running(self._name, self._end, self.start, self.log)

    async def is_ready(self) -> None:
        """Wait until it works."""
        await until_says(self.log, self._ready)

    async def replace(self) -> str:
        """Replace it by one that runs the code as it is now.

        Returns:
            Why it could not be, as the new code does not start; empty where it could.
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
        """End it at once."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """Have it end what it does, and end."""
        if self._process:
            await end_child(self._process, self._ends_within)

    async def _started(self) -> Process:
        return await start_child(self._program, environment=self._environment(), log=self.log)

    async def _end(self) -> int:
        """The exit code of the process, unless another takes its place."""
        while True:
            process = self._process
            assert process is not None
            code = await process.wait()
            async with self._changing:
                if self._process is process:
                    return code

    async def _comes_up(self, process: Process, begins: int) -> bool:
        """Whether a process gets ready to work; else it has ended."""
        ready = asyncio.create_task(until_says(self.log, self._ready, begins))
        ends = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([ready, ends], return_when=asyncio.FIRST_COMPLETED)
            return process.returncode is None
        finally:
            if not ready.done() and process.returncode is None:
                process.kill()  # nobody waits for it any more
            ready.cancel()
            ends.cancel()

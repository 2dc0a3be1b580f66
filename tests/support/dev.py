"""`starter.py dev` as a process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import psutil

from cli.dev_server import free_port

ROOT = Path(__file__).parents[2]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("HIBERNAUT_", "TEMPORAL_"))}


class Dev:
    """A `starter.py dev` process."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.said = ""

    async def hears(self, text: str, seconds: float = 120) -> None:
        """Read its output until `text` appears."""
        assert self.process.stderr is not None
        async with asyncio.timeout(seconds):
            while text not in self.said:
                line = await self.process.stderr.readline()
                assert line, f"dev ended without saying {text!r}: {self.said}"
                self.said += line.decode()

    def children(self) -> dict[str, psutil.Process]:
        """Its children by role; those that end meanwhile are left out."""
        names = {
            "start-dev": "server",
            "worker.py": "worker",
            "gateway": "gateway",
            "replicate": "litestream",
        }
        found: dict[str, psutil.Process] = {}
        for each in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # also raised for zombies
                command = each.cmdline()
                found |= {
                    name: each for word, name in names.items() if any(part.endswith(word) for part in command)
                }
        return found


@contextlib.asynccontextmanager
async def dev(
    folder: Path,
    port: int | None = None,
    ui_port: int | None = None,
    more: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Dev]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), "dev", "--data-dir", str(folder)),
        *("--port", str(port or free_port()), "--ui-port", str(ui_port or free_port())),
        *("--http-port", str(free_port()), "--no-reload", *more),
        env={**CLEAN, "ANTHROPIC_API_KEY": "hush", "HIBERNAUT_SMTP_PASSWORD": "hush", **(environment or {})},
        cwd=folder.parent,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Dev(process, folder)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 120)

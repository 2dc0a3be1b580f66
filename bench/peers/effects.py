"""What every agent of the comparison does, whatever it stands on; it needs nothing but Python.

Effects are lines of a file that no kill takes back: what happened twice is there twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

VALUE = 10
TEXT_BYTES = 2000
STEP, ACTION = "step", "action"
# Of a worker: the file of effects, where they are counted, and how long each takes, in seconds.
FILE_SETTING, SLOWNESS_SETTING = "BENCH_EFFECTS", "BENCH_SLOWNESS"
# Prose, which compresses as what agents read and write does.
_PROSE = (Path(__file__).parents[2] / "LICENSE").read_text()


def text_of(number: int) -> str:
    """What step `number` brings home: 2 KB of prose, another for each of the first ten thousand steps."""
    at = number * 577 % (len(_PROSE) - TEXT_BYTES)
    return f"{_PROSE[at:]}{_PROSE}"[:TEXT_BYTES]


def number_of(key: str) -> str:
    """The number that a broker gives the order of an idempotency key."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class Effects:
    """The world outside, as one worker reaches it; without a file nothing counts and takes time."""

    def __init__(self, file: Path | None, slowness: float = 0.0) -> None:
        self._file, self._slowness = file, slowness

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Effects:
        """As the worker's environment says."""
        file = environment.get(FILE_SETTING, "")
        return cls(Path(file) if file else None, float(environment.get(SLOWNESS_SETTING, 0)))

    async def step(self, agent: str, number: int) -> str:
        """Take a step that the outside has no key for."""
        await self._happen(f"{STEP} {agent} {number}")
        return text_of(number)

    async def act(self, key: str) -> str:
        """Do the one thing that must not happen twice: what is done already under this key is left."""
        if f"{ACTION} {key}" not in self.counted():
            await self._happen(f"{ACTION} {key}")
        return number_of(key)

    async def _happen(self, line: str) -> None:
        if not self._file:
            return
        await asyncio.sleep(self._slowness / 2)
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)
        await asyncio.sleep(self._slowness / 2)

    def counted(self) -> Counter[str]:
        """How often each effect happened."""
        return Counter(self._file.read_text().splitlines() if self._file and self._file.exists() else ())

"""What every agent of the comparison does, on whatever framework; it needs only Python.

Effects are lines in a file, which no kill can undo: what happened twice is there twice.
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
# A worker's settings: the file of effects, if they are counted, and how many seconds each takes.
FILE_SETTING, SLOWNESS_SETTING = "BENCH_EFFECTS", "BENCH_SLOWNESS"
# Prose compresses like what agents read and write.
_PROSE = (Path(__file__).parents[2] / "LICENSE").read_text()


def text_of(number: int) -> str:
    """The result of step `number`: 2 KB of prose, different for each of the first ten thousand steps."""
    at = number * 577 % (len(_PROSE) - TEXT_BYTES)
    return f"{_PROSE[at:]}{_PROSE}"[:TEXT_BYTES]


def number_of(key: str) -> str:
    """The number that a broker would give to the order with this idempotency key."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class Effects:
    """The outside world, as one worker reaches it; without a file, effects are neither counted nor slow."""

    def __init__(self, file: Path | None, slowness: float = 0.0) -> None:
        self._file, self._slowness = file, slowness

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Effects:
        """Configured from the worker's environment."""
        file = environment.get(FILE_SETTING, "")
        return cls(Path(file) if file else None, float(environment.get(SLOWNESS_SETTING, 0)))

    async def step(self, agent: str, number: int) -> str:
        """Take a step for which the outside world has no idempotency key."""
        await self._happen(f"{STEP} {agent} {number}")
        return text_of(number)

    async def act(self, key: str) -> str:
        """Do the one thing that must not happen twice: skip it if it was done under this key."""
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

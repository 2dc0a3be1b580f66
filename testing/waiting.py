"""Waiting for things that happen elsewhere."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")


async def eventually(
    find: Callable[[], Found | Awaitable[Found | None] | None], seconds: float = 120, *, every: float = 0.4
) -> Found:
    """Poll `find`, which may be a coroutine function, and return its first true result.

    Args:
        find: called repeatedly.
        seconds: how long to try.
        every: longest pause between calls in seconds; polling costs CPU where many poll.

    Raises:
        AssertionError: no result was true within that time.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    pause = 0.05
    while True:
        result = find()
        found = await result if inspect.isawaitable(result) else result
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"it did not happen within {seconds} s"
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, every)

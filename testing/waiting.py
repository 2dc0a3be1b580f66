"""Waiting for what happens elsewhere."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")


async def eventually(
    find: Callable[[], Found | Awaitable[Found | None] | None], seconds: float = 120, *, every: float = 0.4
) -> Found:
    """The first true result of `find`, which is called again and again, and may be a coroutine function.

    Args:
        find: what to call.
        seconds: after which to give up.
        every: seconds between two calls at most; looking is work, too, where many look.

    Raises:
        AssertionError: there was none within so many seconds.
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

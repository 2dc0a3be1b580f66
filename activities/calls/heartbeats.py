"""Heartbeats while an activity waits, so that its worker's death is noticed within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

EVERY_SECONDS = 1.0


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Heartbeat while the block runs. Does nothing outside an activity."""

    async def beat() -> None:
        while activity.in_activity():
            # Sleep first: an activity that ends within a second never heartbeats.
            await asyncio.sleep(EVERY_SECONDS)
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()

"""Heartbeats while an activity waits for others: its worker's death is noticed within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

EVERY_SECONDS = 1.0


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Heartbeat while what is inside goes on; outside of an activity there is nobody to tell."""

    async def beat() -> None:
        while activity.in_activity():
            activity.heartbeat()
            await asyncio.sleep(EVERY_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()

"""Heartbeats beside work that waits for others: a killed worker is noticed within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

EVERY_SECONDS = 1.0


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Heartbeat while what is inside goes on."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(EVERY_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()

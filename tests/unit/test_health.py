"""What a worker answers probes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from common.health import Health
from common.settings import SettingsError


@pytest.fixture
async def served() -> AsyncIterator[tuple[Health, int]]:
    health = await Health.listen(("127.0.0.1", 0))
    assert health._server is not None
    yield health, health._server.sockets[0].getsockname()[1]
    health.close()


async def test_it_is_ready_while_it_takes_work(served: tuple[Health, int]) -> None:
    """It is alive all the time."""
    health, port = served
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def answers() -> list[int]:
            return [(await client.get(path)).status_code for path in ("healthz", "readyz", "elsewhere")]

        assert await answers() == [200, 503, 404]
        health.ready = True
        assert await answers() == [200, 200, 404]
        health.ready = False
        assert await answers() == [200, 503, 404]
        assert (await client.post("healthz")).status_code == 404


@pytest.mark.parametrize("said", [b"", b"GET", b"x" * 100_000], ids=["nothing", "half a line", "too much"])
async def test_who_asks_badly_is_left_alone(served: tuple[Health, int], said: bytes) -> None:
    """And others are answered."""
    _, port = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    writer.write_eof()
    with suppress(ConnectionResetError):  # where it was left alone with something unread
        assert await reader.read() == b""
    writer.close()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200


async def test_an_address_in_use_is_said(served: tuple[Health, int]) -> None:
    """By the setting that names it."""
    _, port = served
    with pytest.raises(SettingsError, match=f"HIBERNAUT_WORKER_HEALTH: cannot listen at 127.0.0.1:{port}"):
        await Health.listen(("127.0.0.1", port))


async def test_nowhere_is_an_address() -> None:
    """Without the setting nothing listens."""
    health = await Health.listen(None)
    health.ready = True
    health.close()

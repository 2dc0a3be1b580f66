"""The gateway's HTTP server under clients that send slowly, or that lie about where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway import http_protocol
from gateway.__main__ import OPTIONS
from testing.waiting import eventually
from tests.support.serving import Serving

WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the client's address, without reading the body."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = scope["client"][0].encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has headers be there soon from now on; who is answered before has time, however busy the machine is."""
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 60)
    return lambda: monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.5)


async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drip: bytes) -> bool:
    """Whether the server ends the connection soon, though something comes all the time."""
    for _ in range(600):
        try:
            writer.write(drip)
            await writer.drain()
            if await asyncio.wait_for(reader.read(1), 0.1) == b"":
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


@pytest.mark.parametrize("begun", [b"", b"GET / HT", WHOLE[:-2], WHOLE + b"GET / "])
async def test_half_a_header_does_not_hold_a_connection(begun: bytes, hurry: Callable[[], None]) -> None:
    """Not even dripped; neither the first nor a later one of the connection."""
    if WHOLE not in begun:
        hurry()
    async with Serving(app, options=OPTIONS) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(begun)
        if WHOLE in begun:
            await reader.readuntil(b"127.0.0.1")
            hurry()
        assert await ended(reader, writer, b"x" if begun else b"")
        writer.close()


async def test_half_a_body_does_not_hold_a_connection_once_it_is_answered(
    hurry: Callable[[], None],
) -> None:
    """Nobody reads it any more."""
    async with Serving(app, options=OPTIONS) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        await reader.readuntil(b"127.0.0.1")
        hurry()
        assert await ended(reader, writer, b"x")
        writer.close()


async def test_a_client_that_is_prompt_keeps_its_connection(hurry: Callable[[], None]) -> None:
    """Silence between requests is nobody's fault; and who sends a request is where the connection says."""
    async with Serving(app, options=OPTIONS) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await eventually(lambda: server.connections)
        hurry()
        for _ in range(2):
            writer.write(WHOLE)
            answer = await asyncio.wait_for(reader.readuntil(b"127.0.0.1"), 120)
            assert answer.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(1)
        writer.close()

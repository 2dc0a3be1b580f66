"""The proxy through which a worker reaches Temporal waits for a server that is away."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from asyncio import Server, StreamReader, StreamWriter
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.service import HttpConnectProxyConfig

from common.temporal import waiting_proxy
from common.temporal.waiting_proxy import WaitingProxy


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@pytest.fixture
def port() -> Iterator[int]:
    """One that nobody else gets, whether or not the server listens there just then."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def serve(port: int) -> Server:
    return await asyncio.start_server(echo, "127.0.0.1", port, reuse_port=True)


async def ask(proxy: HttpConnectProxyConfig, port: int) -> tuple[str, StreamReader, StreamWriter]:
    """The proxy's answer to a request for a connection to `port`, and that connection."""
    reader, writer = await asyncio.open_unix_connection(proxy.target_host.removeprefix("unix:"))
    writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[0], reader, writer


async def test_who_asks_while_the_server_is_away_is_connected_once_it_is_back(port: int) -> None:
    """And what is said then comes through, both ways, until one side ends."""
    proxy = await WaitingProxy().start()
    server = await serve(port)
    await ask(proxy, port)
    server.close()
    await server.wait_closed()
    asking = asyncio.create_task(ask(proxy, port))
    await asyncio.sleep(0.3)
    assert not asking.done()
    server = await serve(port)
    answer, reader, writer = await asking
    assert answer == "HTTP/1.1 200 OK"
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.write_eof()
    assert await reader.read() == b""
    server.close()


async def test_a_server_that_was_never_there_is_not_waited_for(port: int) -> None:
    """A wrong address is said at the start."""
    answer, _, _ = await ask(await WaitingProxy().start(), port)
    assert answer == "HTTP/1.1 503 Service Unavailable"


async def test_after_a_while_it_says_so(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK then asks again, and has something to put into its log."""
    monkeypatch.setattr(waiting_proxy, "HOLD_SECONDS", 0.2)
    proxy = await WaitingProxy().start()
    server = await serve(port)
    await ask(proxy, port)
    server.close()
    await server.wait_closed()
    answer, _, _ = await ask(proxy, port)
    assert answer == "HTTP/1.1 503 Service Unavailable"


async def test_who_ends_does_not_wait(port: int) -> None:
    """A worker that is to end while the server is away ends."""
    waiting = WaitingProxy()
    proxy = await waiting.start()
    server = await serve(port)
    await ask(proxy, port)
    server.close()
    await server.wait_closed()
    asking = asyncio.create_task(ask(proxy, port))
    await asyncio.sleep(0.3)
    assert not asking.done()
    waiting.stop_waiting()
    answer, _, _ = await asking
    assert answer == "HTTP/1.1 503 Service Unavailable"


@pytest.mark.skipif(sys.platform != "linux", reason="only there a socket can do without a name")
async def test_it_leaves_nothing_behind(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep the folder for temporary files is, and however the process ends."""
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    proxy = await WaitingProxy().start()
    assert list(deep.iterdir()) == []
    server = await serve(port)
    answer, _, _ = await ask(proxy, port)
    assert answer == "HTTP/1.1 200 OK"
    server.close()

"""A proxy between a worker and Temporal that waits for the server; without it, the SDK would back off.

The SDK's pollers retry after up to ten seconds, which cannot be configured: once the server was back, agents
whose activities had long ended waited for that long. Behind this proxy, which runs in the same process, no
connection is refused while the server is away: it is made as soon as there is a server, and what waited goes
out at once. The proxy does not read the traffic; TLS is end to end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio import BaseTransport, Transport
from typing import cast

from temporalio.service import HttpConnectProxyConfig

# The pause between attempts to reach the server, and the time-out of one: a network may just drop packets.
RETRY_SECONDS, TRY_SECONDS = 0.1, 2.0
# After this time the SDK gets an error, logs it, and asks for another connection.
HOLD_SECONDS = 300.0
# The maximum length of a CONNECT request.
REQUEST_BYTES = 1 << 14


class WaitingProxy:
    """An HTTP CONNECT proxy for a client of the same process."""

    def __init__(self) -> None:
        self._reached = False
        self._waits = True

    async def start(self) -> HttpConnectProxyConfig:
        """Listen for as long as the event loop runs; return the proxy configuration for the client.

        On a Unix socket, because a TCP connection to a proxy holds the SDK's small packets back for 40 ms.
        """
        loop = asyncio.get_running_loop()
        folder = tempfile.mkdtemp(prefix="hibernaut-")
        if sys.platform != "linux":
            self._server = await loop.create_unix_server(self._asked, f"{folder}/proxy")
            return HttpConnectProxyConfig(f"unix:{folder}/proxy")
        # Reach the socket by a descriptor, without a name: a path may be too long for a socket, nobody else
        # finds it, and nothing is left behind however the process ends.
        within = os.open(folder, os.O_DIRECTORY)
        name = f"/proc/self/fd/{within}/proxy"
        self._server = await loop.create_unix_server(self._asked, name)
        socket = os.open(name, os.O_PATH)
        os.unlink(name)
        os.close(within)
        os.rmdir(folder)
        return HttpConnectProxyConfig(f"unix:/proc/self/fd/{socket}")

    def stop_waiting(self) -> None:
        """From now on, refuse what cannot be connected at once: a process that ends must not wait for it."""
        self._waits = False

    def _asked(self) -> _Request:
        return _Request(self)

    async def join(self, client: Transport, target: str) -> bool:
        """Connect `client` to `target`; False if that is not reached in time. The first time, do not wait."""
        host, _, port = target.rpartition(":")
        loop = asyncio.get_running_loop()
        end = loop.time() + (HOLD_SECONDS if self._reached else 0.0)
        while True:
            try:
                trying = loop.create_connection(lambda: _Server(client), host.strip("[]"), int(port))
                await asyncio.wait_for(trying, TRY_SECONDS)
                self._reached = True
                return True
            except (OSError, TimeoutError):
                if not self._waits or client.is_closing() or loop.time() >= end:
                    return False
            await asyncio.sleep(RETRY_SECONDS)


class _Request(asyncio.Protocol):
    """A client that asks for a connection."""

    def __init__(self, proxy: WaitingProxy) -> None:
        self._proxy = proxy
        self._read = b""
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        self._client = cast("Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        if len(self._read) > REQUEST_BYTES or self._answering:
            self._client.abort()
        elif self._read.endswith(b"\r\n\r\n"):
            self._answering = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        _, target, *_ = self._read.decode("latin-1").split()
        if not await self._proxy.join(self._client, target):
            self._client.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            self._client.close()


class _End(asyncio.Protocol):
    """One end of a connection: what is read here is written to the other end.

    With callbacks, not streams: every byte between worker and server passes through here, and streams took a
    fifth of the worker's time.
    """

    def __init__(self, other: Transport) -> None:
        self._other = other

    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    def pause_writing(self) -> None:
        self._other.pause_reading()

    def resume_writing(self) -> None:
        self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._other.close()


class _Server(_End):
    """The server's end. It tells the client that it is connected first, as the server may speak first."""

    def connection_made(self, transport: BaseTransport) -> None:
        server = cast("Transport", transport)
        if self._other.is_closing():
            server.close()
        else:
            self._other.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self._other.set_protocol(_End(server))

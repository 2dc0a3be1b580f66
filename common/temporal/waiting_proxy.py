"""A worker's way to Temporal that waits for the server where the SDK alone is refused and backs off.

The SDK's pollers try again after up to ten seconds, and nothing configures that: an agent whose activity had
long ended stayed behind as long once the server was back. Behind this proxy, which is the process's own, no
connection is refused while the server is away: it is made as soon as there is a server, and what waited goes
out at once. What passes is not looked at; TLS goes through it from end to end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

from temporalio.service import HttpConnectProxyConfig

# Between two tries to reach the server, and for one of them: a network that swallows packets refuses nothing.
RETRY_SECONDS, TRY_SECONDS = 0.1, 2.0
# After so long the SDK hears of it, says so in its log, and asks for another connection.
HOLD_SECONDS = 300.0
CHUNK = 1 << 16


class WaitingProxy:
    """An HTTP CONNECT proxy for a client of the same process."""

    def __init__(self) -> None:
        self._reached = False
        self._waits = True

    async def start(self) -> HttpConnectProxyConfig:
        """Listen, as long as the event loop runs; what the client needs.

        On a Unix socket: the SDK sends small packets that a TCP connection to a proxy holds back for 40 ms.
        """
        folder = tempfile.mkdtemp(prefix="hibernaut-")
        if sys.platform != "linux":
            self._server = await asyncio.start_unix_server(self._serve, f"{folder}/proxy")
            return HttpConnectProxyConfig(f"unix:{folder}/proxy")
        # Reached by a descriptor it needs no name, which may be too long for a socket: nobody else finds it,
        # and nothing is left behind, however the process ends.
        within = os.open(folder, os.O_DIRECTORY)
        name = f"/proc/self/fd/{within}/proxy"
        self._server = await asyncio.start_unix_server(self._serve, name)
        socket = os.open(name, os.O_PATH)
        os.unlink(name)
        os.close(within)
        os.rmdir(folder)
        return HttpConnectProxyConfig(f"unix:/proc/self/fd/{socket}")

    def stop_waiting(self) -> None:
        """From now on refuse what cannot be connected at once: who ends does not wait for a server."""
        self._waits = False

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if there := await self._reach(request.split()[1]):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
            else:
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            # Cancelled with the event loop: asyncio's own callback would complain of it.
            pass
        finally:
            await _close(writer)

    async def _reach(self, target: str) -> tuple[StreamReader, StreamWriter] | None:
        """A connection to `target`; None where there is none in time, and at once before the first."""
        host, _, port = target.rpartition(":")
        loop = asyncio.get_running_loop()
        end = loop.time() + (HOLD_SECONDS if self._reached else 0.0)
        while True:
            try:
                trying = asyncio.open_connection(host.strip("[]"), int(port))
                there = await asyncio.wait_for(trying, TRY_SECONDS)
                self._reached = True
                return there
            except (OSError, TimeoutError):
                if not self._waits or loop.time() >= end:
                    return None
            await asyncio.sleep(RETRY_SECONDS)


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    """Pass on what comes until it ends, then close the other side, too."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    finally:
        await _close(writer)


async def _close(writer: StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()

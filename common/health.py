"""A worker's health endpoint, for probes such as those of Kubernetes."""

from __future__ import annotations

import asyncio
from typing import Self

from common.settings import SettingsError

# Limits of one request: a probe sends a few lines at once.
SECONDS, BYTES = 5, 8192


class Health:
    """`GET /healthz`: 200 while the process runs at all. `GET /readyz`: 200 while it takes work, else 503."""

    def __init__(self) -> None:
        self.ready = False
        self._server: asyncio.Server | None = None

    @classmethod
    async def listen(cls, address: tuple[str, int] | None) -> Self:
        """Answer at `address` from now on; if it is None, nowhere.

        Raises:
            SettingsError: it cannot listen there.
        """
        health = cls()
        if address:
            host, port = address
            try:
                health._server = await asyncio.start_server(
                    health._answer, host.strip("[]"), port, limit=BYTES
                )
            except OSError as error:
                raise SettingsError(
                    f"HIBERNAUT_WORKER_HEALTH: cannot listen at {host}:{port}: {error.strerror}."
                ) from None
        return health

    def close(self) -> None:
        """Stop answering."""
        if self._server:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                asked = (await reader.readuntil(b"\r\n\r\n")).split()[:2]
                ending = "Content-Length: 0\r\nConnection: close\r\n\r\n"
                writer.write(f"HTTP/1.1 {self._status(asked)}\r\n{ending}".encode())
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client is gone, or sent no request
        finally:
            writer.close()

    def _status(self, asked: list[bytes]) -> str:
        match asked:
            case [b"GET", b"/healthz"]:
                return "200 OK"
            case [b"GET", b"/readyz"]:
                return "200 OK" if self.ready else "503 Service Unavailable"
            case _:
                return "404 Not Found"

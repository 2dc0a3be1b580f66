"""Serves an application on a loopback port, in this process."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Any, Self

import uvicorn


class Serving:
    """Serves `app` while entered."""

    def __init__(self, app: Any, port: int = 0, options: dict[str, Any] | None = None) -> None:
        self.app = app
        self.options = options or {}
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(1024)
        self.port = int(self._socket.getsockname()[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._server.server_state.connections)

    async def __aenter__(self) -> Self:
        usual = {"log_config": None, "access_log": False, "timeout_graceful_shutdown": 1, "lifespan": "on"}
        config = uvicorn.Config(self.app, **{**usual, **self.options})
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            assert not self._task.done(), self._task.exception()
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        await self._task
        self._socket.close()


class _Server(uvicorn.Server):
    """Does not install signal handlers: signals belong to the test runner."""

    def capture_signals(self) -> Any:
        import contextlib

        return contextlib.nullcontext()

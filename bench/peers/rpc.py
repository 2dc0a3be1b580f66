"""The entry point of a peer's worker: requests and answers as lines of JSON on a Unix socket.

Kit and bare need none: a Temporal client starts and wakes their agents. The peers are libraries, so their
process needs an entry point.
"""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from common.lifecycle import WORKER_READY

Handler = Callable[..., Awaitable[Any]]


async def serve(socket: Path, handlers: Mapping[str, Handler]) -> None:
    """Answer requests, `{"call": n, "do": name, …}`, with the handler of that name, until SIGTERM."""
    # A killed worker leaves its socket behind.
    await asyncio.to_thread(socket.unlink, missing_ok=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    answering: set[asyncio.Task[None]] = set()

    async def answer(request: dict[str, Any], writer: StreamWriter) -> None:
        call = request.pop("call")
        try:
            answer = {"call": call, "result": await handlers[request.pop("do")](**request)}
        except Exception as error:  # report any error to the caller
            answer = {"call": call, "error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(answer).encode() + b"\n")

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        while line := await reader.readline():
            task = asyncio.create_task(answer(json.loads(line), writer))
            answering.add(task)
            task.add_done_callback(answering.discard)

    async with await asyncio.start_unix_server(connected, socket):
        print(WORKER_READY, flush=True)
        await stopped.wait()


class RpcClient:
    """The client side."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self._reading: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect to the worker that listens now."""
        reader, self._writer = await asyncio.open_unix_connection(self._socket)
        self._reading = asyncio.create_task(self._read(reader))

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Send a request and return the answer.

        Raises:
            ConnectionError: the worker ended before it answered.
            RuntimeError: the request failed.
        """
        if self._reading is None or self._reading.done():
            raise ConnectionError("there is no worker")
        self._next += 1
        call = self._next
        self._calls[call] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({"call": call, "do": do, **arguments}).encode() + b"\n")
        return await self._calls[call]

    async def _read(self, reader: StreamReader) -> None:
        try:
            while line := await reader.readline():
                answer = json.loads(line)
                call = self._calls.pop(answer["call"])
                if "error" in answer:
                    call.set_exception(RuntimeError(answer["error"]))
                else:
                    call.set_result(answer["result"])
        except ConnectionError:
            pass
        finally:
            left, self._calls = self._calls, {}
            for each in left.values():
                if not each.done():
                    each.set_exception(ConnectionError("the worker ended"))

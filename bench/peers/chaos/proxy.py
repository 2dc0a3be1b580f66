"""A TCP proxy on loopback that cuts connections, delays requests, and loses answers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

HOST = "127.0.0.1"
CHUNK = 65_536
# Range of delays, in seconds.
HELD_UP = (0.2, 1.5)
# How long a connection's answers are lost before it breaks.
LOSES_FOR = 0.5
# An answer that takes longer than this is not lost any more.
LOSES_UNTIL = 5.0
_CONTINUE = b"HTTP/1.1 100 "


class RequestFault(StrEnum):
    """What happens to a request: its connection breaks, it is delayed, or its answer is lost."""

    CUT = "cuts"
    DELAY = "delays"
    SWALLOW = "swallowed"


class Proxy:
    """Proxies one server's port; `count` records what really happened, by name.

    Args:
        name: the server's name, for people.
        target: its port on loopback.
        chance: source of randomness.
        is_request: whether a client's bytes are a request whose answer may be lost; by default all are.
    """

    def __init__(
        self,
        name: str,
        target: int,
        chance: random.Random,
        is_request: Callable[[bytes], bool] = lambda data: True,
    ) -> None:
        self.name = name
        self.count = Counter[str]()
        self.port = 0
        self.is_away = False
        self._met = 0
        self._target = target
        self._chance = chance
        self._is_request = is_request
        self._next: RequestFault | None = None
        self._links: set[_Link] = set()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break all connections and stop listening."""
        self._server.close()
        self._break()

    def inject(self, fault: RequestFault | None) -> None:
        """Make this happen to the next request of any client; None cancels it."""
        self._next = fault

    def go_away(self) -> None:
        """Break all connections and refuse new ones, like a server that is down."""
        self.is_away = True
        self._met = len(self._links)
        self._break()

    @property
    def is_missed(self) -> bool:
        """Whether any client has noticed its absence."""
        return self._met > 0

    def come_back(self) -> None:
        """Accept connections again."""
        self.is_away = False

    def next_fault(self, data: bytes) -> RequestFault | None:
        """What should happen to this request."""
        fault = self._next
        if fault is None or not (fault is RequestFault.DELAY or self._is_request(data)):
            return None
        self._next = None
        return fault

    async def hold_up(self) -> None:
        """Delay a request."""
        self.count[RequestFault.DELAY] += 1
        await asyncio.sleep(self._chance.uniform(*HELD_UP))

    def _break(self) -> None:
        for link in list(self._links):
            link.break_off()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_away:
            self.count["refused"] += 1
            self._met += 1
            writer.transport.abort()
            return
        try:
            there, thither = await asyncio.open_connection(HOST, self._target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, writer, thither)
        self._links.add(link)
        try:
            await asyncio.gather(link.pass_requests(reader), link.pass_answers(there))
        finally:
            self._links.discard(link)
            link.break_off()


class _Link:
    """A client's connection, paired with one to the server."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._loses = False
        self._has_lost = False

    async def pass_requests(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(CHUNK):
                match self._proxy.next_fault(data):
                    case RequestFault.CUT:
                        self._proxy.count[RequestFault.CUT] += 1
                        return self.break_off()
                    case RequestFault.DELAY:
                        await self._proxy.hold_up()
                    case RequestFault.SWALLOW:
                        self._loses = True
                        asyncio.get_running_loop().call_later(LOSES_UNTIL, self._end_loss)
                self._server.write(data)
                await self._server.drain()
            self._server.write_eof()
        except (OSError, RuntimeError):
            self.break_off()

    async def pass_answers(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self._loses and not data.startswith(_CONTINUE):
                    self._lose()
                    continue
                self._client.write(data)
                await self._client.drain()
            # A lost answer has no end either: the connection breaks.
            if not self._loses:
                self._client.write_eof()
        except (OSError, RuntimeError):
            self.break_off()

    def break_off(self) -> None:
        """Abort both connections."""
        self._client.transport.abort()
        self._server.transport.abort()

    def _lose(self) -> None:
        if not self._has_lost:
            self._has_lost = True
            self._proxy.count[RequestFault.SWALLOW] += 1
            asyncio.get_running_loop().call_later(LOSES_FOR, self.break_off)

    def _end_loss(self) -> None:
        self._loses = self._has_lost

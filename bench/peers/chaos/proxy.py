"""A TCP proxy on loopback that cuts connections, holds them up, passes requests on and loses the answers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

HOST = "127.0.0.1"
CHUNK = 65_536
# A connection is held up for so many seconds.
HELD_UP = (0.2, 1.5)
# So long the answers of one connection are lost, before it breaks.
LOSES_FOR = 0.5
# An answer that has not come by then has not been lost, either.
LOSES_UNTIL = 5.0
_CONTINUE = b"HTTP/1.1 100 "


class Strike(StrEnum):
    """What happens to a request: its connection breaks, it is late, or its answer is lost."""

    CUT = "cuts"
    DELAY = "delays"
    SWALLOW = "swallowed"


class Proxy:
    """Stands before the port of one server; `count` has what has truly happened, by name.

    Args:
        name: of the server, for people.
        target: its port on loopback.
        chance: draws the moments.
        is_request: whether bytes of a client are a request whose answer may be lost; all are by default.
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
        self._next: Strike | None = None
        self._links: set[_Link] = set()

    async def start(self) -> None:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break every connection, and listen no more."""
        self._server.close()
        self._break()

    def strike(self, strike: Strike | None) -> None:
        """Have this happen to the next request that a client sends; None takes it back."""
        self._next = strike

    def go_away(self) -> None:
        """Break every connection and accept none, as a server does that is down."""
        self.is_away = True
        self._met = len(self._links)
        self._break()

    @property
    def is_missed(self) -> bool:
        """Whether anybody has met with its absence."""
        return self._met > 0

    def come_back(self) -> None:
        """Be there again."""
        self.is_away = False

    def struck(self, data: bytes) -> Strike | None:
        """What is to happen to this request."""
        strike = self._next
        if strike is None or not (strike is Strike.DELAY or self._is_request(data)):
            return None
        self._next = None
        return strike

    async def hold_up(self) -> None:
        """Keep a request waiting."""
        self.count[Strike.DELAY] += 1
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
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._loses = False
        self._has_lost = False

    async def pass_requests(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(CHUNK):
                match self._proxy.struck(data):
                    case Strike.CUT:
                        self._proxy.count[Strike.CUT] += 1
                        return self.break_off()
                    case Strike.DELAY:
                        await self._proxy.hold_up()
                    case Strike.SWALLOW:
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
            # Where the answer is lost its end is, too: the connection breaks.
            if not self._loses:
                self._client.write_eof()
        except (OSError, RuntimeError):
            self.break_off()

    def break_off(self) -> None:
        """Break both connections without a word."""
        self._client.transport.abort()
        self._server.transport.abort()

    def _lose(self) -> None:
        if not self._has_lost:
            self._has_lost = True
            self._proxy.count[Strike.SWALLOW] += 1
            asyncio.get_running_loop().call_later(LOSES_FOR, self.break_off)

    def _end_loss(self) -> None:
        self._loses = self._has_lost

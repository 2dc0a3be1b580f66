"""uvicorn's HTTP/1.1 protocol with a deadline: a request, once begun, must arrive in time."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 15.0


class PromptH11Protocol(H11Protocol):
    """Closes a connection that takes over ``HEADER_SECONDS`` to send its headers, or the rest of a body
    after the answer.

    uvicorn limits only the silence between requests, so a slow client could hold a connection for ever.
    `edge.py` limits the time for the body of a request that is being answered.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See the base class."""
        super().connection_made(transport)
        self._start_waiting()

    def data_received(self, data: bytes) -> None:
        """See the base class."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._start_waiting()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """See the base class."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _start_waiting(self) -> None:
        if self._deadline is None:  # never extend it, or a slow trickle would
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

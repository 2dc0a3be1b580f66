"""The outermost layer: bounds a request's body, sets the headers that every answer has, counts."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import Metrics
from gateway.problems import Problem, respond

BODY_WITHIN = 30.0  # seconds for a body of a few hundred KB; slower is no client but a siege

# Nothing from anywhere else, no script or style inside a page, no framing.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # The page behind an approval link must not hand its address on to others.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Edge:
    """Wraps the application.

    Args:
        app: what to wrap.
        metrics: where to count.
        max_bytes: of a body.
        secure: whether people reach the gateway by https, which browsers shall then insist on.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_bytes: int, *, secure: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._headers = dict(HEADERS)
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        body = _Body(receive, self._max_bytes)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.count(scope["method"], route, message["status"], time.monotonic() - began)
            await send(message)

        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await respond(body.too_large())(scope, receive, send_with_headers)
            return
        await self._app(scope, body.receive, send_with_headers)


class _Body:
    """A request's body as it comes, cut off where it is too large or too slow."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._bytes = 0
        self._complete = False
        self._until = time.monotonic() + BODY_WITHIN

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the client to go away, however long that takes
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, "The body came too slowly.") from None
        self._bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._bytes > self._max_bytes:
            raise self.too_large()
        return message

    def too_large(self) -> Problem:
        return Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body may have {self._max_bytes} bytes at most."
        )

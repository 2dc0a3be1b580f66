"""The outermost middleware: checks the host, limits the body, sets headers, counts and traces requests."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.telemetry.spans import Span, span
from gateway.metrics import Metrics, method_of
from gateway.problems import Problem, respond

BODY_SECONDS = 30.0  # for a few hundred KB; a client that takes longer is holding a connection on purpose

# Not traced: programs call these every few seconds, which would fill the traces.
UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})

# Nothing from another origin, no inline script or style, no framing.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # An approval link is a secret, and must not leak as a referrer.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class EdgeMiddleware:
    """Wraps the application.

    Args:
        app: the application.
        metrics: counts the requests.
        max_bytes: limit of a request's body.
        names: accepted hosts, besides numeric addresses.
        secure: people use https, so browsers are told to insist on it (HSTS).
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, max_bytes: int, *, names: frozenset[str], secure: bool
    ) -> None:
        self._app = app
        self._names = names
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._headers = dict(HEADERS)
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = method_of(scope["method"])
        if scope["path"] in UNTRACED:
            await self._answer(scope, receive, send, None)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with span(method, "SERVER", {"http.request.method": method}, headers) as current:
            await self._answer(scope, receive, send, current)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, current: Span | None) -> None:
        began, method = time.monotonic(), method_of(scope["method"])
        body = _Body(receive, self._max_bytes)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.count(method, route, message["status"], time.monotonic() - began)
                if current:
                    current.update_name(f"{method} {route}")
                    current.set_attribute("http.route", route)
                    current.set_attribute("http.response.status_code", message["status"])
            await send(message)

        if not _is_for(scope, self._names):
            problem = Problem(HTTPStatus.MISDIRECTED_REQUEST, "This gateway does not answer to that name.")
            await respond(problem)(scope, receive, send_with_headers)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await respond(body.too_large())(scope, receive, send_with_headers)
            return
        await self._app(scope, body.receive, send_with_headers)


def _is_for(scope: Scope, names: frozenset[str]) -> bool:
    """Whether a request is for one of these hosts, or for a numeric address.

    This stops DNS rebinding: another site's page can reach us only under its own name, which its DNS points
    to this machine, and that name is never numeric.
    """
    try:
        [given] = [value.decode("ascii") for name, value in scope["headers"] if name == b"host"]
        host = urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return False
    return host in names or _is_numeric(host)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Body:
    """A request's body as it arrives; refused once it is too large or too slow."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._bytes = 0
        self._complete = False
        self._until = time.monotonic() + BODY_SECONDS

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # wait for the client to disconnect, however long that takes
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

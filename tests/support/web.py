"""A web server for tests: a table of routes, faults that can change at run time, and an access log.

    with WebServer({"/a": Route("<p>hello", etag='"1"')}) as site:
        site.routes["/a"] = Route(status=429, headers={"Retry-After": "30"})
        site.hits("/a")   # every request to it, with time and headers

It runs in a thread on a chosen loopback address (127.0.0.2 and 127.0.0.3 are different hosts).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Hit:
    """One request: seconds since the epoch, Host header, path with its query, headers in lower case, body."""

    at: float
    host: str
    path: str
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True)
class Route:
    """The answer of a path.

    Attributes:
        body: text, or bytes, or a function of the hit that gives either, or another route.
        status: HTTP status.
        content_type: empty leaves the header out.
        headers: sent as well.
        etag: sent; a request with it in If-None-Match gets 304.
        modified: seconds since the epoch, sent as Last-Modified; the same text in If-Modified-Since gets 304.
        zipped: sent with Content-Encoding gzip.
        first_byte_after: seconds of silence before the answer.
        drip: seconds between two bytes of the body.
        endless: after the body come zeros without end, and no Content-Length is sent.
        cut: the connection is closed after half of the promised body.
        times: how often this answer is given; after that, `then` applies. 0 means always.
        then: the next route.
    """

    body: str | bytes | Callable[[Hit], str | bytes | Route] = ""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    modified: float | None = None
    zipped: bool = False
    first_byte_after: float = 0.0
    drip: float = 0.0
    endless: bool = False
    cut: bool = False
    times: int = 0
    then: Route | None = None


def redirect(to: str, status: int = 302) -> Route:
    """A redirect."""
    return Route(status=status, headers={"Location": to})


def as_json(value: object) -> Route:
    """A JSON answer."""
    return Route(json.dumps(value), content_type="application/json")


def gzip_bomb(size: int) -> bytes:
    """`size` zeros as gzip, a thousandth of it in length; for a body with the header Content-Encoding."""
    return gzip.compress(b"\0" * size, 9)


class WebServer:
    """A running site. `routes` may change while it runs; unknown paths get 404."""

    def __init__(
        self,
        routes: Mapping[str, Route] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.routes: dict[str, Route] = dict(routes or {})
        self.default = Route("not here", status=404)
        self.log: list[Hit] = []
        self._given: list[tuple[str, Route]] = []
        self._closing = threading.Event()
        site = self

        class Handler(_Handler):
            def answer(self, hit: Hit) -> Route:
                return site._answer(hit)

            closing = self._closing

        self._server = _Server((host, port), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def host(self) -> str:
        """`address:port`."""
        return f"{self._server.server_address[0]!s}:{self.port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/") -> str:
        """The absolute address of a path."""
        return f"http://{self.host}{path}"

    def hits(self, path: str | None = None) -> list[Hit]:
        """All requests so far, in order; only those to one path if given."""
        return [hit for hit in list(self.log) if path is None or hit.path == path]

    def paths(self) -> list[str]:
        """The requested paths, in order."""
        return [hit.path for hit in list(self.log)]

    def most_within(self, seconds: float) -> int:
        """The largest number of requests within any `seconds`."""
        times = sorted(hit.at for hit in list(self.log))
        return max((sum(at <= other < at + seconds for other in times) for at in times), default=0)

    def close(self) -> None:
        """Stop; hanging and slow answers are cut off."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, hit: Hit) -> Route:
        self.log.append(hit)
        path = hit.path.partition("?")[0]
        route = self.routes.get(hit.path) or self.routes.get(path) or self.default
        self._given.append((path, route))
        while route.times and sum(was == (path, route) for was in self._given) > route.times:
            route = route.then or self.default
            self._given.append((path, route))
        while callable(route.body):
            answer = route.body(hit)
            route = answer if isinstance(answer, Route) else Route(answer)
        return route


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Clients may keep connections open; waiting for them could take arbitrarily long.
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect early: many tests do that."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    closing: threading.Event

    def answer(self, hit: Hit) -> Route:
        raise NotImplementedError

    def do_GET(self) -> None:
        now = time.time()
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(length)
        hit = Hit(now, headers.get("host", ""), self.path, headers, self.command, body)
        self._send(self.answer(hit), hit)

    do_POST = do_HEAD = do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing; the access log is `WebServer.log`."""

    def _send(self, route: Route, hit: Hit) -> None:
        body = route.body.encode() if isinstance(route.body, str) else route.body
        assert isinstance(body, bytes)
        if route.zipped:
            body = gzip.compress(body)
        headers = dict(route.headers)
        if route.content_type:
            headers.setdefault("Content-Type", route.content_type)
        if route.zipped:
            headers["Content-Encoding"] = "gzip"
        if route.etag:
            headers["ETag"] = route.etag
        modified = formatdate(route.modified, usegmt=True) if route.modified is not None else ""
        if modified:
            headers["Last-Modified"] = modified
        same = (route.etag and hit.headers.get("if-none-match") == route.etag) or (
            not route.etag and modified and hit.headers.get("if-modified-since") == modified
        )
        self.closing.wait(route.first_byte_after)
        self.send_response(304 if same else route.status)
        if route.endless:
            self.close_connection = True
            headers["Connection"] = "close"
        else:
            headers.setdefault("Content-Length", "0" if same else str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if same or hit.method == "HEAD":
            return
        with contextlib.suppress(OSError):
            self._send_body(route, body)

    def _send_body(self, route: Route, body: bytes) -> None:
        if route.cut:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if not route.drip:
            self.wfile.write(body)
        else:
            for number in range(len(body)):
                self.wfile.write(body[number : number + 1])
                if self.closing.wait(route.drip):
                    return
        while route.endless and not self.closing.is_set():
            self.wfile.write(b"\0" * 65536)

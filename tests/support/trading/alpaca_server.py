"""A simulated Alpaca on loopback: the parts of its Trading API v2 and market data API that are used here.

It keeps orders, checks the key, and can fail the next requests in the ways that networks do.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

KEY, SECRET = "test-key", "test-secret"


@dataclass
class Answer:
    """The answer to the next request; with `book` the request takes effect before the answer.

    `cut` closes the connection without an answer; `slow` waits that many seconds first.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    book: bool = False
    cut: bool = False
    slow: float = 0


class AlpacaServer:
    """`with AlpacaServer() as server:` serves at `server.url`. `orders` is by client order id."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.trades: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self._script: list[Answer] = []
        self._lock = threading.Lock()

    def script(self, *answers: Answer) -> None:
        """Give these answers to the next requests."""
        self._script.extend(answers)

    def __enter__(self) -> AlpacaServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                outer._serve(self)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length)) if length else None
        with self._lock:
            self.requests.append((request.command, request.path, body))
            answer = self._script.pop(0) if self._script else None
            if answer is None or answer.book:
                status, result = self._do(request, body)
            if answer is None:
                answer = Answer(status, result)
        time.sleep(answer.slow)
        if answer.cut:
            request.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        payload = b"" if answer.body is None else text.encode()
        try:
            request.send_response(answer.status)
            for name, value in answer.headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(payload)))
            request.end_headers()
            request.wfile.write(payload)
        except ConnectionError:
            pass  # the client has already disconnected

    def _do(self, request: BaseHTTPRequestHandler, body: Any) -> tuple[int, Any]:
        url = urlsplit(request.path)
        if (request.headers["APCA-API-KEY-ID"], request.headers["APCA-API-SECRET-KEY"]) != (KEY, SECRET):
            return 401, {"code": 40110000, "message": "request is not authorized"}
        match request.command, url.path:
            case "POST", "/v2/orders":
                return self._place(body)
            case "GET", "/v2/orders:by_client_order_id":
                order = self.orders.get(parse_qs(url.query)["client_order_id"][0])
                return (200, order) if order else (404, {"code": 40410000, "message": "order not found"})
            case "DELETE", path if path.startswith("/v2/orders/"):
                return self._cancel(path.rsplit("/", 1)[1])
            case "GET", "/v2/clock":
                return 200, {
                    "timestamp": "2026-11-24T10:00:00-05:00",
                    "is_open": True,
                    "next_open": "2026-11-25T09:30:00-05:00",
                    "next_close": "2026-11-24T16:00:00-05:00",
                }
            case "GET", "/v2/stocks/trades/latest":
                symbol = parse_qs(url.query)["symbols"][0]
                return 200, {"trades": {symbol: self.trades[symbol]} if symbol in self.trades else {}}
        return 404, {"code": 40410000, "message": "endpoint not found"}

    def _place(self, body: Any) -> tuple[int, Any]:
        name = body["client_order_id"]
        if name in self.orders:
            return 422, {"code": 40010001, "message": "client_order_id must be unique"}
        if float(body["qty"]) * float(body["limit_price"]) > 100_000:
            return 403, {"code": 40310000, "message": "insufficient buying power"}
        self.orders[name] = {
            **body,
            "id": str(uuid4()),
            "filled_qty": "0",
            "filled_avg_price": None,
            "status": "accepted",
            "submitted_at": "2026-11-24T15:00:00.123456789Z",
            "updated_at": "2026-11-24T15:00:00.123456789Z",
        }
        return 200, self.orders[name]

    def _cancel(self, number: str) -> tuple[int, Any]:
        order = next((each for each in self.orders.values() if each["id"] == number), None)
        if order is None:
            return 404, {"code": 40410000, "message": "order not found"}
        if order["status"] in ("filled", "canceled", "expired"):
            return 422, {"code": 42210000, "message": "order is not cancelable"}
        order["status"] = "canceled"
        return 204, None

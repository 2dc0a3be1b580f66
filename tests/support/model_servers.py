"""Servers on loopback that speak the protocols of language model providers, correctly or with faults."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ERRORS: dict[str, dict[Any, Any]] = {
    "openai": {
        401: {
            "error": {"message": "no such key", "type": "invalid_request_error", "code": "invalid_api_key"}
        },
        "filter": {
            "error": {"message": "filtered", "type": "invalid_request_error", "code": "content_filter"}
        },
        "long": {
            "error": {
                "message": "This model's maximum context length is 8 tokens.",
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
            }
        },
    },
    "anthropic": {
        401: {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
        529: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "long": {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"},
        },
    },
    "bedrock": {
        401: {"message": "The security token included in the request is invalid."},
        "long": {"message": "Input is too long for requested model."},
    },
}
BEDROCK_TYPES: dict[Any, str] = {
    429: "ThrottlingException",
    500: "InternalServerException",
    529: "ServiceUnavailableException",
    401: "UnrecognizedClientException",
    "long": "ValidationException",
}


@dataclass
class ModelRequest:
    """One request that the server received."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class ModelServer:
    """Answers each request with the next entry of `script`; the last entry is repeated.

    An entry is a text (a good answer) or a fault: `429:SECONDS`, `429:date`, `500`, `529`, `slow`, `trickle`
    (byte by byte, without end), `cut`, `malformed`, `html`, `huge`, `401`, `filter`, `long`, `stop:TEXT` (cut
    off at the token limit), `status:NUMBER:BODY`, `tool:NAME:ARGUMENTS` (OpenAI's protocol only: calls a tool
    that was not offered). It may also be a function that takes the request and returns an entry.
    """

    protocol: str
    script: Sequence[str | Callable[[ModelRequest], str]]
    port: int = 0
    seen: list[ModelRequest] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    bytes_sent: int = 0
    on_answered: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    usage: tuple[int, int] = (30, 7)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}" + ("/v1" if self.protocol == "openai" else "")

    def next(self, seen: ModelRequest) -> str:
        with self.lock:
            step = self.script[min(len(self.seen), len(self.script) - 1)]
            self.seen.append(seen)
        return step if isinstance(step, str) else step(seen)


@contextmanager
def serving(protocol: str, *script: str | Callable[[ModelRequest], str]) -> Iterator[ModelServer]:
    """Run a server of `protocol`."""
    server = ModelServer(protocol, script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                _handle(self, server)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore clients that were killed."""

    http = Quiet(("127.0.0.1", 0), Handler)
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        http.shutdown()
        http.server_close()
        thread.join(10)


def _handle(request: BaseHTTPRequestHandler, server: ModelServer) -> None:
    body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
    number = len(server.seen)
    step = server.next(ModelRequest(request.path, body, dict(request.headers)))
    kind, _, detail = step.partition(":")
    if kind == "429":
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        wait = {"Retry-After": when if detail == "date" else detail} if detail else {}
        _send(request, server, 429, _error(server, 429), wait, error=429)
    elif kind in ("500", "529", "401"):
        own = {
            "529": {"bedrock": 503}.get(server.protocol, 529),
            "401": {"bedrock": 403}.get(server.protocol, 401),
        }
        _send(request, server, own.get(kind, 500), _error(server, int(kind)), error=int(kind))
    elif kind == "status":
        status, _, said = detail.partition(":")
        kind_of_error = "long" if server.protocol == "bedrock" else None
        _send(request, server, int(status), said.encode(), error=kind_of_error)
    elif kind == "long":
        _send(request, server, 400, _error(server, "long"), error="long")
    elif kind == "filter" and server.protocol == "openai" and detail == "http":
        _send(request, server, 400, _error(server, "filter"))
    elif kind == "slow":
        server.stop.wait(20)
        request.close_connection = True
    elif kind == "trickle":
        _head(request, 200, 1_000)
        while not server.stop.wait(0.2):
            request.wfile.write(b" ")
            request.wfile.flush()
    elif kind == "cut":
        data = json.dumps(_good(server, "x" * 2000, body)).encode()
        _head(request, 200, len(data))
        request.wfile.write(data[: len(data) // 2])
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True
    elif kind == "malformed":
        _send(request, server, 200, b'{"choices": [{"mess')
    elif kind == "html":
        _send(request, server, 200, b"<!doctype html><h1>502 Bad Gateway</h1>", {"Content-Type": "text/html"})
    elif kind == "huge":
        _head(request, 200, 20_000_000)
        for _ in range(200):
            request.wfile.write(b" " * 100_000)
            server.bytes_sent += 100_000
    else:
        answer = _good(server, detail if kind == "stop" else step, body, filtered=kind == "filter")
        if kind == "stop":
            _cut(answer)
        elif kind == "tool":
            _call(answer, detail)
        data = json.dumps(answer).encode()
        _send(request, server, 200, data)
        server.answered.append(number)
        server.on_answered()


def _send(
    request: BaseHTTPRequestHandler,
    server: ModelServer,
    status: int,
    data: bytes,
    headers: dict[str, str] | None = None,
    error: object = None,
) -> None:
    if error is not None and server.protocol == "bedrock":
        headers = {**(headers or {}), "x-amzn-ErrorType": BEDROCK_TYPES[error]}
    _head(request, status, len(data), headers)
    request.wfile.write(data)
    request.wfile.flush()


def _head(
    request: BaseHTTPRequestHandler, status: int, length: int, headers: dict[str, str] | None = None
) -> None:
    request.send_response(status)
    for name, value in {
        "Content-Type": "application/json",
        "Content-Length": str(length),
        **(headers or {}),
    }.items():
        request.send_header(name, value)
    request.end_headers()


def _error(server: ModelServer, kind: Any) -> bytes:
    plain: dict[Any, Any] = {
        "error": {"message": f"error {kind}", "type": "error", "code": None},
        "message": "no",
    }
    return json.dumps(ERRORS[server.protocol].get(kind, plain)).encode()


def _cut(answer: dict[str, Any]) -> None:
    """Turn an answer into one that stopped at the output token limit."""
    if "choices" in answer:
        answer["choices"][0]["finish_reason"] = "length"
    elif "stop_reason" in answer:
        answer["stop_reason"] = "max_tokens"
    else:
        answer["stopReason"] = "max_tokens"


def _call(answer: dict[str, Any], detail: str) -> None:
    """Turn an answer into one that calls a tool."""
    name, _, arguments = detail.partition(":")
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    answer["choices"][0] |= {
        "message": {"role": "assistant", "content": None, "tool_calls": [call]},
        "finish_reason": "tool_calls",
    }


def _good(server: ModelServer, text: str, body: dict[str, Any], filtered: bool = False) -> dict[str, Any]:
    """A good answer: as a tool call if the request offers a tool and the text is JSON, otherwise as text."""
    read, written = server.usage
    as_tool = text.startswith("{")
    if server.protocol == "openai":
        called = body.get("tools") and as_tool
        message: dict[str, Any] = {"role": "assistant", "content": None if called else text}
        if called:
            function = {"name": body["tools"][0]["function"]["name"], "arguments": text}
            message["tool_calls"] = [{"id": "c1", "type": "function", "function": function}]
        finish = "content_filter" if filtered else "tool_calls" if called else "stop"
        return {
            "id": "r1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }
    if server.protocol == "anthropic":
        called = body.get("tools") and as_tool
        part: dict[str, Any] = {"type": "text", "text": text}
        if called:
            part = {
                "type": "tool_use",
                "id": "c1",
                "name": body["tools"][0]["name"],
                "input": json.loads(text),
            }
        return {
            "id": "r1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [part],
            "stop_reason": "refusal" if filtered else "tool_use" if called else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": read, "output_tokens": written},
        }
    called = body.get("toolConfig") and as_tool
    content: dict[str, Any] = {"text": text}
    if called:
        name = body["toolConfig"]["tools"][0]["toolSpec"]["name"]
        content = {"toolUse": {"toolUseId": "c1", "name": name, "input": json.loads(text)}}
    return {
        "output": {"message": {"role": "assistant", "content": [content]}},
        "stopReason": "content_filtered" if filtered else "tool_use" if called else "end_turn",
        "usage": {"inputTokens": read, "outputTokens": written, "totalTokens": read + written},
        "metrics": {"latencyMs": 1},
    }

"""llama.cpp's server on loopback: start, stop, kill, and read its counters."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from testing.waiting import eventually
from tests.support.llama.build import MODEL, SERVER

CONTEXT, SLOTS = 1024, 2
# Logit bias of tokens that end an answer, or end a string or a list within JSON: without it a base model
# repeats itself until its limit.
LIKELIER = {1: 6, 236775: 4, 25938: 4, 827: 4, 236842: 4, 15947: 4, 165075: 4, 1781: 4, 10498: 4}


class LlamaServer:
    """A server that can be stopped and restarted; each start resets its counters."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "llama-server.log"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start or restart it, and wait until the model is loaded."""
        command = [
            *(str(SERVER), "--model", str(MODEL), "--host", "127.0.0.1", "--port", str(self.port)),
            *("--metrics", "--offline", "--no-ui", "--no-warmup", "--seed", "7", "--threads", "1"),
            *("--ctx-size", str(CONTEXT * SLOTS), "--parallel", str(SLOTS), "--no-kv-unified"),
            # Without a prompt cache, so that server and client count the same tokens.
            *("--no-cache-prompt", "--cache-ram", "0"),
            *(part for token, by in LIKELIER.items() for part in ("--logit-bias", f"{token}+{by}")),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        await eventually(self._is_ready, 240)

    def counted(self) -> tuple[int, int]:
        """The input and output tokens since it was started."""
        found = dict(re.findall(r"^llamacpp:(\w+) (\d+)$", self._get("/metrics"), re.MULTILINE))
        assert found["prompt_tokens_cached_total"] == "0"
        return int(found["prompt_tokens_total"]), int(found["tokens_predicted_total"])

    def is_answering(self) -> bool:
        """Whether it is generating an answer."""
        return any(slot["is_processing"] for slot in json.loads(self._get("/slots")))

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            return "ok" in self._get("/health")
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urlopen(self.address + path, timeout=60) as answer:
            return str(answer.read().decode())


@contextmanager
def schema_enforcing_proxy(server: LlamaServer) -> Iterator[str]:
    """The address of a proxy that makes the server follow the schema of the offered tool.

    The server enforces the schema of a `response_format`, but not that of a tool if the model has no tool
    template.
    """

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if tools := body.pop("tools", None):
                body.pop("tool_choice", None)
                schema = {"name": "answer", "schema": tools[0]["function"]["parameters"]}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
            asked = Request(
                server.address + self.path, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            try:
                with urlopen(asked, timeout=600) as answer:
                    status, data = answer.status, answer.read()
            except HTTPError as error:
                status, data = error.code, error.read()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join(10)

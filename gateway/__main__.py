"""`python -m gateway`: serve HTTP until SIGTERM or SIGINT."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # As in `worker.py`: imports create little garbage, so do not collect it.
    gc.disable()

import asyncio
import os
import socket
import sys
from typing import Any

import uvicorn

from common.lifecycle import GATEWAY_READY, exit_now
from common.settings import Settings, SettingsError
from common.telemetry.logs import open_logs
from common.telemetry.spans import traced
from gateway.app import build_from
from gateway.http_protocol import PromptH11Protocol

OPTIONS: dict[str, Any] = {
    "log_config": None,
    # Approval links are secrets, and an access log would contain them.
    "access_log": False,
    "server_header": False,
    # With `X-Forwarded-For`, anyone on this machine could pick the address that bad tokens count against.
    "proxy_headers": False,
    "http": PromptH11Protocol,
    "h11_max_incomplete_event_size": 32 * 1024,
    "timeout_keep_alive": 30,
    # Short: event streams never end by themselves, and their readers reconnect to the next process.
    "timeout_graceful_shutdown": 3,
    "lifespan": "on",
}


async def serve(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        SettingsError: a setting is missing or not valid, or the address is in use.
    """
    http = settings.http
    listeners = [_listener("HIBERNAUT_HTTP", http.host, http.port)]
    if http.web_ui:
        listeners.append(_listener("HIBERNAUT_CODEC_ORIGIN", *http.web_ui_address))
    server = uvicorn.Server(uvicorn.Config(await build_from(settings), **OPTIONS))
    print(f"{GATEWAY_READY} at http://{http.host}:{http.port}", file=sys.stderr, flush=True)
    await server.serve(sockets=listeners)


def _listener(variable: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise SettingsError(f"{variable}: cannot listen at {host}:{port}: {error.strerror}.") from None
    listener.listen(2048)
    return listener


def main() -> int:
    """Run the gateway and return its exit code."""
    gc.freeze()
    gc.enable()
    try:
        settings = Settings.at_start(os.environ)
        open_logs(settings)
        with traced(settings, "gateway"):
            asyncio.run(serve(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    exit_now(main())

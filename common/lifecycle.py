"""What a program says when it starts, and how it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

# On stderr: whoever starts one of these waits for the line in its log.
WORKER_READY, GATEWAY_READY = "worker ready", "gateway ready"
# Starts the line in which a worker says why it does not start; other processes share its log.
NOT_STARTED = "this worker does not start: "


def exit_now(code: int) -> NoReturn:
    """End this process with this exit code, its output written.

    The interpreter is not shut down: the SDK's threads can crash one that is shutting down.
    """
    for stream in (sys.stdout, sys.stderr):
        # Whoever read it may be gone; either is None in a process that was started without.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)

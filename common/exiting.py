"""How a process that has used Temporal's SDK ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn


def exit_now(code: int) -> NoReturn:
    """End this process with this exit code, its output written.

    The interpreter is not shut down: the SDK's threads can crash one that is shutting down.
    """
    for stream in (sys.stdout, sys.stderr):
        # Whoever read it may be gone; either is None in a process that was started without.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)

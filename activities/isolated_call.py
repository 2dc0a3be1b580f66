"""Runs one of our functions in a separate process, for input that may be crafted to run forever.

A hostile calendar or rule file can take hours and gigabytes; in a thread it would stall every other activity
of the worker. In the process the kernel limits memory and CPU time before the first byte is read, and none of
the worker's tokens and settings can be found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activities.safe_files import current_territory
from common.processes import started

_PROGRAM = Path(__file__).with_name("isolated_call_program.py")
_HEARTBEAT_SECONDS = 1.0
_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class LimitsExceededError(Exception):
    """The function did not finish within its limits; the message says which one, in one line."""


@dataclass(frozen=True)
class ProcessLimits:
    """Memory in bytes, CPU time in seconds, wall-clock time in seconds."""

    memory: int
    cpu_seconds: int
    seconds: float


def run_isolated(
    function: Callable[[Any], Any], argument: Any, limits: ProcessLimits, heartbeat: Callable[[], None]
) -> Any:
    """Return `function(argument)`, computed in a separate process; argument and result are JSON values.

    `function` is at the top level of one of our modules, and may open the files that the calling activity
    may. `heartbeat` is called every second; whatever it raises ends the process.

    Raises:
        LimitsExceededError: it exceeded a limit, or crashed.
    """
    target = f"{function.__module__}:{function.__qualname__}"
    command = [sys.executable, "-I", str(_PROGRAM), target, str(limits.memory), str(limits.cpu_seconds)]
    territory = current_territory.get()
    within = None if territory is None else territory.as_json()
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
        stdin.write(json.dumps([within, argument]).encode())
        stdin.seek(0)
        deadline = time.monotonic() + limits.seconds
        with started(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, cwd="/", env=_ENVIRONMENT
        ) as process:
            while process.poll() is None:
                try:
                    process.wait(_HEARTBEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    heartbeat()
                if process.returncode is None and time.monotonic() > deadline:
                    raise LimitsExceededError(f"it took over {limits.seconds:.0f} s")
        if process.returncode:
            # A signal means that a kernel limit was hit: CPU time or memory.
            how = f"signal {-process.returncode}" if process.returncode < 0 else "out of memory, or a crash"
            raise LimitsExceededError(
                f"it used more than {limits.cpu_seconds} s of CPU or its memory ({how})"
            )
        stdout.seek(0)
        return json.loads(stdout.read())

"""Runs a function of ours in a process of its own, where what it reads may be made to take for ever.

A hostile calendar or rule file may take hours and gigabytes, and in a thread it would keep every other
activity of its worker waiting. In the process the kernel limits memory and CPU time before the first byte is
read, and no token or setting of the worker is there to be found.
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

from activities.safe_files import WITHIN
from common.processes import started

_PROGRAM = Path(__file__).with_name("apart_program.py")
_BEAT_SECONDS = 1.0
_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class LimitsExceededError(Exception):
    """The function did not come to its end within its limits; the message says which, in one line."""


@dataclass(frozen=True)
class ProcessLimits:
    """Bytes of memory, seconds of CPU, seconds on the clock."""

    memory: int
    cpu_seconds: int
    seconds: float


def run_apart(
    function: Callable[[Any], Any], argument: Any, limits: ProcessLimits, beat: Callable[[], None]
) -> Any:
    """What `function`, at the top of a module of ours, makes of `argument`; both are JSON values.

    It may open what the activity that calls this may.
    `beat` is called every second, and whatever it raises ends the process.

    Raises:
        LimitsExceededError: it went over its limits, or crashed.
    """
    target = f"{function.__module__}:{function.__qualname__}"
    command = [sys.executable, "-I", str(_PROGRAM), target, str(limits.memory), str(limits.cpu_seconds)]
    territory = WITHIN.get()
    within = None if territory is None else territory.as_json()
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(json.dumps([within, argument]).encode())
        given.seek(0)
        deadline = time.monotonic() + limits.seconds
        with started(
            command, stdin=given, stdout=said, stderr=subprocess.DEVNULL, cwd="/", env=_ENVIRONMENT
        ) as process:
            while process.poll() is None:
                try:
                    process.wait(_BEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    beat()
                if process.returncode is None and time.monotonic() > deadline:
                    raise LimitsExceededError(f"it took over {limits.seconds:.0f} s")
        if process.returncode:
            # A signal means that a limit of the kernel was hit: CPU time, or memory.
            how = f"signal {-process.returncode}" if process.returncode < 0 else "out of memory, or a crash"
            raise LimitsExceededError(
                f"it used more than {limits.cpu_seconds} s of CPU or its memory ({how})"
            )
        said.seek(0)
        return json.loads(said.read())

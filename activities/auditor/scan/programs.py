"""Runs one program with bounded time and output, without this process's environment."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, TypeVar

from common.errors import permanent
from common.processes import started
from common.programs import packaged_program, scripts_folder

# No proxy, token or setting of the worker reaches a program that reads untrusted files.
ENVIRONMENT = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "RAYON_NUM_THREADS": "1",  # two analysers run side by side already
}
_POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
Result = TypeVar("Result")


class AnalyserFailed(Exception):
    """A program crashed, hung, or printed something unreadable; the message says which, in one line."""


class Stopped(Exception):
    """The caller no longer wants a result."""


@dataclass(frozen=True)
class ProgramLimits:
    """What one program may use. Its time is `base_seconds` plus its input's size over `bytes_per_second`,
    a tenth of what the slowest analyser manages on an idle core."""

    base_seconds: float = 30.0
    bytes_per_second: int = 10_000
    output_bytes: int = 64_000_000

    def seconds(self, size: int) -> float:
        """The time limit for reading `size` bytes."""
        return self.base_seconds + size / self.bytes_per_second


def program(name: str, package: str) -> str:
    """The path of a program that the Python package `package` installs.

    Raises:
        ApplicationError: type AnalyserMissing; install the package.
    """
    path = packaged_program(name)
    if path is None:
        raise permanent(
            "AnalyserMissing",
            f"{scripts_folder() / name} is missing: install the Python package {package} (`make setup`)",
        )
    return path


def run(
    argv: Sequence[str],
    seconds: float,
    output_bytes: int,
    stop: Event,
    *,
    cwd: str | Path = "/",
    environment: Mapping[str, str] = ENVIRONMENT,
) -> tuple[int, bytes, str]:
    """Run a program to its end: exit status, standard output, last line of standard error (200 characters).

    The working folder is usually `/`, where no audited project can have put a configuration file.

    Raises:
        AnalyserFailed: it took too long, wrote too much, or was ended by a signal.
        Stopped: `stop` was set.
        ApplicationError: type AnalyserMissing.
    """
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            with started(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=cwd, env=environment
            ) as process:
                while process.returncode is None:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_POLL_SECONDS)
                    if stop.is_set():
                        raise Stopped
                    if max(_size(output), _size(errors)) > output_bytes:
                        raise AnalyserFailed(f"wrote more than {output_bytes} bytes")
                    if process.returncode is None and time.monotonic() > deadline:
                        raise AnalyserFailed("took too long")
        except FileNotFoundError:
            raise permanent("AnalyserMissing", f"{argv[0]} is missing: run `make setup`") from None
        last_line = _last_line(errors)
        if process.returncode < 0:
            raise AnalyserFailed(f"ended by signal {-process.returncode}: {last_line}")
        output.seek(0)
        return process.returncode, output.read(), last_line


def attended(heartbeat: Callable[[], None], job: Callable[[Event], Result]) -> Result:
    """The result of `job`; `heartbeat` is called every second meanwhile, and what it raises stops the job."""
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(job, stop)
        try:
            while wait([running], HEARTBEAT_SECONDS).not_done:
                heartbeat()
        finally:
            stop.set()
    return running.result()


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _last_line(file: IO[bytes]) -> str:
    file.seek(max(_size(file) - 4000, 0))
    lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]

"""Processes of activities, which end with the worker, however the worker ends.

A worker that is killed cannot kill its child processes, so a small program is told of each: when the pipe to
the worker closes, it kills them and their descendants. PR_SET_PDEATHSIG would not do: it does not reach
descendants, depends on the thread that started the process, exists only on Linux, and needs a further program
per process.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from common import reaper_program


@contextmanager
def started(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session of its own; what is left of it at the end of the block is killed.

    Args:
        argv: the program and its arguments.
        options: passed to `subprocess.Popen`.

    Raises:
        OSError: it cannot be started.
    """
    _REAPER.ensure_running()
    with subprocess.Popen(argv, start_new_session=True, **options) as process:
        try:
            _REAPER.tell(process.pid, runs=True)
            yield process
        finally:
            if process.poll() is None:
                reaper_program.kill([process.pid])
                process.wait()
            else:
                reaper_program.kill_group(process.pid)
            _REAPER.tell(process.pid, runs=False)


class _Reaper:
    """The reaper program; started before the first process, and again if it was lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pids = set[int]()
        self._program: subprocess.Popen[bytes] | None = None

    def ensure_running(self) -> None:
        """Called before a process starts: a worker killed in between would otherwise leave it behind."""
        with self._lock:
            if self._program is None or self._program.poll() is not None:
                self._start()

    def tell(self, pid: int, *, runs: bool) -> None:
        """Report that a process runs, or has ended."""
        with self._lock:
            (self._pids.add if runs else self._pids.discard)(pid)
            try:
                self._write(f"{'+' if runs else '-'}{pid}\n")
            except BrokenPipeError:
                if self._pids:
                    self._start()

    def _write(self, text: str) -> None:
        assert self._program is not None
        assert self._program.stdin is not None
        self._program.stdin.write(text.encode())

    def _start(self) -> None:
        if self._program is not None:
            self._program.communicate()  # waits, and closes its pipe
        self._program = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper_program.__file__],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
        self._write("".join(f"+{pid}\n" for pid in self._pids))


_REAPER = _Reaper()

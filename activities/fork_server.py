"""Runs our functions in processes forked from one that has already loaded them.

Like `isolated_call.py`, it keeps input that is crafted to run forever out of the worker. That one starts an
interpreter per call, which is fine for rare calls; with a thousand documents, importing the parser each time
would take longer than reading them. A process serves a few calls, each with its own limits, and is discarded
after any failure. A call that fails in a reused process, except by running out of time, is repeated in a
fresh one, so that no document fails because of what another left behind.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from activities.isolated_call import LimitsExceededError, ProcessLimits

_PROGRAM = Path(__file__).with_name("fork_server_program.py")
_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
_HEARTBEAT_SECONDS = 1.0
# The kernel ends a call at its limit; this much later the server itself counts as hung. The first call also
# waits for the server to load its module.
_GRACE_SECONDS = 60.0
_MAX_IDLE = 8
DONE, LAST = b"=", b"!"


class ForkServer:
    """Processes that call functions at the top level of `module`, each process at most `calls` times.

    A function takes bytes and a JSON value, and returns bytes. Thread-safe. The first call starts the server,
    and so does the next one after it was lost; it ends with the process that started it.
    """

    def __init__(self, module: str, calls: int = 1) -> None:
        self._module = module
        self._calls = calls
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._idle: list[_Fork] = []

    def run(
        self,
        function: str,
        data: bytes,
        argument: object,
        limits: ProcessLimits,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Return `function(data, argument)`.

        `heartbeat` is called every second; whatever it raises ends the process.

        Raises:
            LimitsExceededError: it exceeded a limit, or crashed.
            ConnectionError: its process was killed from outside, twice; that says nothing about the call.
        """
        order = [function, argument, limits.memory, limits.cpu_seconds, limits.seconds]
        request = json.dumps(order).encode() + b"\n" + data
        with self._lock:
            used = self._idle.pop() if self._idle else None
        if used is not None:
            try:
                return self._call(used, request, limits, heartbeat)
            except _OutOfTimeError:
                # Time is counted per call. Memory is not: an earlier call may have used it up.
                raise
            except (LimitsExceededError, _LostError):
                pass
        for _ in range(2):
            with suppress(_LostError):
                return self._call(self._fork(), request, limits, heartbeat)
        raise ConnectionError(f"the process that was to run {function} was ended from outside")

    def close(self) -> None:
        """End the server and its processes."""
        with self._lock:
            self._stop()

    def _call(
        self, fork: _Fork, request: bytes, limits: ProcessLimits, heartbeat: Callable[[], None]
    ) -> bytes:
        try:
            answer = fork.call(request, limits, heartbeat)
        except BaseException:
            fork.close()
            raise
        with self._lock:
            if fork.calls < self._calls and not fork.last and len(self._idle) < _MAX_IDLE:
                self._idle.append(fork)
                return answer
        fork.close()
        return answer

    def _fork(self) -> _Fork:
        fork = _Fork()
        try:
            with self._lock:
                for again in (True, False):
                    if self._control is None:
                        self._start()
                    assert self._control is not None
                    try:
                        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fork.files()))]
                        # The server reads byte by byte, so that two requests cannot merge in the stream.
                        self._control.sendmsg([b"."], rights)
                        break
                    except OSError:
                        self._stop()
                        if not again:
                            raise
        except BaseException:
            fork.close()
            raise
        fork.theirs.close()
        return fork

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_PROGRAM), self._module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def _stop(self) -> None:
        for fork in self._idle:
            fork.close()
        self._idle.clear()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class _OutOfTimeError(LimitsExceededError):
    """It exceeded its CPU time or its wall-clock time."""


class _LostError(Exception):
    """The process was killed from outside, for instance because the machine ran out of memory."""


class _Fork:
    """The caller's side of a process: its input file, its output file, and a socket that starts a call."""

    def __init__(self) -> None:
        self._input = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes both
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._ours, self.theirs = socket.socketpair()
        self.calls = 0
        self.last = False

    def files(self) -> tuple[int, int, int]:
        return self._input.fileno(), self._output.fileno(), self.theirs.fileno()

    def close(self) -> None:
        """Closing the socket ends the process: it notices by itself, or the server kills it."""
        for each in (self._input, self._output, self._ours, self.theirs):
            each.close()

    def call(self, request: bytes, limits: ProcessLimits, heartbeat: Callable[[], None]) -> bytes:
        self.calls += 1
        _write(self._input.fileno(), request)
        os.ftruncate(self._output.fileno(), 0)
        status = self._start_and_wait(limits, heartbeat)
        os.ftruncate(self._input.fileno(), 0)
        if status not in (DONE, LAST):
            _raise(int(status or -signal.SIGKILL), limits)
        self.last = status == LAST
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0)

    def _start_and_wait(self, limits: ProcessLimits, heartbeat: Callable[[], None]) -> bytes:
        """Make the call; return DONE, LAST, or the status of a process that ended; empty if it was lost."""
        self._ours.settimeout(_HEARTBEAT_SECONDS)
        deadline = time.monotonic() + limits.seconds + _GRACE_SECONDS
        # If the process has just ended, this fails, but its status can still be read.
        with suppress(OSError):
            self._ours.sendall(b".")
        while time.monotonic() < deadline:
            try:
                reply = self._ours.recv(16)
            except TimeoutError:
                heartbeat()
                continue
            except OSError:
                break
            # After LAST the process ends, and its exit status may have arrived along with the answer.
            return reply[:1] if reply.startswith((DONE, LAST)) else reply
        return b""


def _write(file: int, data: bytes) -> None:
    os.ftruncate(file, 0)
    rest = memoryview(data)
    at = 0
    while at < len(data):
        at += os.pwrite(file, rest[at:], at)


def _raise(status: int, limits: ProcessLimits) -> NoReturn:
    """Raise the error for how a process ended: `status` is its exit code or, if negative, its signal."""
    match -status:
        case signal.SIGKILL:
            # No limit sends this signal.
            raise _LostError
        case signal.SIGXCPU as number:
            raise _OutOfTimeError(f"it used more than {limits.cpu_seconds} s of CPU (signal {number:d})")
        case signal.SIGALRM as number:
            raise _OutOfTimeError(f"it took over {limits.seconds:.0f} s (signal {number:d})")
        case number if number > 0:
            raise LimitsExceededError(f"it went over its memory, or crashed (signal {number})")
    raise LimitsExceededError("it ran out of memory, or crashed")

"""Runs functions of ours in processes that are forked from one that has loaded them already.

As `apart.py` it keeps what is made to take for ever out of the worker. That starts an interpreter for each
call, which is fine for the rare one; a thousand documents are read sooner than a thousand interpreters import
a parser. A process serves a few calls, each with limits of its own; after any trouble it is given up. A call
that failed in a process that had served others is made once more in a fresh one: no document fails for what
another left behind.
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

from activities.apart import LimitsExceededError, ProcessLimits

_PROGRAM = Path(__file__).with_name("fork_server_program.py")
_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
_BEAT_SECONDS = 1.0
# The kernel ends a call at its limit; past this the server itself is taken to hang. A first call also waits
# until the server has loaded its module.
_GRACE_SECONDS = 60.0
_MAX_IDLE = 8
DONE, LAST = b"=", b"!"


class ForkServer:
    """Processes that call functions at the top of `module`, each process at most `calls` times.

    A function takes bytes and a JSON value, and returns bytes. Threads may call at the same time. The server
    is started with the first call, and again after it was lost; it ends with the process that started it.
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
        beat: Callable[[], None] = lambda: None,
    ) -> bytes:
        """What `function` makes of `data` and `argument`.

        `beat` is called every second, and whatever it raises ends the process.

        Raises:
            LimitsExceededError: it went over its limits, or crashed.
            ConnectionError: its process was ended from outside, twice; that says nothing about the call.
        """
        order = [function, argument, limits.memory, limits.cpu_seconds, limits.seconds]
        given = json.dumps(order).encode() + b"\n" + data
        with self._lock:
            used = self._idle.pop() if self._idle else None
        if used is not None:
            try:
                return self._call(used, given, limits, beat)
            except _OutOfTimeError:
                # Time is its own; memory may have been another's.
                raise
            except (LimitsExceededError, _LostError):
                pass
        for _ in range(2):
            with suppress(_LostError):
                return self._call(self._fork(), given, limits, beat)
        raise ConnectionError(f"the process that was to run {function} was ended from outside")

    def close(self) -> None:
        """End the server and its processes."""
        with self._lock:
            self._stop()

    def _call(self, fork: _Fork, given: bytes, limits: ProcessLimits, beat: Callable[[], None]) -> bytes:
        try:
            answer = fork.call(given, limits, beat)
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
                        # One byte, so that no two run together.
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
    """It went over its seconds of CPU or on the clock."""


class _LostError(Exception):
    """The process was ended from outside, as when the machine runs out of memory."""


class _Fork:
    """The caller's side of a process: what it reads, what it writes, and a socket to ring."""

    def __init__(self) -> None:
        self._given = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes both
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._ours, self.theirs = socket.socketpair()
        self.calls = 0
        self.last = False

    def files(self) -> tuple[int, int, int]:
        return self._given.fileno(), self._said.fileno(), self.theirs.fileno()

    def close(self) -> None:
        """The process ends when it sees that the socket is closed, or is ended then."""
        for each in (self._given, self._said, self._ours, self.theirs):
            each.close()

    def call(self, given: bytes, limits: ProcessLimits, beat: Callable[[], None]) -> bytes:
        self.calls += 1
        _write(self._given.fileno(), given)
        os.ftruncate(self._said.fileno(), 0)
        status = self._ring(limits, beat)
        os.ftruncate(self._given.fileno(), 0)
        if status not in (DONE, LAST):
            _raise(int(status or -signal.SIGKILL), limits)
        self.last = status == LAST
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), size, 0)

    def _ring(self, limits: ProcessLimits, beat: Callable[[], None]) -> bytes:
        """How the call ended: done, done for the last time, how the process ended; empty if it was lost."""
        self._ours.settimeout(_BEAT_SECONDS)
        deadline = time.monotonic() + limits.seconds + _GRACE_SECONDS
        # A process that has just ended took no call; its status may still be there to be read.
        with suppress(OSError):
            self._ours.sendall(b".")
        while time.monotonic() < deadline:
            try:
                said = self._ours.recv(16)
            except TimeoutError:
                beat()
                continue
            except OSError:
                break
            # A process that serves no further call may have ended before its answer was read.
            return said[:1] if said.startswith((DONE, LAST)) else said
        return b""


def _write(file: int, data: bytes) -> None:
    os.ftruncate(file, 0)
    rest = memoryview(data)
    at = 0
    while at < len(data):
        at += os.pwrite(file, rest[at:], at)


def _raise(status: int, limits: ProcessLimits) -> NoReturn:
    """Say what limit ended a process, by its exit code or, below 0, its signal."""
    match -status:
        case signal.SIGKILL:
            # None of the limits does that.
            raise _LostError
        case signal.SIGXCPU as number:
            raise _OutOfTimeError(f"it used more than {limits.cpu_seconds} s of CPU (signal {number:d})")
        case signal.SIGALRM as number:
            raise _OutOfTimeError(f"it took over {limits.seconds:.0f} s (signal {number:d})")
        case number if number > 0:
            raise LimitsExceededError(f"it went over its memory, or crashed (signal {number})")
    raise LimitsExceededError("it ran out of memory, or crashed")

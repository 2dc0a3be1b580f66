"""A program of its own: loads a module of this project once, and forks processes that call functions in it.

`fork_server.py` starts it; nothing imports it. Arguments: the module, and the socket on which processes are
asked for, with three files each: what to read, where to write, and a socket. On that socket a byte asks for a
call, and one answers; when the process has ended, how it ended. What to read begins with a line: the
function's name, its argument, bytes of memory, seconds of CPU and on the clock. This process runs no
thread, so that a fork is whole, and reads nothing itself, so that nothing hostile is ever in it.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_FILES = 3
# A process that has grown by more serves no further call.
_MAX_LEFT = 64_000_000


def main(module: Any, control: socket.socket) -> None:
    """Fork processes until whoever asks for them is gone."""
    ready, wake = socket.socketpair()
    for each in (ready, wake):
        each.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(ready, select.POLLIN)
    running: dict[int, socket.socket] = {}
    while True:
        gone = set()
        for file, _ in poll.poll():
            if file == control.fileno():
                files = receive(control)
                if len(files) < _FILES:
                    for pid in running:
                        os.kill(pid, signal.SIGKILL)
                    return
                pid, caller = start(module, files, [control, ready, wake, *running.values()])
                running[pid] = caller
                # Bytes on it are for the process; only its end is looked at here.
                poll.register(caller, 0)
            elif file == ready.fileno():
                while drain(ready):
                    pass
            else:
                gone.add(file)
        for pid, caller in running.items():
            if caller.fileno() in gone:
                # Nobody wants to know any more.
                poll.unregister(caller)
                os.kill(pid, signal.SIGKILL)
        reap(running, poll)


def drain(ready: socket.socket) -> bool:
    try:
        return bool(ready.recv(4096))
    except BlockingIOError:
        return False


def receive(control: socket.socket) -> list[int]:
    """The files of a call; none where no more will come."""
    files = array.array("i")
    _, rights, _, _ = control.recvmsg(1, socket.CMSG_SPACE(_FILES * files.itemsize))
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(data[: len(data) - len(data) % files.itemsize])
    return list(files)


def start(module: Any, files: list[int], ours: list[socket.socket]) -> tuple[int, socket.socket]:
    """Fork the process of a call."""
    given, said, caller = files
    pid = os.fork()
    if pid:
        os.close(given)
        os.close(said)
        return pid, socket.socket(fileno=caller)
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in ours:
            each.close()
        serve(module, given, said, socket.socket(fileno=caller))
        code = 0
    finally:
        # Whatever was raised ends here: a traceback would quote what was read.
        os._exit(code)


def serve(module: Any, given: int, said: int, caller: socket.socket) -> None:
    """Answer calls until the caller is gone, or until one has left too much behind."""
    # What the server has mapped already is not the document's doing.
    before = mapped()
    while caller.recv(1):
        name, _, data = os.pread(given, os.fstat(given).st_size, 0).partition(b"\n")
        function, argument, memory, cpu, seconds = json.loads(name)
        limit(before + memory, cpu, seconds)
        answer = getattr(module, function)(data, argument)
        signal.setitimer(signal.ITIMER_REAL, 0)
        at = 0
        while at < len(answer):
            at += os.pwrite(said, answer[at:], at)
        del data, answer
        grown = mapped() - before > min(_MAX_LEFT, memory // 8)
        caller.sendall(b"!" if grown else b"=")
        if grown:
            return


def mapped() -> int:
    """Bytes of this process's address space; 0 where that cannot be known."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit(memory: int, cpu: int, seconds: float) -> None:
    """Have the kernel end this process when the next call exceeds a limit."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Only the soft limit: the hard one cannot be raised again for the next call.
    cpu += math.ceil(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_AS, (memory, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def reap(running: dict[int, socket.socket], poll: select.poll) -> None:
    """Tell the callers of processes that have ended how they ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        caller = running.pop(pid, None)
        if caller is None:
            continue
        with suppress(KeyError):
            poll.unregister(caller)
        with caller, suppress(OSError):
            caller.sendall(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    # It runs isolated; it may import only this project's modules besides.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    loaded = importlib.import_module(sys.argv[1])
    gc.collect()
    gc.freeze()  # else a collection in a fork copies every page of the server
    main(loaded, socket.socket(fileno=int(sys.argv[2])))

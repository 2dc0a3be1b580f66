"""A separate program: loads one of this project's modules, and forks processes that call its functions.

`fork_server.py` starts it; nothing imports it. Arguments: the module, and the descriptor of the control
socket. Each message on that socket requests a process and passes it three files: input, output and a socket
of its own. On its own socket one byte requests a call and one byte answers it; after the process has ended,
its exit status follows. The input begins with a line of JSON: function name, argument, memory in bytes, CPU
time and wall-clock time in seconds. This program runs no threads, which makes forking safe, and reads no
input itself, so that nothing hostile gets into it.
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
# A process that has grown by more bytes than this serves no further calls.
_MAX_LEFT = 64_000_000


def main(module: Any, control: socket.socket) -> None:
    """Fork processes on request until the other end of the control socket is closed."""
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
                # The process reads the bytes; the server only watches for the caller hanging up.
                poll.register(caller, 0)
            elif file == ready.fileno():
                while drain(ready):
                    pass
            else:
                gone.add(file)
        for pid, caller in running.items():
            if caller.fileno() in gone:
                # The caller hung up: nobody wants the result any more.
                poll.unregister(caller)
                os.kill(pid, signal.SIGKILL)
        reap(running, poll)


def drain(ready: socket.socket) -> bool:
    try:
        return bool(ready.recv(4096))
    except BlockingIOError:
        return False


def receive(control: socket.socket) -> list[int]:
    """The files of a requested process; none once the control socket is closed."""
    files = array.array("i")
    _, rights, _, _ = control.recvmsg(1, socket.CMSG_SPACE(_FILES * files.itemsize))
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(data[: len(data) - len(data) % files.itemsize])
    return list(files)


def start(module: Any, files: list[int], ours: list[socket.socket]) -> tuple[int, socket.socket]:
    """Fork a process; return its id and the server's copy of the caller's socket."""
    input_file, output_file, caller = files
    pid = os.fork()
    if pid:
        os.close(input_file)
        os.close(output_file)
        return pid, socket.socket(fileno=caller)
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in ours:
            each.close()
        serve(module, input_file, output_file, socket.socket(fileno=caller))
        code = 0
    finally:
        # No exception gets out: a traceback could quote the input.
        os._exit(code)


def serve(module: Any, input_file: int, output_file: int, caller: socket.socket) -> None:
    """Answer calls until the caller is gone, or until a call has left too much memory in use."""
    # Memory that the server had mapped already does not count against the document.
    before = mapped()
    while caller.recv(1):
        name, _, data = os.pread(input_file, os.fstat(input_file).st_size, 0).partition(b"\n")
        function, argument, memory, cpu, seconds = json.loads(name)
        limit(before + memory, cpu, seconds)
        answer = getattr(module, function)(data, argument)
        signal.setitimer(signal.ITIMER_REAL, 0)
        at = 0
        while at < len(answer):
            at += os.pwrite(output_file, answer[at:], at)
        del data, answer
        grown = mapped() - before > min(_MAX_LEFT, memory // 8)
        caller.sendall(b"!" if grown else b"=")
        if grown:
            return


def mapped() -> int:
    """The size of this process's address space in bytes; 0 where it cannot be determined."""
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
    """Send the exit status of each process that has ended to its caller."""
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
    # In isolated mode (-I) the project is not on the import path.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    loaded = importlib.import_module(sys.argv[1])
    gc.collect()
    gc.freeze()  # else a collection in a fork copies every page of the server
    main(loaded, socket.socket(fileno=int(sys.argv[2])))

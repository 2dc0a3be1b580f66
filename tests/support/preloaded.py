"""A `.venv` whose python runs `starter.py` in a process forked from one that has loaded it.

The sessions of the documentation's pages run unchanged, and imports take most of each command's time.
The process that commands are forked from is, in the checkout, `python -m tests.support.preloaded SOCKET`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import starter
from common.lifecycle import exit_now
from tests.support.commands import LOADED

# These commands run in a normal process: they start things like a user does, or read what was just written.
UNFORKED_COMMANDS = ("dev", "new", "rehearse", "check-upgrade")
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] == ["starter.py"] and sys.argv[2] not in {unforked} and os.path.exists({path!r}):
    server = socket.socket(socket.AF_UNIX)
    server.connect({path!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(asked)
    code = server.recv(1)
    sys.exit(code[0] if code else 1)
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def make_venv(folder: Path, path: Path) -> None:
    """Make `folder` a virtual environment like this one, except for its python."""
    (folder / "bin").mkdir(parents=True)
    for program in Path(sys.executable).parent.iterdir():
        (folder / "bin" / program.name).symlink_to(program)
    python = folder / "bin" / "python"
    python.unlink()
    python.write_text(CLIENT.format(python=sys.executable, path=str(path), unforked=UNFORKED_COMMANDS))
    python.chmod(0o755)


def serve(path: Path) -> None:
    """Fork a process for each command, until killed."""
    for name in (*LOADED, "cli.doctor", "cli.steering", "cli.watch"):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    # Renamed into place below, so that once the path exists, the socket accepts connections.
    listener.bind(f"{path}.new")
    listener.listen()
    Path(f"{path}.new").rename(path)
    while True:
        client, _ = listener.accept()
        size, descriptors, *_ = socket.recv_fds(client, 4, 3)
        if os.fork() == 0:
            _run(client, int.from_bytes(size, "big"), descriptors)
        for each in descriptors:
            os.close(each)
        client.close()


def _run(client: socket.socket, size: int, descriptors: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with client.makefile("rb") as asked:
        sys.argv, folder, environment = json.loads(asked.read(size))
    for number, each in enumerate(descriptors):
        os.dup2(each, number)
        os.close(each)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    code = starter.main()
    sys.stderr.flush()
    client.sendall(bytes([code]))
    exit_now(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

"""Confines a process: no connections, no writes outside its own folder, no foreign programs.

This guards against accidents, not against hostile code: it does not restrict C code or child processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from activities.safe_files import place_of
from common.programs import scripts_folder

# By audit event: the positions of the paths among its arguments, each with the position of its dir_fd.
_CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.truncate": ((0, None),),
    "os.setxattr": ((0, None),),
    "os.removexattr": ((0, None),),
    "os.symlink": ((1, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "sqlite3.connect": ((0, None),),
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CONNECTS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
# The auditor tries fixes with it, to run them without a network.
_UNSHARE = "unshare"
_PROGRAMS = ("subprocess.Popen", "os.posix_spawn", "os.exec")


# The dir_fd of a path that is relative to the current directory.
CURRENT = -1
_OPENING: ContextVar[int] = ContextVar("opening", default=CURRENT)


class OutsideError(PermissionError):
    """An attempt to reach outside; the message says what."""


class OutsideAccess:
    """What an activity tried to reach outside, in words; empty if nothing.

    `made_up` says which part of its result does not come from a real source.
    """

    def __init__(self) -> None:
        self.words = self.made_up = ""


# Set for each activity of a rehearsal. An exception is not enough: many take an `OSError` for an outage.
OUTSIDE_ACCESS: ContextVar[OutsideAccess | None] = ContextVar("outside_access", default=None)


def confine(folder: Path) -> None:
    """Confine this process to `folder` permanently. It may still run programs installed with this Python."""
    inside, programs = os.path.realpath(folder), os.path.realpath(scripts_folder())
    checks = _checks(inside, programs)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        check = checks.get(event)
        if check is None:
            return
        words = check(arguments)
        if words:
            access = OUTSIDE_ACCESS.get()
            if access is not None:
                access.words = access.words or words
            raise OutsideError(f"not in a rehearsal: {words}")

    # The audit event `open` does not include the dir_fd, so remember it here.
    os_open = os.open

    def open_in(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        token = _OPENING.set(CURRENT if dir_fd is None else dir_fd)
        try:
            return os_open(path, flags, mode, dir_fd=dir_fd)
        finally:
            _OPENING.reset(token)

    os.open = open_in
    sys.addaudithook(hook)


Check = Callable[[tuple[Any, ...]], str]


def _checks(inside: str, programs: str) -> dict[str, Check]:
    """By audit event, a function that says in words what the event would reach outside; empty if nothing."""

    def is_inside(path: Any, folder: int = CURRENT) -> bool:
        if isinstance(path, int) or path is None:
            return True  # a descriptor, checked when it was opened
        base = os.getcwd() if folder == CURRENT else place_of(folder)
        real = os.path.realpath(os.path.join(base, os.fsdecode(path)))
        return real == inside or real.startswith(inside + os.sep)

    def opened(arguments: tuple[Any, ...]) -> str:
        path, mode, flags = arguments
        writes = bool(flags & _WRITES) if isinstance(flags, int) else any(sign in mode for sign in "wax+")
        if not writes or path == os.devnull or is_inside(path, _OPENING.get()):
            return ""
        return f"writing {os.fsdecode(path)}"

    def changed(places: tuple[tuple[int, int | None], ...]) -> Check:
        def check(arguments: tuple[Any, ...]) -> str:
            for place, folder in places:
                path = arguments[place]
                if path != ":memory:" and not is_inside(
                    path, CURRENT if folder is None else arguments[folder]
                ):
                    return f"changing {os.fsdecode(path)}"
            return ""

        return check

    def connected(arguments: tuple[Any, ...]) -> str:
        address = next((each for each in arguments if isinstance(each, str | bytes | tuple)), None)
        if address is None:
            return ""
        parts = address if isinstance(address, tuple) else (address,)
        return f"connecting to {':'.join(os.fsdecode(str(each)) for each in parts[:2])}"

    def ran(arguments: tuple[Any, ...]) -> str:
        program = arguments[0] if arguments[0] is not None else arguments[1][0]
        name = os.fsdecode(program)
        # Do not resolve the program's name: the interpreter is a symlink to somewhere else.
        known = name in (_UNSHARE, sys.executable) or os.path.realpath(os.path.dirname(name)) == programs
        return "" if known else f"running {name}"

    return {
        "open": opened,
        "os.system": lambda arguments: f"running {os.fsdecode(arguments[0])}",
        **{event: changed(places) for event, places in _CHANGES.items()},
        **dict.fromkeys(_CONNECTS, connected),
        **dict.fromkeys(_PROGRAMS, ran),
    }

"""Keeps a process from reaching outside: no connection, nothing written but in its own folder, no programs.

This is against accidents, not against hostile code: a program written in C, or a child process, is not held.
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

# By its name in an audit event, the places of the paths among its arguments, and of what they count from.
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
# Cuts what it runs off from the network: the auditor tries fixes so.
_APART = "unshare"
_PROGRAMS = ("subprocess.Popen", "os.posix_spawn", "os.exec")


# What a name counts from that counts from no open folder.
CURRENT = -1
_OPENING: ContextVar[int] = ContextVar("opening", default=CURRENT)


class OutsideError(PermissionError):
    """Something outside was reached for; the message says what."""


class Reached:
    """What an activity has reached for outside, in words; empty where nothing.

    `made_up` says what of its result comes from no real source.
    """

    def __init__(self) -> None:
        self.words = self.made_up = ""


# Set for each activity of a rehearsal: many take an `OSError` for a bad day of the other side.
REACHED: ContextVar[Reached | None] = ContextVar("reached", default=None)


def confine(folder: Path) -> None:
    """Confine this process to `folder` for good; programs may be run that came with this Python."""
    inside, programs = os.path.realpath(folder), os.path.realpath(scripts_folder())
    checks = _checks(inside, programs)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        check = checks.get(event)
        if check is None:
            return
        words = check(arguments)
        if words:
            reached = REACHED.get()
            if reached is not None:
                reached.words = reached.words or words
            raise OutsideError(f"not in a rehearsal: {words}")

    # The event of opening a file does not say which open folder its name counts from.
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
    """By the name of an audit event, what it would reach outside, in words."""

    def is_inside(path: Any, folder: int = CURRENT) -> bool:
        if isinstance(path, int) or path is None:
            return True  # a descriptor, whose opening was checked
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
        # As it is called: the interpreter itself is a link that leads elsewhere.
        known = name in (_APART, sys.executable) or os.path.realpath(os.path.dirname(name)) == programs
        return "" if known else f"running {name}"

    return {
        "open": opened,
        "os.system": lambda arguments: f"running {os.fsdecode(arguments[0])}",
        **{event: changed(places) for event, places in _CHANGES.items()},
        **dict.fromkeys(_CONNECTS, connected),
        **dict.fromkeys(_PROGRAMS, ran),
    }

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

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CONNECTS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
# What changes files, by how many of its arguments are paths.
_CHANGES = {
    **dict.fromkeys(("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown"), 1),
    **dict.fromkeys(("os.utime", "os.setxattr", "os.removexattr", "sqlite3.connect"), 1),
    **dict.fromkeys(("os.rename", "os.link", "shutil.move"), 2),
}
_PROGRAMS = ("subprocess.Popen", "os.posix_spawn", "os.exec")


class OutsideError(PermissionError):
    """Something outside was reached for; the message says what."""


class Reached:
    """What an activity has reached for outside, in words; empty where nothing."""

    def __init__(self) -> None:
        self.words = ""


# Set for each activity of a rehearsal: many take an `OSError` for a bad day of the other side.
REACHED: ContextVar[Reached | None] = ContextVar("reached", default=None)


def confine(folder: Path) -> None:
    """Confine this process to `folder` for good; programs may be run that came with this Python."""
    inside, programs = os.path.realpath(folder), os.path.realpath(Path(sys.executable).parent)
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

    sys.addaudithook(hook)


Check = Callable[[tuple[Any, ...]], str]


def _checks(inside: str, programs: str) -> dict[str, Check]:
    """By the name of an audit event, what it would reach outside, in words."""

    def is_inside(path: Any) -> bool:
        if isinstance(path, int) or path is None:
            return True  # a descriptor, whose opening was checked
        name = os.fsdecode(path)
        # A relative name may count from any open folder.
        real = os.path.realpath(name)
        return os.path.isabs(name) and (real == inside or real.startswith(inside + os.sep))

    def opened(arguments: tuple[Any, ...]) -> str:
        path, mode, flags = arguments
        writes = bool(flags & _WRITES) if isinstance(flags, int) else any(sign in mode for sign in "wax+")
        if not writes or path == os.devnull or is_inside(path):
            return ""
        return f"writing {os.fsdecode(path)}"

    def changed(paths: int) -> Check:
        def check(arguments: tuple[Any, ...]) -> str:
            outside = [each for each in arguments[:paths] if each != ":memory:" and not is_inside(each)]
            return f"changing {os.fsdecode(outside[0])}" if outside else ""

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
        within = os.path.realpath(os.path.dirname(name)) == programs or name == sys.executable
        return "" if within else f"running {name}"

    return {
        "open": opened,
        "os.symlink": lambda arguments: changed(1)(arguments[1:2]),
        "os.system": lambda arguments: f"running {os.fsdecode(arguments[0])}",
        **{event: changed(paths) for event, paths in _CHANGES.items()},
        **dict.fromkeys(_CONNECTS, connected),
        **dict.fromkeys(_PROGRAMS, ran),
    }

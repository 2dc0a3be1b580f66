"""A separate program that kills processes once the process that started them is gone.

`processes.py` starts it. It reads lines from standard input, `+PID` for a process that leads a session and
`-PID` for one that has ended, and kills those left when its input closes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def kill(leaders: Collection[int]) -> None:
    """Kill these processes with their groups, their sessions and all their descendants."""
    found = _with_all_below(leaders)
    for leader in leaders:
        kill_group(leader)
    for pid in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_group(leader: int) -> None:
    """Kill what is left of a process's group."""
    with suppress(ProcessLookupError, PermissionError):  # nothing is
        os.killpg(leader, signal.SIGKILL)


def _with_all_below(leaders: Collection[int]) -> set[int]:
    """These processes, those in their sessions, and descendants; without `/proc`, only these processes."""
    parents = dict[int, tuple[int, int]]()
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # The process name, before the last parenthesis, may contain anything.
            _, parent, _, session = file.read_text(errors="replace").rpartition(")")[2].split()[:4]
            parents[int(file.parent.name)] = int(parent), int(session)
    found, more = set[int](), set(leaders)
    while more:
        found |= more
        more = {pid for pid, above in parents.items() if pid not in found and not found.isdisjoint(above)}
    return found


def main() -> None:
    """Kill the processes that are left at the end of standard input."""
    left = set[int]()
    for line in sys.stdin:
        (left.add if line.startswith("+") else left.discard)(int(line[1:]))
    if left:
        kill(left)


if __name__ == "__main__":
    main()

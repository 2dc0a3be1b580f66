"""Child processes that die with their parent, however it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from cli.output import say

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STABLE_AFTER = 30.0  # seconds; a process that ends later is not in a crash loop

# A small launcher asks the kernel to kill it when its parent ends (PR_SET_PDEATHSIG, Linux only; exec keeps
# it), checks that the parent still runs, and execs the program. It is no preexec_fn because Python code
# that runs after a fork in a process full of the SDK's threads may deadlock. The kernel means the parent
# *thread*: start children from a thread that lives as long as they should.
_LAUNCHER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class NotStartedError(Exception):
    """A process could not be started; the message says why and what to do."""


async def start_child(
    program: Sequence[str], *, environment: Mapping[str, str], log: Path, outlive: bool = False
) -> asyncio.subprocess.Process:
    """Start ``program`` (a path and its arguments) with both its outputs appended to the file ``log``.

    It gets its own session, so that Ctrl-C on the terminal reaches only the parent, which then stops its
    children in order. With ``outlive`` it does not end with its parent.
    """
    launcher = () if outlive else (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()))
    with _appending(log) as output:
        return await asyncio.create_subprocess_exec(
            *launcher,
            *program,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def end_child(process: asyncio.subprocess.Process, patience: float) -> int:
    """Ask ``process`` to end (SIGTERM), kill it after ``patience`` seconds, and return its exit code."""
    if process.returncode is None:
        process.terminate()
    try:
        return await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        process.kill()
        return await process.wait()


async def keep_running(
    name: str, wait: Callable[[], Awaitable[int]], start: Callable[[], Awaitable[None]], log: Path
) -> None:
    """Restart ``name`` whenever it ends, with growing delays while it is in a crash loop."""
    loop = asyncio.get_running_loop()
    delay, began = FIRST_DELAY, loop.time()
    while True:
        code = await wait()
        if loop.time() - began > STABLE_AFTER:
            delay = FIRST_DELAY
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}: {last_line(log)}"
        say(f"{name} ended ({how}); starting it again in {delay:g} s")
        await asyncio.sleep(delay)
        delay, began = min(delay * 2, LONGEST_DELAY), loop.time()
        try:
            await start()
        except NotStartedError as error:
            say(str(error))
        else:
            say(f"{name} started again")


def put_aside(log: Path) -> None:
    """Rename the last ``log`` to `….old.log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".old.log"))


def last_line(log: Path) -> str:
    """The last line of ``log`` that is not blank; empty if there is none."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


async def until_says(log: Path, words: str) -> None:
    """Wait until `words` stand in a log."""
    while words not in _text(log):  # noqa: ASYNC110 -- another process writes it
        await asyncio.sleep(0.1)


def _text(log: Path) -> str:
    try:
        return log.read_text(errors="replace")
    except OSError:
        return ""


def _appending(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")

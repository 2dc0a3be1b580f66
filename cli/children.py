"""Child processes that die with their parent, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from cli.output import say
from common.lifecycle import NOT_STARTED

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
ROOT = Path(__file__).parent.parent
MAX_WORDS = 300
TRACEBACK, CAUSED = "Traceback (most recent call last):", "The above exception was the direct cause"
STABLE_AFTER = 30.0  # seconds; a process that ends later is not in a crash loop

MAX_LOG = 20_000_000
CHECK_INTERVAL = 30.0

# A small launcher asks the kernel to kill it when its parent ends (PR_SET_PDEATHSIG, Linux only; exec keeps
# it), checks that the parent still runs, and execs the program. A preexec_fn will not do: Python code run
# after a fork in a process full of the SDK's threads may deadlock. The kernel means the parent *thread*:
# start children from a thread that lives as long as they should.
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
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            process.kill()
        return await process.wait()


async def keep_running(
    name: str, wait: Callable[[], Awaitable[int]], start: Callable[[], Awaitable[None]], log: Path
) -> None:
    """Restart ``name`` whenever it ends, with growing delays while it is in a crash loop."""
    loop = asyncio.get_running_loop()
    delay, began, begins = FIRST_DELAY, loop.time(), 0
    while True:
        code = await wait()
        if loop.time() - began > STABLE_AFTER:
            delay = FIRST_DELAY
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}: {why(log, begins)}"
        say(f"{name} ended ({how}); starting it again in {delay:g} s")
        await asyncio.sleep(delay)
        delay, began, begins = min(delay * 2, LONGEST_DELAY), loop.time(), len(text_of(log))
        try:
            await start()
        except NotStartedError as error:
            say(str(error))
        else:
            say(f"{name} started again")


def put_aside(log: Path) -> None:
    """Rename the previous ``log`` to `….old.log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".old.log"))


async def keep_short(logs: Sequence[Path]) -> None:
    """Keep each log, and its `.old.log`, near `MAX_LOG` bytes at most."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        for log in logs:
            await asyncio.to_thread(shorten, log)


def shorten(log: Path, most: int = MAX_LOG) -> None:
    """Move an overlong log's content aside. Its writer opened it to append, so it continues at offset 0."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > most:
            shutil.copyfile(log, log.with_suffix(".old.log"))
            os.truncate(log, 0)


def last_line(log: Path) -> str:
    """The last non-blank line of ``log``, or its message if it is JSON; empty if there is none."""
    line = text_of(log).strip().rpartition("\n")[2].strip()
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict):
        return line
    return ": ".join(str(said[name]) for name in ("msg", "error") if name in said)


def why(log: Path, begins: int = 0) -> str:
    """The last line logged after character `begins`; for a traceback, its root error and where it arose."""
    if found := re.search(f"^{NOT_STARTED}(.+)", text_of(log, begins), re.MULTILINE):
        return found[1]
    last = last_line(log)
    if not re.match(r"[\w.]+Error\b", last):
        return last
    *before, block = text_of(log, begins).split(TRACEBACK)
    while before and CAUSED in before[-1]:
        block = before.pop()
    [error, *_] = re.findall(r"^[\w.]*?(\w+Error\b.*)", block, re.MULTILINE) or [last]
    places = re.findall(rf'File "{re.escape(str(ROOT))}/((?:\w+/)*\w+\.py)", line (\d+)', block)
    where = f" ({places[-1][0]}:{places[-1][1]})" if places else ""
    return f"{error[:MAX_WORDS]}{where}"


async def until_says(log: Path, words: str, begins: int = 0) -> None:
    """Wait until `words` appear in a log, after its first `begins` characters."""
    while words not in text_of(log, begins):  # noqa: ASYNC110 -- another process writes it
        await asyncio.sleep(0.1)


def text_of(log: Path, begins: int = 0) -> str:
    """The text of a log after its first `begins` characters; empty if there is no log."""
    try:
        return log.read_text(errors="replace")[begins:]
    except OSError:
        return ""


def _appending(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")

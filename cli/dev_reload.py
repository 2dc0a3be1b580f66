"""Restarts a stack's workers and gateway when their code changes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain

from cli.output import say
from cli.supervised import ROOT, Supervised

# Code that a worker or the gateway loads only once.
FOLDERS = ("activities", "common", "gateway", "workflows")
CODE = {".py", ".html", ".css", ".js", ".toml", ".yaml"}
EVERY_SECONDS = 1.0
SHOWN = 3

Seen = dict[str, tuple[int, int]]


class CodeWatch:
    """Detects changed source files. It stats them all, which takes 5 ms."""

    def __init__(self) -> None:
        self._seen = _look()

    async def changed(self) -> list[str]:
        """Wait for changes; return the files changed since the last call, as paths in the checkout."""
        changed = set[str]()
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            now = await asyncio.to_thread(_look)
            since = {file for file, _ in self._seen.items() ^ now.items()}
            self._seen = now
            if changed and not since:  # a quiet second: several files being saved are all saved
                return sorted(changed)
            changed |= since


def _look() -> Seen:
    """Each file's modification time and size."""
    seen: Seen = {}
    walked = (place for each in FOLDERS for place in os.walk(ROOT / each))
    for folder, _, names in chain([(str(ROOT), [], ["worker.py"])], walked):
        for name in names:
            if os.path.splitext(name)[1] in CODE:
                file = os.path.join(folder, name)
                with suppress(FileNotFoundError):
                    status = os.stat(file)
                    seen[os.path.relpath(file, ROOT)] = status.st_mtime_ns, status.st_size
    return seen


async def reload(
    workers: Sequence[Supervised], gateway: Supervised | None, environment: Mapping[str, str]
) -> None:
    """Whenever code changes, replace the processes that run it: the workers, the gateway, or both."""
    watch = CodeWatch()
    while True:
        changed = await watch.changed()
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        say(f"changed: {', '.join(changed[:SHOWN])}{more}")
        runs = [*workers] if any(not each.startswith("gateway/") for each in changed) else []
        if gateway and any(each.startswith(("gateway/", "common/")) for each in changed):
            runs.append(gateway)
        # Run it while the workers start: both take seconds.
        checking = asyncio.create_task(_check_upgrade(environment))
        try:
            why_not = ""
            for each in runs:
                why_not = why_not or await each.replace()
            if why_not:
                say(f"this code does not start, and the old worker goes on until it does: {why_not}")
                continue
            say("the new code runs")
            if breaks := await checking:
                say(breaks)
        finally:
            checking.cancel()


async def _check_upgrade(environment: Mapping[str, str]) -> str:
    """A one-line warning about open agents that this code would break; empty if there are none."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), "check-upgrade", "--json"),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    try:
        breaks = json.loads(out)["breaks"]
    except ValueError:
        return ""  # the code does not start; the worker's error says why
    if not breaks:
        return ""
    which = f"{breaks[0]['id']} and {len(breaks) - 1} more" if len(breaks) > 1 else breaks[0]["id"]
    return (
        f"WARNING      with this code {which} cannot go on, and waits for a fix or a patch: "
        "`starter.py check-upgrade` says why, docs/upgrades.md what to do"
    )

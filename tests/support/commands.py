"""Runs `starter.py` commands, forked from a process that has loaded them: imports are most of their cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import starter
from common.lifecycle import exit_now
from tests.support.patience import wait_longer

# Modules that nearly all commands import; the fork server must not start threads.
LOADED = ("cli.agents", "cli.archive", "cli.batch", "cli.find", "cli.inbox", "cli.table", "temporalio.client")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, *LOADED])


@dataclass
class Ran:
    """The outcome of a CLI command."""

    code: int
    out: str
    err: str
    json: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        assert "Traceback" not in self.err, self.err
        with contextlib.suppress(ValueError):
            self.json = json.loads(self.out)


async def run_command(
    *words: str,
    environment: Mapping[str, str],
    say: bytes = b"",
    patience: float = 120,
    patient: bool = False,
) -> Ran:
    """Run a command in its own process, with this environment and this standard input.

    A `patient` one waits for agents as long as a busy worker may take.
    """
    with tempfile.TemporaryDirectory(prefix="command-") as made:
        folder = Path(made)
        (folder / "0").write_bytes(say)
        process = _FORKS.Process(target=_command, args=(words, dict(environment), made, patient))
        process.start()
        try:
            await asyncio.to_thread(process.join, patience)
            assert process.exitcode is not None, f"{words} did not end: {(folder / '2').read_text()}"
        finally:
            if process.is_alive():
                process.kill()
        out, err = ((folder / name).read_bytes().decode() for name in "12")
        return Ran(process.exitcode, out, err)


def _command(words: tuple[str, ...], environment: dict[str, str], folder: str, patient: bool) -> None:
    """Do what `python starter.py` does, in a freshly forked process."""
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        opened = os.open(Path(folder, str(number)), flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0)  # noqa: SIM115 - multiprocessing has closed it
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    if patient:
        wait_longer()
    sys.argv = ["starter.py", *words]
    exit_now(starter.main())

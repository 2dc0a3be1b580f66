"""The world of a rehearsal: its own server, worker and data folder, all removed at its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from activities.rehearsal.interceptor import ANSWERS, CALLS
from cli.children import end_child, last_line, start_child, why
from cli.dev_server import DevServer, DevServerError
from cli.output import CommandError, ExitCode
from common.approval.floors import policy_file, write_alone
from common.approval.signing import Signer
from common.lifecycle import WORKER_READY
from common.settings import (
    ArchiveSettings,
    HttpSettings,
    MailSettings,
    NoticeSettings,
    Settings,
    SlackSettings,
    StateSettings,
    TelemetrySettings,
    table,
)
from common.temporal.connect import StackAddress

ROOT = Path(__file__).parents[2]
READY_WITHIN = 90.0
# Fire timers at once: by default the server checks every second, and that adds up over hundreds.
LIMITS = {"history.timerProcessorMaxTimeShift": '"10ms"', "history.defaultWorkflowTaskTimeout": '"5s"'}
# Settings that lead outside: a rehearsal has none of them.
OUTSIDE = (
    *(MailSettings, NoticeSettings, SlackSettings, StateSettings, HttpSettings, ArchiveSettings),
    TelemetrySettings,
)
LEFT_OUT = ("HIBERNAUT_BROKER", "HIBERNAUT_APPROVAL_KEYS", "HIBERNAUT_UNSIGNED")


@dataclass(frozen=True)
class World:
    """A rehearsal's settings, and the file in which its worker logs activity calls."""

    settings: Settings
    calls: Path
    worker: Process

    def check(self) -> None:
        """Check that its worker is still running.

        Raises:
            CommandError: the worker has ended.
        """
        if self.worker.returncode is not None:
            said = last_line(_log(self.calls.parent)) or "it said nothing"
            raise CommandError(f"the rehearsal's worker ended: {said}", ExitCode.NO_TEMPORAL)


@contextlib.asynccontextmanager
async def world(settings: Settings, answers: Mapping[str, JsonValue]) -> AsyncIterator[World]:
    """A world in a folder that is deleted afterwards, however the rehearsal ends.

    Args:
        settings: the user's; what governs their agents applies here, what leads outside is left out.
        answers: what activities return, by name.

    Raises:
        CommandError: the server or the worker does not start.
        SettingsError: a setting cannot be used.
    """
    async with contextlib.AsyncExitStack() as ending:
        folder = _new_folder()
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = _environment(settings, folder)
        own = Settings.read(environment)
        own.data_dir.mkdir()
        (folder / ANSWERS).write_text(json.dumps(answers))
        (folder / CALLS).touch()
        Signer.load(own, create=True)
        write_alone(own)
        try:
            server = await ending.enter_async_context(
                DevServer(own, ui_port=None, limits=LIMITS, scratch=True)
            )
            # Kill it, like its worker: nobody needs what they have in progress.
            ending.callback(server.kill)
        except DevServerError as error:
            raise CommandError(str(error), ExitCode.NO_TEMPORAL) from error
        roots = tuple(map(str, {Path.home(), Path.cwd()} - {Path("/")}))
        stack = StackAddress.find(settings)
        address = StackAddress(server.address, "", roots=stack.roots if stack else roots)
        StackAddress.file(own).write_text(json.dumps(asdict(address)))
        ending.enter_context(_alone())
        yield World(own, folder / CALLS, await _start_worker(environment, folder, ending))


def _new_folder() -> Path:
    # Resolve links: paths inside are reported as real paths.
    return Path(os.path.realpath(tempfile.mkdtemp(prefix="hibernaut-rehearsal-")))


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    """The environment of a rehearsal's worker: the user's, without what leads outside."""
    outside = {variable for group in OUTSIDE for variable in table(group)} | {*LEFT_OUT}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TEMPORAL_") and name not in outside
    }
    held = {
        "HIBERNAUT_POLICY": settings.policy or policy_file(settings),
        "HIBERNAUT_GROUPS": settings.groups or settings.data_dir / "groups.json",
        "HIBERNAUT_ROOTS": settings.roots or settings.data_dir / "roots.json",
    }
    return {
        **kept,
        **{name: str(file) for name, file in held.items() if file.exists()},
        "HIBERNAUT_DATA_DIR": str(folder / "data"),
        "HIBERNAUT_REHEARSAL": str(folder),
        "TEMPORAL_CONFIG_FILE": os.devnull,
        # Keep caches and temporary files of programs and libraries in there.
        "TMPDIR": str(folder),
        "MPLCONFIGDIR": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep this process off any other Temporal; ignore addresses from the shell or a config file."""
    found = {name: value for name, value in os.environ.items() if name.startswith("TEMPORAL_")}
    for name in found:
        del os.environ[name]
    os.environ["TEMPORAL_CONFIG_FILE"] = os.devnull
    try:
        yield
    finally:
        del os.environ["TEMPORAL_CONFIG_FILE"]
        os.environ.update(found)


async def _start_worker(
    environment: Mapping[str, str], folder: Path, ending: contextlib.AsyncExitStack
) -> Process:
    log = _log(folder)
    worker = await start_child([sys.executable, str(ROOT / "worker.py")], environment=environment, log=log)
    ending.push_async_callback(end_child, worker, 0)
    for _ in range(int(READY_WITHIN * 20)):
        if log.exists() and WORKER_READY in log.read_text(errors="replace"):
            return worker
        if worker.returncode is not None:
            break
        await asyncio.sleep(0.05)
    raise CommandError(f"the rehearsal's worker did not start: {why(log) or 'it said nothing'}")


def _log(folder: Path) -> Path:
    return folder / "worker.log"

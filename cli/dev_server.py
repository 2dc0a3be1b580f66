"""The real Temporal dev server on a SQLite file, as a child process: for `dev`, tests, demo and benches."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import shutil
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from temporalio.client import Client
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from cli.children import NotStartedError, end_child, keep_running, last_line, start_child
from cli.namespace import Namespace
from cli.rates import set_fetch_rate
from common.archive.anchor import ArchiveAnchor
from common.programs import packaged_program, scripts_folder
from common.settings import Settings
from common.temporal.codec import DATABASE
from common.temporal.connect import data_converter

HOST = "127.0.0.1"
NAMESPACE = "default"
READY_WITHIN = 60.0
STOP_WITHIN = 10.0
STARTS = 3
# Below the ephemeral range, so nobody else is given such a port before we listen on it. A client that keeps
# calling a stopped server may even be given the very port it calls.
FREE_PORTS = range(20_000, 32_000)
_GIVEN = itertools.count()

# WAL doubles the write rate. `synchronous=FULL` syncs what the server has acknowledged to disk; it is
# SQLite's default, set here so that a changed default cannot lose data.
PRAGMAS = {"journal_mode": "WAL", "synchronous": "FULL"}
# Acknowledged writes are in the page cache: they survive a killed server, not a crashed machine.
SCRATCH = {"synchronous": "OFF"}
# Variables passed on to the server. It needs none of our secrets, and reads TEMPORAL_* as options.
INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CONFIG_HOME", "GOMAXPROCS", "GOMEMLIMIT"}
)
DYNAMIC_CONFIG = {
    "frontend.WorkflowTimeSkippingEnabled": "true",
    "frontend.WorkflowPauseEnabled": "true",
    "matching.enableFairness": "true",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "history.transferProcessorMaxPollRPS": "5000",
    # Visibility queries a second. The default of ten is used up by one look at the agents' overview.
    "frontend.namespaceRPS.visibility": "100",
    # Flag a workflow task that failed twice in a row; the default of five takes minutes.
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": "2",
    # The server's HTTP API cannot be switched off, needs no authentication, and any web page can send to it.
    # So it accepts only a host name that cannot exist.
    "frontend.httpAllowedHosts": '["nobody.invalid"]',
}


class DevServerError(NotStartedError):
    """The dev server could not be started; the message says why and what to do."""


class EndedAtOnceError(DevServerError):
    """The server's process ended before it was ready."""


class DevServer:
    """A Temporal dev server that dies with this process.

    ``start`` after ``kill`` or ``stop`` uses the same ports and the same database.

    Args:
        settings: which `temporal` program to run, and the data folder.
        port: TCP port of Temporal; 0 picks a free one.
        ui_port: TCP port of the Web UI; 0 picks a free one, None leaves the Web UI out.
        ui_host: address that the Web UI listens on.
        database: the SQLite file; the data folder's own if None.
        limits: extra dynamic configuration.
        codec: address of the codec that decodes payloads for the Web UI; empty for none.
        scratch: do not wait for the disk; data may be lost if the machine crashes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        port: int = 0,
        ui_port: int | None = 0,
        ui_host: str = HOST,
        database: Path | None = None,
        limits: Mapping[str, str] | None = None,
        codec: str = "",
        scratch: bool = False,
    ) -> None:
        self._codec = codec
        self._pragmas = PRAGMAS | SCRATCH if scratch else PRAGMAS
        self._dynamic_config = {**DYNAMIC_CONFIG, **(limits or {})}
        self._program = find_program(settings)
        self._port = port or free_port()
        self._ui_port = free_port() if ui_port == 0 else ui_port
        self._ui_host = ui_host
        self._database = database or settings.data_dir / DATABASE
        self._process: Process | None = None
        self.log = settings.data_dir / "logs" / "temporal.log"

    @property
    def address(self) -> str:
        """Where Temporal listens, `host:port`."""
        return f"{HOST}:{self._port}"

    @property
    def ui(self) -> str:
        """The address of the Web UI; empty without one."""
        return f"http://{self._ui_host}:{self._ui_port}" if self._ui_port else ""

    # What `outage` can kill: a cluster has several parts, this server is one process.
    killable_parts = ("the Temporal server",)

    @asynccontextmanager
    async def outage(self, _: str) -> AsyncIterator[None]:
        """Kill the server; restart it on exit."""
        self.kill()
        await self.wait()
        yield
        await self.start()

    @property
    def pid(self) -> int:
        """The process id of the server that was started last; 0 before the first start."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the server and wait until it is ready, with search attributes and retention set.

        If it ends at once, it is restarted, up to three starts in all.

        Raises:
            DevServerError: the port is taken, the server ended, or was not ready within a minute.
        """
        if self._process:
            await self._process.wait()
        if await listens(self._port):
            # Do not mistake what answers there for this server.
            raise DevServerError(f"port {self._port} is taken: stop what listens there, or choose another.")
        self._database.parent.mkdir(parents=True, exist_ok=True)
        for further in range(STARTS - 1, -1, -1):
            try:
                return await self._start_once()
            except EndedAtOnceError:
                # Its inner services listen on ports that it found free a moment ago; another program may have
                # taken one.
                if not further:
                    raise

    async def _start_once(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name in INHERITED}
        self._process = await start_child(self._command(), environment=environment, log=self.log)
        try:
            await asyncio.wait_for(self._until_ready(self._process), READY_WITHIN)
        except TimeoutError:
            await self.stop()
            raise DevServerError(f"the Temporal server did not get ready; see {self.log}") from None
        except BaseException:
            await self.stop()
            raise

    def environment(self) -> dict[str, str]:
        """Environment variables that clients need to connect, whatever a config file says."""
        return {"TEMPORAL_ADDRESS": self.address, "TEMPORAL_CONFIG_FILE": os.devnull}

    def connection(self) -> ConnectConfig:
        """How this process connects; `TEMPORAL_*` may mean another server."""
        return ConnectConfig(target_host=self.address)

    async def set_up(self, environment: Mapping[str, str]) -> None:
        """Limit the fetch rate of workers with `environment`, and schedule the archivist if it never was.

        Everything else is set up at each start.

        Raises:
            DevServerError: the server refuses the limit or the schedule.
        """
        settings = Settings.read(environment)
        try:
            service = await ServiceClient.connect(self.connection())
            await set_fetch_rate(service.workflow_service, NAMESPACE, settings)
            client = Client(service, namespace=NAMESPACE, data_converter=data_converter(settings))
            anchor = ArchiveAnchor(client, settings)
            if await anchor.describe() is None:
                await anchor.set_up()
        except (RPCError, RuntimeError) as error:
            raise DevServerError(
                f"the Temporal server takes no rate for fetches, or no schedule: {error}"
            ) from error

    async def keep(self) -> None:
        """Restart it when it ends."""
        await keep_running(*self.killable_parts, self.wait, self.start, self.log)

    async def wait(self) -> int:
        """Wait until the server's process has ended and return its exit code."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """Stop the server, gracefully if it does so in time; does nothing if it has ended."""
        if self._process:
            await end_child(self._process, STOP_WITHIN)

    def kill(self) -> None:
        """Stop the server at once, with SIGKILL."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Do not wait a second for a graceful stop: what it has acknowledged is safe.
        self.kill()
        await self.wait()

    def _command(self) -> list[str]:
        command = [self._program, "server", "start-dev", "--ip", HOST, "--port", str(self._port)]
        command += ["--db-filename", str(self._database)]
        command += (
            ["--ui-port", str(self._ui_port), "--ui-disable-news-fetch"] if self._ui_port else ["--headless"]
        )
        if self._ui_port:
            command += ["--ui-ip", self._ui_host]
            command += ["--ui-codec-endpoint", self._codec] if self._codec else []
        for name, value in self._pragmas.items():
            command += ["--sqlite-pragma", f"{name}={value}"]
        for name, value in self._dynamic_config.items():
            command += ["--dynamic-config-value", f"{name}={value}"]
        return command

    async def _until_ready(self, process: Process) -> None:
        while not await self._prepared():
            if process.returncode is not None:
                raise EndedAtOnceError(
                    f"the Temporal server ended at once: {last_line(self.log) or 'it said nothing'} "
                    f"(log: {self.log})"
                )
            await asyncio.sleep(0.05)

    async def _prepared(self) -> bool:
        """Prepare the namespace for agents; False while the server is not ready."""
        if not await listens(self._port):
            return False
        try:
            service = await ServiceClient.connect(self.connection())
            namespace = Namespace(service, NAMESPACE)
            await namespace.keep_closed()
            await namespace.register_attributes()
        except (RPCError, RuntimeError):
            return False
        return True


def find_program(settings: Settings) -> str:
    """The path of the `temporal` program: the setting's, else the packaged one, else one on the PATH.

    Raises:
        DevServerError: the program is not found; the message names the setting.
    """
    wanted = settings.temporal_program
    found = shutil.which(wanted) if wanted else packaged_program("temporal") or shutil.which("temporal")
    if not found:
        raise DevServerError(
            f"no `temporal` program at {wanted or scripts_folder()}: run `make setup`, "
            f"or set HIBERNAUT_TEMPORAL_PROGRAM to the path of one."
        )
    return found


def hidden_host() -> str:
    """A loopback address that no web page can guess; on Linux all of 127.0.0.0/8 is local."""
    if sys.platform != "linux":
        return HOST
    return ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])


def free_port() -> int:
    """A TCP port that nothing listens on now; a different one in each call and process."""
    while True:
        port = FREE_PORTS[(89 * os.getpid() + next(_GIVEN)) % len(FREE_PORTS)]
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of this machine."""
    with socket.socket() as probe:
        # The server sets this too; without it, connections in TIME_WAIT would count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


async def listens(port: int) -> bool:
    """Whether something accepts connections on ``port`` of this machine."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True

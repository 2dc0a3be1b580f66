"""`starter.py dev`: runs the whole stack on this machine, and restarts what dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from temporalio.client import Client
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from cli.children import keep_running, keep_short, put_aside
from cli.copying.keeper import CopyKeeper, open_copy
from cli.copying.restore import restore_copy
from cli.dev_reload import reload
from cli.dev_server import HOST, NAMESPACE, DevServer, DevServerError, hidden_host
from cli.output import CommandError, ExitCode, say
from cli.ports import require_ports
from cli.supervised import ROOT, Supervised
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.client.builds import Builds
from common.client.errors import AgentClientError
from common.client.tokens import operator_token
from common.database import check_database
from common.files import write_atomically
from common.lifecycle import GATEWAY_READY, WORKER_READY
from common.settings import Settings, keep_private
from common.settings.state import CopyPlace
from common.temporal.codec import load_codec, prepare
from common.temporal.connect import StackAddress

GATEWAY_ENDS_WITHIN = 10.0
# Short: whoever stops the stack waits for its workers, and no other worker takes over.
DRAIN_SECONDS = 20
# After draining, a worker has 10 s to end and 10 s to report; past that it hangs.
DRAIN_WITHIN = 45.0
READY = "ready; Ctrl-C ends everything, and the next start brings it all back"


async def dev(
    settings: Settings,
    port: int,
    ui_port: int,
    http_port: int,
    workers: int,
    restore_from: CopyPlace | None,
    *,
    unsigned: bool,
    is_custom_folder: bool,
    reloads: bool,
) -> ExitCode:
    """Run the stack until SIGINT or SIGTERM.

    Args:
        settings: those of the data folder to run on.
        port: Temporal's TCP port.
        ui_port: the Web UI's TCP port.
        http_port: the gateway's TCP port; 0 leaves the gateway out.
        workers: number of worker processes.
        restore_from: a copy to restore first.
        unsigned: accept decisions without an entry point's signature.
        is_custom_folder: this is not the default data folder, so other shells have to be told.
        reloads: restart processes when their code changes.

    Raises:
        CommandError: another stack holds the data folder, a port is taken, or the server does not start.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"the data folder {settings.data_dir} cannot be made: {error.strerror}."
        ) from error
    keep_private(settings.data_dir)
    with locked(settings):
        await require_ports({"--port": port, "--ui-port": ui_port, "--http-port": http_port})
        if restore_from:
            await restore_copy(settings, restore_from)
        copy = await open_copy(settings)
        Signer.load(settings, create=True)
        prepare(settings, accepts_plain=unsigned)
        try:
            # Fail here, once, instead of in each process.
            load_codec(settings)
            await asyncio.to_thread(check_database, settings)
            ui = f"http://{HOST}:{ui_port}"
            if http_port:
                # The gateway proxies the Web UI there, for users who have signed in.
                server = DevServer(settings, port=port, ui_host=hidden_host(), codec=f"{ui}/codec")
            else:
                server = DevServer(settings, port=port, ui_port=ui_port)
            said = {"unsigned": unsigned, "is_custom_folder": is_custom_folder, "reloads": reloads}
            await Stack(settings, server, ui, workers, http_port, copy, **said).run()
        except DevServerError as error:
            raise CommandError(str(error), ExitCode.NO_TEMPORAL) from error
    return ExitCode.DONE


class Server(Protocol):
    """The Temporal that a stack runs on: the embedded server, or a cluster."""

    log: Path

    @property
    def address(self) -> str: ...
    @property
    def ui(self) -> str: ...
    def environment(self) -> dict[str, str]: ...
    def connection(self) -> ConnectConfig: ...
    async def start(self) -> None: ...
    async def set_up(self, environment: Mapping[str, str]) -> None: ...
    async def keep(self) -> None: ...
    async def stop(self) -> None: ...


class Stack:
    """Supervises the server, its workers and the gateway."""

    def __init__(
        self,
        settings: Settings,
        server: Server,
        ui: str,
        workers: int,
        http_port: int,
        copy: CopyKeeper | None,
        *,
        unsigned: bool,
        is_custom_folder: bool,
        reloads: bool = False,
    ) -> None:
        self._settings = settings
        self._server = server
        self._ui = ui
        self._unsigned = "accept" if unsigned else "refuse"
        self._reloads = reloads
        self._http = f"{HOST}:{http_port}" if http_port else ""
        self._workers = [self._worker(number) for number in range(1, workers + 1)]
        self._gateway = self._the_gateway() if http_port else None
        self._is_custom_folder = is_custom_folder
        self._copy = copy
        self._ending = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(sign, self._end)
        children = [*self._workers, *([self._gateway] if self._gateway else [])]
        logs = (self._server.log, *(each.log for each in children))
        for log in logs:
            put_aside(log)
        write_alone(self._settings)
        address = StackAddress.file(self._settings)
        keepers: list[asyncio.Task[None]] = []
        try:
            await self._server.start()
            await self._server.set_up(self._environment())
            http = f"http://{self._http}" if self._http else ""
            if self._http:
                operator_token(self._settings)  # creates it: without one the gateway refuses to start
            roots = tuple(map(str, {Path.home(), Path.cwd()} - {Path("/")}))
            stack = StackAddress(self._server.address, self._ui, http, roots, os.getpid())
            write_atomically(address, json.dumps(asdict(stack)).encode())
            keepers = [asyncio.create_task(self._server.keep()), asyncio.create_task(keep_short(logs))]
            if self._copy:
                keepers.append(asyncio.create_task(self._keep_copy(self._copy)))
            for each in children:
                await each.start()
                keepers.append(asyncio.create_task(each.keep()))
            if self._reloads:
                watching = reload(self._workers, self._gateway, self._environment())
                keepers.append(asyncio.create_task(watching))
            keepers.append(asyncio.create_task(self._introduce()))
            await self._ending.wait()
            say("ending …")
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            if self._gateway:
                await self._gateway.end()
            # Workers before the server: draining workers still report results to it.
            await asyncio.gather(*(each.end() for each in self._workers))
            await self._server.stop()
            if self._copy:
                await self._copy.finish()
            address.unlink(missing_ok=True)

    def _end(self) -> None:
        if self._ending.is_set():
            # A second request: do not wait until the workers have drained.
            for each in self._workers:
                each.kill()
        self._ending.set()

    def _worker(self, number: int) -> Supervised:
        def environment() -> dict[str, str]:
            return {
                **self._environment(),
                "HIBERNAUT_UNSIGNED": self._unsigned,
                "HIBERNAUT_DRAIN_SECONDS": str(min(DRAIN_SECONDS, self._settings.drain_seconds)),
                **self._metrics_of(number),
            }

        return Supervised(
            f"worker {number}",
            [sys.executable, str(ROOT / "worker.py")],
            environment,
            self._settings.data_dir / "logs" / f"worker-{number}.log",
            ready=WORKER_READY,
            ends_within=DRAIN_WITHIN,
            overlaps=not (self._settings.telemetry.metrics or self._settings.deployment.health),
        )

    def _metrics_of(self, number: int) -> dict[str, str]:
        """Metrics settings: the first worker uses the configured port, each further one the next port."""
        at = self._settings.telemetry.metrics
        return {"HIBERNAUT_METRICS": f"{at[0]}:{at[1] + number - 1}"} if at else {}

    async def _keep_copy(self, copy: CopyKeeper) -> None:
        program = copy.program
        await program.start()
        again = asyncio.create_task(keep_running("litestream", program.wait, program.start, program.log))
        try:
            await copy.keep()
        finally:
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)
        await program.stop()

    def _the_gateway(self) -> Supervised:
        def environment() -> dict[str, str]:
            return {
                **self._environment(),
                "HIBERNAUT_CODEC_ORIGIN": self._ui,
                "HIBERNAUT_WEB_UI": self._server.ui,
                "PYTHONPATH": str(ROOT),
            }

        return Supervised(
            "the gateway",
            [sys.executable, "-m", "gateway"],
            environment,
            self._settings.data_dir / "logs" / "gateway.log",
            ready=GATEWAY_READY,
            ends_within=GATEWAY_ENDS_WITHIN,
            overlaps=False,
        )

    def _environment(self) -> dict[str, str]:
        # Children use this stack's server; ignore any address from the shell or a config file.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
        return {
            **kept,
            **self._server.environment(),
            "HIBERNAUT_DATA_DIR": str(self._settings.data_dir),
            # Links in notices lead to the gateway.
            **({"HIBERNAUT_HTTP": self._http} if self._http else {}),
            "TEMPORAL_DEPLOYMENT_NAME": self._settings.deployment.name,
            "TEMPORAL_WORKER_BUILD_ID": self._settings.deployment.build,
        }

    async def _make_current(self) -> None:
        """Make this stack's build the current one, so that new agents begin on its workers."""
        service = await ServiceClient.connect(self._server.connection())
        builds, wanted = (
            Builds(Client(service, namespace=NAMESPACE), self._settings),
            self._settings.deployment,
        )
        try:
            if (await builds.workers()).current.partition(":")[2] != wanted.build:
                await builds.set_current(wanted.build)
                there = f"build {wanted.build}" if wanted.build else "unversioned workers"
                say(f"new agents begin on {there}")
        except (AgentClientError, RPCError) as error:
            say(f"WARNING      {error}")

    def _elsewhere_needs(self) -> str:
        """What another shell must set to find this stack; the address itself is in the data folder."""
        needed = {"HIBERNAUT_DATA_DIR": str(self._settings.data_dir), **self._server.environment()}
        found = ("TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE")
        return " ".join(f"{name}={value}" for name, value in needed.items() if name not in found)

    async def _introduce(self) -> None:
        """Print the addresses once a worker polls and the gateway listens."""
        await self._workers[0].is_ready()
        await self._make_current()
        if self._gateway:
            await self._gateway.is_ready()
        say(f"Temporal     {self._server.address}")
        signed_in = "    (once signed in at the dashboard)" if self._http else ""
        if self._ui:
            say(f"Web UI       {self._ui}{signed_in}")
        if self._http:
            say(f"dashboard    http://{self._http}    token: {operator_token(self._settings)}")
            say(f"HTTP         http://{self._http}/docs")
        say(f"data         {self._settings.data_dir}")
        if self._copy:
            say(f"its copy     {self._copy.place}    (how old: starter.py doctor)")
        say("an agent     starter.py start code-auditor --set path=FOLDER    (kinds: starter.py agents)")
        if self._unsigned == "accept":
            say("WARNING      --unsigned: whoever reaches Temporal, a web page maybe, can decide as anybody")
        if self._is_custom_folder:
            say(f"other shells need {self._elsewhere_needs()}")
        say(READY)


@contextlib.contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Lock the data folder; the lock is released when this process ends, however it ends."""
    with (settings.data_dir / "dev.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CommandError(
                f"another stack (process {file.read().strip() or '?'}) runs on {settings.data_dir}: "
                "stop it, or give --data-dir another folder."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield

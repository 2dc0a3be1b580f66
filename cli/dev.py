"""`starter.py dev`: runs the whole stack on this machine, and restarts what dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from temporalio.client import Client
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from cli.children import end_child, keep_running, put_aside, start_child, until_says
from cli.copying.keeper import CopyKeeper, open_copy
from cli.copying.restore import restore_copy
from cli.dev_server import HOST, NAMESPACE, DevServer, DevServerError, hidden_host
from cli.output import CommandError, ExitCode, say
from cli.rates import set_fetch_rate
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.artifacts import write_atomically
from common.client.builds import Builds
from common.client.errors import AgentClientError
from common.client.tokens import operator_token
from common.settings import Settings, keep_private
from common.settings.state import CopyPlace
from common.temporal.codec import load_codec, prepare
from common.temporal.connect import StackAddress

WORKER = Path(__file__).parent.parent / "worker.py"
WORKER_READY = "worker ready"
ROOT = WORKER.parent
GATEWAY_ENDS_WITHIN = 10.0
# Who ends the stack waits for it, and there is nobody to hand over to.
DRAIN_SECONDS = 20
# After that a worker has 10 s to end and 10 s to report; after those it hangs.
DRAIN_WITHIN = 45.0
GATEWAY_READY = "gateway ready"
PORT_PATIENCE = 2.0  # the server of a stack that was just killed may still be shutting down


async def dev(
    settings: Settings,
    port: int,
    ui_port: int,
    http_port: int,
    workers: int,
    restore_from: CopyPlace | None,
    *,
    unsigned: bool,
    elsewhere: bool,
) -> ExitCode:
    """Run the stack until SIGINT or SIGTERM.

    Args:
        settings: with the data folder to run on.
        port: of Temporal.
        ui_port: of the Web UI.
        http_port: of the gateway; 0 leaves the gateway out.
        workers: how many worker processes.
        restore_from: the place of a copy that is brought back first.
        unsigned: count decisions that no entry point has signed.
        elsewhere: other shells do not find this data folder by default.

    Raises:
        CommandError: another stack holds the data folder, a port is taken, or the server does not start.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    keep_private(settings.data_dir)
    with _locked(settings):
        for number, option in ((port, "--port"), (ui_port, "--ui-port"), (http_port, "--http-port")):
            if number:
                await _require_free(number, option)
        if restore_from:
            await restore_copy(settings, restore_from)
        copy = await open_copy(settings)
        Signer.load(settings, create=True)
        prepare(settings, accepts_plain=unsigned)
        try:
            load_codec(settings)  # its complaints come now, and not from each process
            ui = f"http://{HOST}:{ui_port}"
            if http_port:
                # The gateway serves it there, to whoever has signed in.
                server = DevServer(settings, port=port, ui_host=hidden_host(), codec=f"{ui}/codec")
            else:
                server = DevServer(settings, port=port, ui_port=ui_port)
            await _Stack(
                settings, server, ui, workers, http_port, copy, unsigned=unsigned, elsewhere=elsewhere
            ).run()
        except DevServerError as error:
            raise CommandError(str(error), ExitCode.NO_TEMPORAL) from error
    return ExitCode.DONE


class _Stack:
    """Supervises the server, its workers and the gateway."""

    def __init__(
        self,
        settings: Settings,
        server: DevServer,
        ui: str,
        workers: int,
        http_port: int,
        copy: CopyKeeper | None,
        *,
        unsigned: bool,
        elsewhere: bool,
    ) -> None:
        self._settings = settings
        self._server = server
        self._ui = ui
        self._unsigned = "accept" if unsigned else "refuse"
        self._workers: dict[int, Process] = {}
        self._count = workers
        self._http = f"{HOST}:{http_port}" if http_port else ""
        self._gateway: Process | None = None
        self._elsewhere = elsewhere
        self._copy = copy
        self._ending = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(sign, self._end)
        numbers = range(1, self._count + 1)
        for log in (self._server.log, self._gateway_log, *map(self._worker_log, numbers)):
            put_aside(log)
        write_alone(self._settings)
        address = StackAddress.file(self._settings)
        keepers: list[asyncio.Task[None]] = []
        try:
            await self._server.start()
            await self._limit_fetches()
            http = f"http://{self._http}" if self._http else ""
            if self._http:
                operator_token(self._settings)  # the gateway does not start where nobody could sign in
            roots = tuple(map(str, {Path.home(), Path.cwd()} - {Path("/")}))
            stack = StackAddress(temporal=self._server.address, ui=self._ui, http=http, roots=roots)
            write_atomically(address, json.dumps(asdict(stack)).encode())
            keepers = [asyncio.create_task(self._keep_server())]
            if self._copy:
                keepers.append(asyncio.create_task(self._keep_copy(self._copy)))
            for number in numbers:
                await self._start_worker(number)
                keepers.append(asyncio.create_task(self._keep_worker(number)))
            if self._http:
                await self._start_gateway()
                keepers.append(asyncio.create_task(self._keep_gateway()))
            keepers.append(asyncio.create_task(self._introduce()))
            await self._ending.wait()
            say("ending …")
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            if self._gateway:
                await end_child(self._gateway, GATEWAY_ENDS_WITHIN)
            # Workers first: a drained worker reports its results to a server that still listens.
            await asyncio.gather(*(end_child(worker, DRAIN_WITHIN) for worker in self._workers.values()))
            await self._server.stop()
            if self._copy:
                await self._copy.finish()
            address.unlink(missing_ok=True)

    async def _limit_fetches(self) -> None:
        try:
            service = await ServiceClient.connect(ConnectConfig(target_host=self._server.address))
            await set_fetch_rate(service.workflow_service, NAMESPACE, self._settings)
        except (RPCError, RuntimeError) as error:
            raise DevServerError(f"the Temporal server does not take a rate for fetches: {error}") from error

    def _end(self) -> None:
        if self._ending.is_set():
            # A second request: do not wait until the workers have drained.
            for worker in self._workers.values():
                if worker.returncode is None:
                    worker.kill()
        self._ending.set()

    async def _keep_server(self) -> None:
        await keep_running("the Temporal server", self._server.wait, self._server.start, self._server.log)

    async def _keep_worker(self, number: int) -> None:
        async def wait() -> int:
            return await self._workers[number].wait()

        await keep_running(
            f"worker {number}", wait, lambda: self._start_worker(number), self._worker_log(number)
        )

    async def _start_worker(self, number: int) -> None:
        self._workers[number] = await start_child(
            [sys.executable, str(WORKER)],
            environment={
                **self._environment(),
                "HIBERNAUT_UNSIGNED": self._unsigned,
                "HIBERNAUT_DRAIN_SECONDS": str(min(DRAIN_SECONDS, self._settings.drain_seconds)),
            },
            log=self._worker_log(number),
        )

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

    async def _keep_gateway(self) -> None:
        async def wait() -> int:
            return await self._gateway.wait() if self._gateway else 0

        await keep_running("the gateway", wait, self._start_gateway, self._gateway_log)

    async def _start_gateway(self) -> None:
        self._gateway = await start_child(
            [sys.executable, "-m", "gateway"],
            environment={
                **self._environment(),
                "HIBERNAUT_CODEC_ORIGIN": self._ui,
                "HIBERNAUT_WEB_UI": self._server.ui,
                "PYTHONPATH": str(ROOT),
            },
            log=self._gateway_log,
        )

    def _environment(self) -> dict[str, str]:
        # Children use this stack's server, whatever the shell or a configuration file says.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
        return {
            **kept,
            "TEMPORAL_ADDRESS": self._server.address,
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "HIBERNAUT_DATA_DIR": str(self._settings.data_dir),
            # The worker's links lead to the gateway.
            **({"HIBERNAUT_HTTP": self._http} if self._http else {}),
            "TEMPORAL_DEPLOYMENT_NAME": self._settings.deployment.name,
            "TEMPORAL_WORKER_BUILD_ID": self._settings.deployment.build,
        }

    async def _make_current(self) -> None:
        """Have new agents begin on this stack's workers, whatever build those are or were the last time."""
        service = await ServiceClient.connect(ConnectConfig(target_host=self._server.address))
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

    @property
    def _gateway_log(self) -> Path:
        return self._settings.data_dir / "logs" / "gateway.log"

    def _worker_log(self, number: int) -> Path:
        return self._settings.data_dir / "logs" / f"worker-{number}.log"

    async def _introduce(self) -> None:
        """Print the addresses once a worker polls and the gateway listens."""
        await until_says(self._worker_log(1), WORKER_READY)
        await self._make_current()
        if self._http:
            await until_says(self._gateway_log, GATEWAY_READY)
        say(f"Temporal     {self._server.address}")
        signed_in = "    (once signed in at the dashboard)" if self._http else ""
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
        if self._elsewhere:
            say(f"other shells need HIBERNAUT_DATA_DIR={self._settings.data_dir}")
        say("ready; Ctrl-C ends everything, and the next start brings it all back")


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[None]:
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


async def _require_free(port: int, option: str) -> None:
    deadline = asyncio.get_running_loop().time() + PORT_PATIENCE
    while not _is_free(port):
        if asyncio.get_running_loop().time() > deadline:
            raise CommandError(f"port {port} is taken: stop what listens there, or give {option} another.")
        await asyncio.sleep(0.1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does, so that lingering connections do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

"""Temporal on PostgreSQL: the database and the server's four roles, as processes on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from cli.children import NotStartedError, keep_running, last_line, put_aside
from cli.cluster.build import Programs, build
from cli.cluster.certificates import Certificates
from cli.cluster.parts import Database, Part, Role
from cli.cluster.postgres import ACCOUNT, USER, binaries
from cli.dev_server import HOST, INHERITED, is_free, listens
from cli.output import ExitCode, say
from common.files import write_atomically

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "temporal"
# The folder of the certificates in `tls.env`, as containers see it.
TLS_FOLDER = "/tls"
ROLES = ("history", "matching", "frontend", "worker")
LISTENERS = tuple(f"{role.upper()}_{kind}_PORT" for role in ROLES for kind in ("GRPC", "MEMBERSHIP"))
# On PostgreSQL the server stores its roles' ports in a smallint.
PORT_RANGE = range(10_000, 32_768)
PORTS = ("DB_PORT", "FRONTEND_HTTP_PORT", *LISTENERS)
SCHEMAS = {"temporal": "postgresql/v12/temporal", "temporal_visibility": "postgresql/v12/visibility"}
READY_WITHIN = 120.0


class Cluster:
    """PostgreSQL and Temporal in `folder`, with the configuration that `deploy/` ships.

    ``start`` after ``stop``, or after everything was killed, reuses the data. When run as root, the user
    `postgres` must be able to reach `folder`.

    Args:
        folder: holds its data, logs, ports and certificates.
        limits: extra dynamic configuration, as for `DevServer`.
        tls: require certificates of clients and roles; `start` makes them.
    """

    # The server comes without a Web UI.
    ui = ""

    def __init__(self, folder: Path, *, limits: Mapping[str, str] | None = None, tls: bool = False) -> None:
        self.folder = folder.absolute()
        self._limits = limits or {}
        self._ports: dict[str, int] = {}
        self._programs: Programs | None = None
        self.certificates = Certificates(self.folder / "tls") if tls else None
        self.log = self.folder / "logs" / "frontend.log"
        self.database: Database
        self.roles: list[Role] = []
        self._may_run: dict[str, asyncio.Event] = {}

    @property
    def killable_parts(self) -> Sequence[str]:
        """The names of the parts that `outage` can kill."""
        return [part.name for part in self._parts]

    @property
    def _parts(self) -> Sequence[Part]:
        return [self.database, *self.roles]

    @property
    def address(self) -> str:
        """Where Temporal's frontend listens, `host:port`."""
        return f"{HOST}:{self._ports['FRONTEND_GRPC_PORT']}"

    def environment(self) -> dict[str, str]:
        """Environment variables that clients need to connect."""
        tls = self.certificates.environment() if self.certificates else {}
        return {"TEMPORAL_ADDRESS": self.address, "TEMPORAL_CONFIG_FILE": os.devnull, **tls}

    def connection(self) -> ConnectConfig:
        """How the stack itself connects to it."""
        return ConnectConfig(
            target_host=self.address, tls=self.certificates.config() if self.certificates else False
        )

    async def start(self) -> None:
        """Start all parts and wait until the frontend answers.

        Raises:
            NotStartedError: a program is missing, or a part does not start; the message says why.
        """
        await asyncio.to_thread(self._prepare)
        await self.database.start()
        await asyncio.to_thread(self._write_schema)
        for role in self.roles:
            await role.start()
        try:
            await asyncio.wait_for(self._until_ready(), READY_WITHIN)
        except TimeoutError:
            said = "; ".join(f"{role.name}: {last_line(role.log)}" for role in self.roles)
            await self.stop()
            raise NotStartedError(f"Temporal did not get ready: {said}") from None

    async def set_up(self, environment: Mapping[str, str]) -> None:
        """Run `starter.py setup`, retrying while the roles are still finding each other.

        Raises:
            NotStartedError: something could not be set up.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
        deadline = asyncio.get_running_loop().time() + READY_WITHIN
        while True:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(ROOT / "starter.py"), "setup"),
                env={**kept, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            out, err = await process.communicate()
            if process.returncode != ExitCode.NO_TEMPORAL or asyncio.get_running_loop().time() > deadline:
                break
        said = [line for line in out.decode().splitlines() if not line.startswith("there")]
        if process.returncode:
            raise NotStartedError("; ".join([*said, err.decode().strip()]))
        for line in said:
            say(line)

    async def keep(self) -> None:
        """Restart each part when it ends."""
        await asyncio.gather(*map(self._keep, self._parts))

    async def _keep(self, part: Part) -> None:
        async def start() -> None:
            await self._may_run[part.name].wait()
            await part.start()

        await keep_running(part.name, part.wait, start, part.log)

    @asynccontextmanager
    async def outage(self, name: str) -> AsyncIterator[None]:
        """Kill the named part; it comes back on exit. `keep` must be running."""
        part = next(part for part in self._parts if part.name == name)
        self._may_run[name].clear()
        part.kill()
        await part.wait()
        try:
            yield
        finally:
            self._may_run[name].set()

    async def stop(self) -> None:
        """Stop all parts in order, the database last."""
        if self.roles:
            await asyncio.gather(*(role.stop() for role in self.roles))
            await self.database.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _prepare(self) -> None:
        if binaries() is None:
            raise NotStartedError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        programs = self._programs = build()
        self.folder.mkdir(parents=True, exist_ok=True)
        _require_reachable(self.folder)
        self._choose_ports()
        if self.certificates:
            self.certificates.make()
        self._configuration().write_text(self._dynamic())
        self.database = Database(self.folder / "postgres", self._ports["DB_PORT"])
        logs = self.folder / "logs"
        self.roles = [
            Role(role, programs.server, self._role_environment, logs / f"{role}.log") for role in ROLES
        ]
        for part in self._parts:
            self._may_run[part.name] = gate = asyncio.Event()
            gate.set()
        for role in self.roles:
            put_aside(role.log)

    def _choose_ports(self) -> None:
        """Reuse the previous ports where they are free: clients elsewhere know them."""
        file = self.folder / "ports.json"
        try:
            kept = json.loads(file.read_text())
        except (OSError, ValueError):
            kept = {}
        chosen = dict[str, int]()
        for name in PORTS:
            port = int(kept.get(name, 0))
            while port not in PORT_RANGE or port in chosen.values() or not is_free(port):
                port = random.choice(PORT_RANGE)  # noqa: S311 - any will do
            chosen[name] = port
        self._ports = chosen
        write_atomically(file, json.dumps(self._ports, indent=2).encode())

    def _configuration(self) -> Path:
        return self.folder / "dynamic_config.yaml"

    def _dynamic(self) -> str:
        shipped = (SHIPPED / "dynamic_config.yaml").read_text()
        more = {name: [{"value": yaml.safe_load(value)}] for name, value in self._limits.items()}
        return shipped + (yaml.safe_dump(more) if more else "")

    def _role_environment(self) -> dict[str, str]:
        """The environment of the server's processes: the shipped one, with local addresses and paths."""
        inherited = {name: value for name, value in os.environ.items() if name in INHERITED}
        found = {
            **inherited,
            **shipped("server.env"),
            **{name: str(port) for name, port in self._ports.items()},
            "BIND_ON_IP": HOST,
            "POSTGRES_SEEDS": HOST,
            "POSTGRES_USER": USER,
            "POSTGRES_PWD": self.database.postgres.password,
            "DYNAMIC_CONFIG_FILE_PATH": str(self._configuration()),
        }
        if self.certificates:
            folder = str(self.certificates.folder)
            found |= {
                name: value.replace(TLS_FOLDER, folder, 1) for name, value in shipped("tls.env").items()
            }
        return found

    def _write_schema(self) -> None:
        """Create the databases and their tables, or bring them up to this version."""
        for database, schema in SCHEMAS.items():
            self._sql(database, "create-database")
            self._sql(database, "setup-schema", "--version", "0.0")
            self._sql(database, "update-schema", "--schema-name", schema)

    def _sql(self, database: str, *words: str) -> None:
        assert self._programs
        postgres, plugin = self.database.postgres, shipped("server.env")["DB"]
        place = ["--endpoint", HOST, "--port", str(postgres.port), "--user", USER, "--database", database]
        done = subprocess.run(
            [self._programs.sql, "--plugin", plugin, *place, *words],
            env={"SQL_PASSWORD": postgres.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stderr + done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
            raise NotStartedError(f"the schema of {database} cannot be written: {said[0]}")

    async def _until_ready(self) -> None:
        """Wait until the frontend answers; on a first start, restart the role that lost the metadata race."""
        while not await self._answers():
            for role in self.roles:
                if role.process is None or role.process.returncode is not None:
                    await role.start()
            await asyncio.sleep(0.5)

    async def _answers(self) -> bool:
        if not await listens(self._ports["FRONTEND_GRPC_PORT"]):
            return False
        try:
            service = await ServiceClient.connect(self.connection())
            await service.workflow_service.get_system_info(GetSystemInfoRequest())
        except (RPCError, RuntimeError):
            return False
        return all(role.process and role.process.returncode is None for role in self.roles)


def shipped(file: str) -> dict[str, str]:
    """The variables of a file of `deploy/temporal`."""
    lines = (SHIPPED / file).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _require_reachable(folder: Path) -> None:
    """Let the user `postgres` enter `folder`; as root, refuse a parent folder that shuts it out."""
    folder.chmod(0o711)
    if os.geteuid():
        return
    closed = [str(above) for above in folder.parents if not above.stat().st_mode & 0o001]
    if closed:
        raise NotStartedError(
            f"the user {ACCOUNT}, as whom PostgreSQL runs, cannot enter {closed[-1]}: give --folder another, "
            "/var/lib/hibernaut-cluster for example."
        )

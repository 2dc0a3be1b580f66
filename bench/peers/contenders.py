"""The contenders: each has its own servers, so that their usage is attributable."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import kept_cluster
from bench.peers.figures import Figures
from bench.peers.side import BareSide, KitSide, PeerSide, Side
from bench.peers.venv import python_of_peers
from cli.children import NotStartedError
from cli.cluster.build import built
from cli.cluster.postgres import USER, Postgres, binaries
from cli.dev_server import DevServer, free_port
from common.key_ring import rotate
from common.settings import Settings
from common.temporal.codec import key_file
from common.temporal.connect import connect

PEERS = ("langgraph", "dbos")
ON_SQLITE = {"kit": KitSide, "kit-encrypted": KitSide, "bare": BareSide}
ON_CLUSTER = "kit-postgres"
NAMES = ("kit", "kit-encrypted", ON_CLUSTER, "bare", *PEERS)
SAYS = {
    "kit": "Kit on the dev server (SQLite)",
    "kit-encrypted": "Kit on the dev server, payloads compressed and encrypted as `dev` has them",
    ON_CLUSTER: "Kit with Temporal on PostgreSQL, as `deploy/` has it",
    "bare": "Bare Temporal SDK on the dev server",
    "langgraph": "LangGraph with PostgresSaver",
    "dbos": "DBOS on PostgreSQL",
}
DATABASE = "bench"


class CannotTakePartError(Exception):
    """Something a contender needs is missing; the message says what."""


@dataclass
class Contender:
    """A contender, with its servers running.

    `servers` returns the processes (including their children) that keep its agents; `used` returns the bytes
    in their database.
    """

    name: str
    side: Side
    servers: Callable[[], Sequence[int]]
    used: Callable[[], int]
    figures: Figures = field(default_factory=Figures)


@asynccontextmanager
async def contender(name: str, folder: Path) -> AsyncIterator[Contender]:
    """The named contender in its own folder. Its worker is not started here, but stopped on exit.

    Raises:
        CannotTakePartError: PostgreSQL, Temporal's own server or the peers' packages are missing.
    """
    await asyncio.to_thread(folder.mkdir)
    if name not in ON_SQLITE and binaries() is None:
        raise CannotTakePartError("PostgreSQL is not installed (Debian: postgresql)")
    opening = _on_cluster if name == ON_CLUSTER else _on_sqlite if name in ON_SQLITE else _on_postgres
    async with opening(name, folder) as found:
        try:
            yield found
        finally:
            await found.side.end_worker()


@asynccontextmanager
async def _on_sqlite(name: str, folder: Path) -> AsyncIterator[Contender]:
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
    if name == "kit-encrypted":
        rotate(key_file(settings))
    database = folder / "temporal.db"
    async with DevServer(settings, ui_port=None, database=database) as server:
        # Use the bench's own server; ignore any address from the shell or a config file.
        os.environ.update(TEMPORAL_ADDRESS=server.address, TEMPORAL_CONFIG_FILE=os.devnull)
        side = ON_SQLITE[name](await connect(settings), settings, server.address)
        yield Contender(name, side, lambda: [server.pid], lambda: bytes_of_sqlite(database))


@asynccontextmanager
async def _on_cluster(name: str, folder: Path) -> AsyncIterator[Contender]:
    if not built():
        raise CannotTakePartError("Temporal's server is not built: `make cluster` builds it")
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / "data")})
    try:
        async with kept_cluster(folder / "cluster", settings) as cluster:
            postgres = cluster.database.postgres
            side = KitSide(await connect(settings), settings, cluster.address)

            def servers() -> Sequence[int]:
                roles = [role.process.pid for role in cluster.roles if role.process]
                return [*roles, *([postgres.pid] if postgres.pid else [])]

            yield Contender(name, side, servers, lambda: bytes_of_postgres(postgres))
    except NotStartedError as error:
        raise CannotTakePartError(str(error)) from None


@asynccontextmanager
async def _on_postgres(name: str, folder: Path) -> AsyncIterator[Contender]:
    try:
        python = python_of_peers()
    except RuntimeError as error:
        raise CannotTakePartError(str(error)) from None
    postgres = Postgres(folder / "postgres", free_port())
    postgres.start()
    try:
        postgres.create(DATABASE)
        url = postgres.url(DATABASE).replace("+psycopg", "")
        side = PeerSide(name, python, folder, url)
        yield Contender(
            name,
            side,
            lambda: [postgres.pid] if postgres.pid else [],
            lambda: bytes_of_postgres(postgres),
        )
    finally:
        postgres.stop()


def bytes_of_sqlite(database: Path) -> int:
    """Bytes of pages in use, including the WAL; the file size lags, and free pages are not growth."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        (pages,), (free,), (size,) = (
            connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def bytes_of_postgres(postgres: Postgres) -> int:
    """Bytes of all databases, including indexes, without the write-ahead log."""
    programs = binaries()
    assert programs
    asked = subprocess.run(
        [
            *(programs / "psql", "--no-psqlrc", "-At", "--host=127.0.0.1", f"--port={postgres.port}"),
            *(f"--username={USER}", "--dbname=postgres"),
            *("-c", "SELECT sum(pg_database_size(oid)) FROM pg_database"),
        ],
        env={**os.environ, "PGPASSWORD": postgres.password},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(asked.stdout)

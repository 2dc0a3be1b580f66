"""Litestream, the program that copies SQLite databases while they are written: how it is run and asked."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from cli.children import end_child, last_line, start_child
from cli.copying.place import OpenPlace

# Of the databases in a data folder; those below it can be made again.
PATTERNS = ("*.db", "*.sqlite")
HEADER = b"SQLite format 3\0"
# For so long it keeps the past of a database, and this program what was deleted.
RETENTION_HOURS = 24
SOCKET = "socket"
MAX_SOCKET_PATH = 100  # bytes; what systems allow is a little more
STARTS_WITHIN = 10.0
ANSWERS_WITHIN = 30.0
ENDS_WITHIN = 15.0
# Besides the variables by which Amazon's libraries find credentials.
INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)


class LitestreamError(Exception):
    """The program cannot do it; the message says why."""


class Litestream:
    """A `litestream` process that copies the databases of a folder, and dies with this process.

    Args:
        folder: that has the databases.
        place: where the copy is kept.
        log: what it prints.
    """

    def __init__(self, folder: Path, place: OpenPlace, log: Path) -> None:
        self._folder = folder
        self._place = place
        self._program = find_program()
        self._process: Process | None = None
        self._runtime: Path | None = None
        self._control: httpx.AsyncClient | None = None
        self.log = log

    async def start(self) -> None:
        """Start it, and wait until it can be asked; whether it copies, `sync` says."""
        watched = [
            {"dir": str(self._folder), "pattern": pattern, "watch": True, "replica": self._place.replica()}
            for pattern in PATTERNS
        ]
        retention = f"{RETENTION_HOURS}h"
        if self._runtime is None:
            self._runtime = _room_for_socket(self._folder)
            # One for all: making a client takes longer than what it is asked.
            transport = httpx.AsyncHTTPTransport(uds=str(self._runtime / SOCKET))
            self._control = httpx.AsyncClient(transport=transport, timeout=2 * ANSWERS_WITHIN)
        config = {
            "dbs": watched,
            "socket": {"enabled": True, "path": str(self._runtime / SOCKET)},
            "snapshot": {"interval": retention, "retention": retention},
            # The transaction that a mark names is found among the uncompacted ones for so long.
            "l0-retention": "10m",
            # What is committed until the end is copied before it is asked to end.
            "shutdown-sync-timeout": "2s",
            "logging": {"level": "warn"},
        }
        self._process = await start_child(
            [self._program, "replicate", *_configured(self._runtime, config)],
            environment=_environment(),
            log=self.log,
        )
        deadline = asyncio.get_running_loop().time() + STARTS_WITHIN
        while not (self._runtime / SOCKET).exists() and self.runs:
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.05)

    @property
    def runs(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    async def wait(self) -> int:
        """Wait until the process has ended; its exit code."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """End it."""
        if self._process:
            await end_child(self._process, ENDS_WITHIN)
        if self._runtime and self._control:
            await self._control.aclose()
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._runtime = self._control = None

    async def sync(self, database: Path, *, to_the_end: bool) -> int:
        """Copy what was committed until now; the number of the last transaction.

        Args:
            database: one of the folder's.
            to_the_end: wait until it is at the place; else what is to go there is written here.

        Raises:
            LitestreamError: it does not run yet, does not know the database yet, or cannot reach the place.
        """
        asked = {"path": str(database), "wait": to_the_end, "timeout": int(ANSWERS_WITHIN)}
        if self._control is None:
            raise LitestreamError("litestream does not run")
        try:
            answer = await self._control.post("http://litestream/sync", json=asked)
        except httpx.HTTPError as error:
            raise LitestreamError(
                f"litestream does not answer ({type(error).__name__}); see {self.log}"
            ) from error
        found: dict[str, Any] = answer.json()
        if answer.is_error:
            raise LitestreamError(f"litestream: {database.name}: {found.get('error')}")
        return int(found["txid"])


def databases(folder: Path) -> list[Path]:
    """The databases of a data folder that are copied."""
    return sorted(file for pattern in PATTERNS for file in folder.glob(pattern) if _is_database(file))


async def restore(place: OpenPlace, name: str, transaction: int | None, file: Path, log: Path) -> None:
    """Write a database to `file` as it was at a transaction, or at the last one copied.

    Raises:
        LitestreamError: it cannot; nothing is at `file` then.
    """
    with tempfile.TemporaryDirectory(prefix="hibernaut-copy-") as runtime:
        config = {"dbs": [{"path": str(file), "replica": place.replica(name)}], "logging": {"level": "warn"}}
        how = ["-integrity-check", "quick", *(["-txid", f"{transaction:016x}"] if transaction else [])]
        process = await start_child(
            [find_program(), "restore", *_configured(Path(runtime), config), *how, str(file)],
            environment=_environment(),
            log=log,
        )
        if await process.wait():
            # It is there already where the check of it has failed.
            await asyncio.to_thread(file.unlink, missing_ok=True)
            raise LitestreamError(last_line(log) or "litestream said nothing")


def find_program() -> str:
    """The path of the `litestream` program: the packaged one, else one on the PATH.

    Raises:
        LitestreamError: there is none.
    """
    found = shutil.which("litestream", path=Path(sys.executable).parent) or shutil.which("litestream")
    if not found:
        raise LitestreamError("no `litestream` program, which copies databases: run `make setup`")
    return found


def _is_database(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(HEADER)) == HEADER


def _room_for_socket(folder: Path) -> Path:
    """A folder in `folder`; elsewhere where its path would be too long for a socket's."""
    own = folder / ".litestream"
    if len(os.fsencode(own / SOCKET)) > MAX_SOCKET_PATH:
        return Path(tempfile.mkdtemp(prefix="hibernaut-copy-"))
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def _configured(runtime: Path, config: Mapping[str, Any]) -> list[str]:
    # Its configuration is YAML, of which JSON is a part.
    file = runtime / "litestream.yml"
    file.write_text(json.dumps(config))
    return ["-config", str(file), "-no-expand-env"]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("AWS_")}
    # Litestream cannot use that variable, and ends; Go reads the other one.
    if bundle := kept.pop("AWS_CA_BUNDLE", ""):
        kept["SSL_CERT_FILE"] = bundle
    return kept

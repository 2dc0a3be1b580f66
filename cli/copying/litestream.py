"""Runs and controls Litestream, which copies SQLite databases while they are written."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from cli.children import end_child, last_line, start_child
from cli.copying.place import RETENTION, OpenPlace, new_generation
from common.programs import packaged_program

# Databases directly in the data folder; those in its subfolders can be rebuilt.
PATTERNS = ("*.db", "*.sqlite")
HEADER = b"SQLite format 3\0"
SOCKET = "socket"
MAX_SOCKET_PATH = 100  # bytes; what systems allow is a little more
STARTS_WITHIN = 10.0
ANSWERS_WITHIN = 30.0
EVERY = 0.2
ENDS_WITHIN = 15.0
# Variables passed on, besides AWS_*.
INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)


class LitestreamError(Exception):
    """Litestream failed; the message says why."""


class Litestream:
    """A `litestream` process that copies the databases of a folder, and dies with this process.

    Each process begins a new generation. Resuming the last one could miss writes made while no process ran:
    if SQLite restarted its WAL in the meantime, Litestream sees only the new one.

    Args:
        folder: holds the databases.
        place: where the copy is kept.
        log: the file for its output.
    """

    def __init__(self, folder: Path, place: OpenPlace, log: Path) -> None:
        self._folder = folder
        self._place = place
        self._program = find_program()
        self.process: Process | None = None
        self._runtime: Path | None = None
        self._control: httpx.AsyncClient | None = None
        self.log = log
        self.generation = ""

    async def start(self) -> None:
        """Start it and wait until it takes requests; whether it copies, `sync` tells."""
        self.generation = new_generation()
        for state in self._folder.glob(".*-litestream"):
            await asyncio.to_thread(shutil.rmtree, state, ignore_errors=True)
        # It checks for changes as often as `until_there` polls it.
        replica = {**self._place.replica(self.generation), "sync-interval": f"{EVERY:g}s"}
        watched = [
            {"dir": str(self._folder), "pattern": pattern, "watch": True, "replica": replica}
            for pattern in PATTERNS
        ]
        retention = f"{RETENTION.total_seconds():.0f}s"
        if self._runtime is None:
            self._runtime = _room_for_socket(self._folder)
            # One client for all requests: making one takes longer than a request.
            transport = httpx.AsyncHTTPTransport(uds=str(self._runtime / SOCKET))
            self._control = httpx.AsyncClient(transport=transport, timeout=2 * ANSWERS_WITHIN)
        (self._runtime / SOCKET).unlink(missing_ok=True)
        config = {
            "dbs": watched,
            "socket": {"enabled": True, "path": str(self._runtime / SOCKET)},
            "snapshot": {"interval": retention, "retention": retention},
            # How long the transaction that a mark names stays available, uncompacted.
            "l0-retention": "10m",
            # Short: before Litestream is told to end, a last round has copied everything.
            "shutdown-sync-timeout": "2s",
            "logging": {"level": "warn"},
        }
        self.process = await start_child(
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
        return self.process is not None and self.process.returncode is None

    async def wait(self) -> int:
        """Wait until the process has ended and return its exit code."""
        return await self.process.wait() if self.process else 0

    async def end(self) -> None:
        """Stop the process; whoever waits for it may start another."""
        if self.process:
            await end_child(self.process, ENDS_WITHIN)

    async def stop(self) -> None:
        """Stop it for good."""
        await self.end()
        if self._runtime and self._control:
            await self._control.aclose()
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._runtime = self._control = None

    async def sync(self, database: Path) -> int:
        """Stage everything committed so far for copying; return the id of its last transaction.

        Raises:
            LitestreamError: Litestream does not run yet, or does not know the database yet.
        """
        return int((await self._synced(database))["txid"])

    async def until_there(self, database: Path, transaction: int) -> None:
        """Wait until a transaction has arrived at the place.

        Raises:
            LitestreamError: the transaction did not arrive in time.
        """
        deadline = asyncio.get_running_loop().time() + ANSWERS_WITHIN
        while (await self._synced(database))["replicated_txid"] < transaction:
            if asyncio.get_running_loop().time() > deadline:
                why = last_line(self.log) or f"see {self.log}"
                raise LitestreamError(
                    f"litestream has not copied {database.name} within {ANSWERS_WITHIN:g} s: {why}"
                )
            await asyncio.sleep(EVERY)

    async def _synced(self, database: Path) -> dict[str, Any]:
        if self._control is None:
            raise LitestreamError("litestream does not run")
        # Never pass `wait` or `timeout`: if such a request happens to checkpoint, Litestream drops, with its
        # answer, the read transaction that keeps the server from overwriting pages not copied yet.
        try:
            answer = await self._control.post("http://litestream/sync", json={"path": str(database)})
        except httpx.HTTPError as error:
            raise LitestreamError(
                f"litestream does not answer ({type(error).__name__}); see {self.log}"
            ) from error
        found: dict[str, Any] = answer.json()
        if answer.is_error:
            raise LitestreamError(f"litestream: {database.name}: {found.get('error')}")
        return found


def databases(folder: Path) -> list[Path]:
    """The databases of a data folder to copy."""
    return sorted(file for pattern in PATTERNS for file in folder.glob(pattern) if _is_database(file))


async def restore(
    place: OpenPlace, generation: str, name: str, transaction: int, file: Path, log: Path
) -> None:
    """Restore a database to `file` as of a transaction.

    Raises:
        LitestreamError: the restore failed, or the result is damaged; nothing is left at `file` then.
    """
    with tempfile.TemporaryDirectory(prefix="hibernaut-copy-") as runtime:
        replica = place.replica(generation, name)
        config = {"dbs": [{"path": str(file), "replica": replica}], "logging": {"level": "warn"}}
        how = ["-integrity-check", "quick", "-txid", f"{transaction:016x}"]
        process = await start_child(
            [find_program(), "restore", *_configured(Path(runtime), config), *how, str(file)],
            environment=_environment(),
            log=log,
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        if code:
            # The file exists if only its integrity check failed.
            await asyncio.to_thread(file.unlink, missing_ok=True)
            raise LitestreamError(last_line(log) or "litestream said nothing")


def find_program() -> str:
    """The path of the `litestream` program: the packaged one, else one on the PATH.

    Raises:
        LitestreamError: the program is not installed.
    """
    found = packaged_program("litestream") or shutil.which("litestream")
    if not found:
        raise LitestreamError("no `litestream` program, which copies databases: run `make setup`")
    return found


def _is_database(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(HEADER)) == HEADER


def _room_for_socket(folder: Path) -> Path:
    """A folder for the socket: in `folder`, or a temporary one if that path would be too long."""
    own = folder / ".litestream"
    if len(os.fsencode(own / SOCKET)) > MAX_SOCKET_PATH:
        return Path(tempfile.mkdtemp(prefix="hibernaut-copy-"))
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def _configured(runtime: Path, config: Mapping[str, Any]) -> list[str]:
    # Its configuration is YAML, a superset of JSON.
    file = runtime / "litestream.yml"
    file.write_text(json.dumps(config))
    return ["-config", str(file), "-no-expand-env"]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("AWS_")}
    # Litestream exits on AWS_CA_BUNDLE; Go reads SSL_CERT_FILE instead.
    if bundle := kept.pop("AWS_CA_BUNDLE", ""):
        kept["SSL_CERT_FILE"] = bundle
    return kept

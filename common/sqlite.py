"""A SQLite file that several processes write to: made once, then used in short transactions."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


class SharedDatabase:
    """The database in `file`, made with its folder at the first transaction where there is none.

    Args:
        file: where it is.
        schema: statements that create what is missing; every process runs them once.
        durable: whether a commit survives a power cut; without, it survives the end of its process only.
    """

    def __init__(self, file: Path, schema: str, *, durable: bool = True) -> None:
        self._file = file
        self._schema = schema
        self._durable = durable
        self._ready = False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the file's one write lock: commits at the end of the block, rolls back where it raises.

        Raises:
            sqlite3.OperationalError: the lock was not to be had within 30 seconds.
        """
        if not self._ready:
            self._prepare()
        with closing(self._connection()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def _prepare(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Processes that switch a new file to WAL at the same time can fail each other.
        with self._file.with_name(f"{self._file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with closing(self._connection()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(self._schema)
        self._ready = True

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, timeout=30, isolation_level=None)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        return connection

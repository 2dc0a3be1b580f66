"""The database that processes share: made by one of them at a time, and a transaction is all or nothing."""

from __future__ import annotations

import fcntl
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from common.sqlite import SharedDatabase

SCHEMA = "CREATE TABLE IF NOT EXISTS lines (text TEXT)"


def add_line(file: Path) -> int:
    """Add a line to the database in `file`; how many there are then."""
    with SharedDatabase(file, SCHEMA).transaction() as lines:
        lines.execute("INSERT INTO lines VALUES ('x')")
        return int(lines.execute("SELECT count(*) FROM lines").fetchone()[0])


def test_one_process_at_a_time_makes_the_file(tmp_path: Path) -> None:
    """Two that switch a new file to WAL at once fail each other now and then, whatever SQLite's timeout."""
    file = tmp_path / "lines.db"
    with ThreadPoolExecutor(1) as other:
        with file.with_name("lines.db.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            added = other.submit(add_line, file)
            with pytest.raises(TimeoutError):
                added.result(0.3)
            assert not file.exists()
        assert added.result(30) == 1
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_any_number_of_writers_share_a_file(tmp_path: Path) -> None:
    """Each waits for its turn."""
    with ThreadPoolExecutor(8) as writers:
        assert sorted(writers.map(add_line, [tmp_path / "new" / "lines.db"] * 40)) == list(range(1, 41))


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    """And lets the next one in."""
    database = SharedDatabase(tmp_path / "lines.db", SCHEMA)

    def add_and_raise() -> None:
        with database.transaction() as lines:
            lines.execute("INSERT INTO lines VALUES ('x')")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        add_and_raise()
    assert add_line(tmp_path / "lines.db") == 1

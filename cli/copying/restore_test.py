"""The restore test: a database restored from its copy must be sound and equal to the original."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote

from cli.copying.litestream import Litestream, LitestreamError, restore
from cli.copying.place import OpenPlace

# The comparison keeps SQLite from resetting its WAL; of a larger database only the structure is checked.
MAX_COMPARED = 500_000_000
# Attempts to find a moment without writes.
TRIES = 100
REST = 0.1
LEAST_ROOM = 1_000_000_000


class NoRoomError(Exception):
    """There is no room for a restore test; the message says how much it takes."""


async def run_restore_test(program: Litestream, place: OpenPlace, database: Path) -> None:
    """Restore a database beside the original, compare the two, and delete it again.

    Raises:
        LitestreamError: it cannot be restored, or differs from the original.
        NoRoomError: the disk is too full to try.
    """
    size, folder = (await asyncio.to_thread(database.stat)).st_size, database.parent
    if shutil.disk_usage(folder).free < 2 * size + LEAST_ROOM:
        raise NoRoomError(f"that takes {(2 * size + LEAST_ROOM) / 1e9:.1f} GB of free disk in {folder}")
    scratch = folder / ".proof"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        async with _as_copied(program, database, pinned=size <= MAX_COMPARED) as (transaction, live):
            await program.until_there(database, transaction)
            back = scratch / database.name
            log = program.log.with_name("proof.log")
            await restore(place, program.generation, database.name, transaction, back, log)
            if live and (differs := await _compared(live, back)):
                raise LitestreamError(f"of {database.name}, {differs} comes back other than it is")
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)


@asynccontextmanager
async def _as_copied(
    program: Litestream, database: Path, *, pinned: bool
) -> AsyncIterator[tuple[int, sqlite3.Connection | None]]:
    """A transaction that will be copied and, if `pinned`, a connection that sees the database as of it.

    The connection is None if there is no moment without writes.
    """
    transaction = await program.sync(database)
    if not pinned:
        yield transaction, None
        return
    address = f"file:{quote(str(database))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)) as live:
        live.text_factory = bytes
        for _ in range(TRIES):
            version = live.execute("PRAGMA data_version").fetchone()
            transaction = await program.sync(database)
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if live.execute("PRAGMA data_version").fetchone() == version:
                yield transaction, live
                return
            live.execute("ROLLBACK")
            await asyncio.sleep(REST)
    yield transaction, None


async def _compared(live: sqlite3.Connection, file: Path) -> str:
    """Run `_difference` in a thread; when cancelled, wait until the thread is done with the database."""
    comparing = asyncio.create_task(asyncio.to_thread(_difference, live, file))
    try:
        return await asyncio.shield(comparing)
    except asyncio.CancelledError:
        live.interrupt()
        await asyncio.gather(comparing, return_exceptions=True)
        raise


def _difference(live: sqlite3.Connection, file: Path) -> str:
    """The first table whose rows differ; empty if there is none."""
    with closing(sqlite3.connect(f"file:{quote(str(file))}?immutable=1", uri=True)) as back:
        back.text_factory = bytes
        schema = "SELECT name, sql FROM sqlite_master ORDER BY rowid"
        made = live.execute(schema).fetchall()
        if made != back.execute(schema).fetchall():
            return "the schema"
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL %'"
        for (name,) in live.execute(tables).fetchall():
            # Both have the same pages, so rows come in the same order.
            rows = f'SELECT * FROM "{name.decode().replace(chr(34), chr(34) * 2)}"'  # noqa: S608
            if any(one != other for one, other in zip_longest(live.execute(rows), back.execute(rows))):
                return f"the table {name.decode()}"
    return ""

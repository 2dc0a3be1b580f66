"""The rate of each web host: a queue for each host, shared by all processes on a data folder.

Temporal's rate for a fairness key spreads fetches over hosts and workers, but it counts activities instead of
requests, starts with a burst of two, and knows nothing of robots.txt. Here each request is booked, one at a
time per host, and the next may be sent only when the interval has passed since the last answer. So the host
never sees more than its rate, whatever the network does. Waits of more than a few seconds are left to
Temporal: the activity fails with the time at which to try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from common.errors import retry_after
from common.sqlite import SharedDatabase

# Up to this the activity waits itself; Temporal's own delays are no finer than a second.
SIT_OUT_SECONDS = 3.0
# Where a process died during its turn, the host is left alone while that request may still be running.
LEASE_SECONDS = 90.0
_LOOK_AGAIN_SECONDS = 0.1
# Whoever does not return for a turn is taken off the queue.
_GONE_SECONDS = 30.0
LONGEST_SECONDS = 86_400.0

_TABLES = """
CREATE TABLE IF NOT EXISTS hosts
    (host TEXT PRIMARY KEY, free_at REAL DEFAULT 0, held_until REAL DEFAULT 0, lease_until REAL DEFAULT 0)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns
    (host TEXT, holder TEXT, at REAL NOT NULL, PRIMARY KEY (host, holder)) WITHOUT ROWID;
"""


class HostSlots:
    """The queues of all hosts. Times are seconds since the epoch by this machine's clock."""

    def __init__(self, database: Path) -> None:
        # A power cut may take the last bookings; the queues then begin anew.
        self._database = SharedDatabase(database, _TABLES, durable=False)

    @contextlib.asynccontextmanager
    async def turn(self, host: str, holder: str, interval: float) -> AsyncIterator[None]:
        """Hold the host's only turn; the next begins `interval` seconds after this one has ended.

        Args:
            host: as `addresses.host_of` gives it.
            holder: who asks; the same for each attempt, so that it keeps its place in the queue.
            interval: seconds, at most a day.

        Raises:
            ApplicationError: type `HostBusy`, to be retried when its turn comes.
        """
        interval = min(interval, LONGEST_SECONDS)
        deadline = time.monotonic() + SIT_OUT_SECONDS
        while wait := await asyncio.to_thread(self.book, host, holder, interval):
            if time.monotonic() + wait > deadline:
                pause = timedelta(seconds=wait)
                raise retry_after("HostBusy", f"{host} is asked again in {wait:.1f} s", pause)
            await asyncio.sleep(wait)
        try:
            yield
        finally:
            self._end(host, interval)

    def book(self, host: str, holder: str, interval: float) -> float:
        """Take the turn, and return 0.0; or book one, and return the seconds until then."""
        with self._database.transaction() as tables:
            now = time.time()
            # Nobody books further ahead than this; who seems to have has, or had, a clock that is wrong.
            ahead = now + LONGEST_SECONDS
            tables.execute("DELETE FROM hosts WHERE max(free_at, held_until, lease_until) > ?", (ahead,))
            row = tables.execute(
                "SELECT max(free_at, held_until), lease_until FROM hosts WHERE host = ?", (host,)
            ).fetchone()
            free_at, lease_until = row or (0.0, 0.0)
            tables.execute("DELETE FROM turns WHERE at < ? OR at > ?", (now - _GONE_SECONDS, ahead))
            mine = tables.execute(
                "SELECT at FROM turns WHERE host = ? AND holder = ?", (host, holder)
            ).fetchone()
            last = tables.execute(
                "SELECT max(at) FROM turns WHERE host = ? AND holder != ?", (host, holder)
            ).fetchone()[0]
            if mine is not None and mine[0] + interval >= free_at:
                at = max(mine[0], free_at)  # in time, or late by no more than the turn before took
            else:
                at = max(now, free_at, last + interval if last is not None else now)
            if lease_until > now:
                at = max(at, now + _LOOK_AGAIN_SECONDS)  # nobody knows when the current turn will end
            if at <= now:
                tables.execute("DELETE FROM turns WHERE host = ? AND holder = ?", (host, holder))
                self._set(tables, host, free_at=now + interval, lease_until=now + LEASE_SECONDS)
                return 0.0
            tables.execute("REPLACE INTO turns VALUES (?, ?, ?)", (host, holder, at))
            return float(at - now)

    def hold(self, host: str, seconds: float) -> None:
        """Send the host nothing for so many seconds, as it asked."""
        with self._database.transaction() as tables:
            self._set(tables, host, held_until=time.time() + min(seconds, LONGEST_SECONDS))

    def _end(self, host: str, interval: float) -> None:
        # Not in a thread, so that it also happens where the activity was cancelled. It takes a millisecond.
        with self._database.transaction() as tables:
            self._set(tables, host, free_at=time.time() + interval, lease_until=0.0)

    @staticmethod
    def _set(tables: sqlite3.Connection, host: str, **columns: float) -> None:
        tables.execute("INSERT OR IGNORE INTO hosts (host) VALUES (?)", (host,))
        for column, at in columns.items():
            tables.execute(f"UPDATE hosts SET {column} = ? WHERE host = ?", (at, host))  # noqa: S608 -- ours

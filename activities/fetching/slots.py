"""The rate limit of each web host: one queue per host, shared by all workers on a database.

Temporal's rate limit per fairness key spreads fetches over hosts and workers, but it counts activities
instead of requests, starts with a burst of two, and knows nothing of robots.txt. Here requests to a host are
reserved one at a time, and the next is sent only after the interval has passed since the last answer, so the
host never sees more than its rate, whatever the network does. Waits of more than a few seconds are left to
Temporal: the activity fails with a retry delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Double,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from common.database import DatabaseLostError, SharedDatabase
from common.errors import retry_after

# The activity itself waits up to this long, because Temporal's retry delays are no finer than a second.
SIT_OUT_SECONDS = 3.0
# If a process dies during its turn, the host is left alone as long as the request may still be running.
LEASE_SECONDS = 90.0
_LOOK_AGAIN_SECONDS = 0.1
# A holder who is this late for a reserved turn is removed from the queue.
_GONE_SECONDS = 30.0
LONGEST_SECONDS = 86_400.0

_TABLES = MetaData()
_HOSTS = Table(
    "hosts",
    _TABLES,
    Column("host", String, primary_key=True),
    *(
        Column(name, Double, nullable=False, server_default="0")
        for name in ("free_at", "held_until", "lease_until")
    ),
    sqlite_with_rowid=False,
)
_TURNS = Table(
    "turns",
    _TABLES,
    Column("host", String, primary_key=True),
    Column("holder", String, primary_key=True),
    Column("at", Double, nullable=False),
    sqlite_with_rowid=False,
)


class HostSlots:
    """The queues of all hosts. Times are seconds since the epoch by the database's clock."""

    def __init__(self, database: Path | URL) -> None:
        # A power cut may lose the last reservations; the queues then start afresh.
        self._database = SharedDatabase(database, _TABLES, durable=False)

    @contextlib.asynccontextmanager
    async def acquire(self, host: str, holder: str, interval: float) -> AsyncIterator[None]:
        """Hold the host's only turn; the next one begins `interval` seconds after this one ends.

        Args:
            host: as `addresses.host_of` gives it.
            holder: who asks; retries pass the same value to keep their place in the queue.
            interval: seconds, at most a day.

        Raises:
            ApplicationError: type `HostBusy`, to be retried when its turn comes.
        """
        interval = min(interval, LONGEST_SECONDS)
        deadline = time.monotonic() + SIT_OUT_SECONDS
        while wait := await asyncio.to_thread(self.reserve, host, holder, interval):
            if time.monotonic() + wait > deadline:
                pause = timedelta(seconds=wait)
                raise retry_after("HostBusy", f"{host} is asked again in {wait:.1f} s", pause)
            await asyncio.sleep(wait)
        try:
            yield
        finally:
            # Shielded: the turn is ended even if the activity is cancelled.
            await asyncio.shield(asyncio.to_thread(self._end, host, interval))

    def reserve(self, host: str, holder: str, interval: float) -> float:
        """Take the turn and return 0.0, or reserve a later one and return the seconds until then."""
        with self._database.transaction(host) as tables:
            now = self._database.now(tables)
            free_at, held_until, lease_until = _times(tables, host)
            # Nothing is reserved further ahead than this; a later time comes from a wrong clock.
            ahead = now + LONGEST_SECONDS
            if max(free_at, held_until, lease_until) > ahead:
                free_at = held_until = lease_until = 0.0
                _set(tables, host, free_at=0.0, held_until=0.0, lease_until=0.0)
            free_at = max(free_at, held_until)
            gone = (_TURNS.c.at < now - _GONE_SECONDS) | (_TURNS.c.at > ahead)
            tables.execute(delete(_TURNS).where(_TURNS.c.host == host, gone))
            queue = select(_TURNS.c.holder, _TURNS.c.at).where(_TURNS.c.host == host)
            reserved = {turn.holder: turn.at for turn in tables.execute(queue)}
            mine = reserved.pop(holder, None)
            if mine is not None and mine + interval >= free_at:
                at = max(mine, free_at)  # on time, or late only because the previous turn took long
            else:
                at = max(now, free_at, max(reserved.values()) + interval if reserved else now)
            if lease_until > now:
                at = max(at, now + _LOOK_AGAIN_SECONDS)  # poll: the current turn's end is unknown
            tables.execute(delete(_TURNS).where(_TURNS.c.host == host, _TURNS.c.holder == holder))
            if at <= now:
                _set(tables, host, free_at=now + interval, lease_until=now + LEASE_SECONDS)
                return 0.0
            tables.execute(insert(_TURNS).values(host=host, holder=holder, at=at))
            return float(at - now)

    def pause(self, host: str, seconds: float) -> None:
        """Send the host nothing for this many seconds, as it asked."""
        with self._database.transaction(host) as tables:
            until = self._database.now(tables) + min(seconds, LONGEST_SECONDS)
            _set(tables, host, held_until=until)

    def _end(self, host: str, interval: float) -> None:
        try:
            with self._database.transaction(host) as tables:
                _set(tables, host, free_at=self._database.now(tables) + interval, lease_until=0.0)
        except DatabaseLostError as error:
            # The fetch still counts. The host is left alone until the lease ends, as after a crash.
            logging.getLogger(__name__).warning("the turn at %s ends with its lease: %s", host, error)


def _times(tables: Connection, host: str) -> tuple[float, float, float]:
    found = tables.execute(
        select(_HOSTS.c.free_at, _HOSTS.c.held_until, _HOSTS.c.lease_until).where(_HOSTS.c.host == host)
    ).one_or_none()
    return tuple(found) if found else (0.0, 0.0, 0.0)


def _set(tables: Connection, host: str, **columns: float) -> None:
    if not tables.execute(update(_HOSTS).where(_HOSTS.c.host == host).values(**columns)).rowcount:
        tables.execute(insert(_HOSTS).values(host=host, **columns))

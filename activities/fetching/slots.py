"""The rate of each web host: a queue for each host, shared by all workers on a database.

Temporal's rate for a fairness key spreads fetches over hosts and workers, but it counts activities instead of
requests, starts with a burst of two, and knows nothing of robots.txt. Here each request is booked, one at a
time per host, and the next may be sent only when the interval has passed since the last answer. So the host
never sees more than its rate, whatever the network does. Waits of more than a few seconds are left to
Temporal: the activity fails with the time at which to try again.
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

# Up to this the activity waits itself; Temporal's own delays are no finer than a second.
SIT_OUT_SECONDS = 3.0
# Where a process died during its turn, the host is left alone while that request may still be running.
LEASE_SECONDS = 90.0
_LOOK_AGAIN_SECONDS = 0.1
# Whoever does not return for a turn is taken off the queue.
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

    def __init__(self, place: Path | URL) -> None:
        # A power cut may take the last bookings; the queues then begin anew.
        self._database = SharedDatabase(place, _TABLES, durable=False)

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
            # The thread goes on where the activity is cancelled.
            await asyncio.shield(asyncio.to_thread(self._end, host, interval))

    def book(self, host: str, holder: str, interval: float) -> float:
        """Take the turn, and return 0.0; or book one, and return the seconds until then."""
        with self._database.transaction(host) as tables:
            now = self._database.now(tables)
            free_at, held_until, lease_until = _times(tables, host)
            # Nobody books further ahead than this; who seems to have has, or had, a clock that is wrong.
            ahead = now + LONGEST_SECONDS
            if max(free_at, held_until, lease_until) > ahead:
                free_at = held_until = lease_until = 0.0
                _set(tables, host, free_at=0.0, held_until=0.0, lease_until=0.0)
            free_at = max(free_at, held_until)
            gone = (_TURNS.c.at < now - _GONE_SECONDS) | (_TURNS.c.at > ahead)
            tables.execute(delete(_TURNS).where(_TURNS.c.host == host, gone))
            queue = select(_TURNS.c.holder, _TURNS.c.at).where(_TURNS.c.host == host)
            booked = {turn.holder: turn.at for turn in tables.execute(queue)}
            mine = booked.pop(holder, None)
            if mine is not None and mine + interval >= free_at:
                at = max(mine, free_at)  # in time, or late by no more than the turn before took
            else:
                at = max(now, free_at, max(booked.values()) + interval if booked else now)
            if lease_until > now:
                at = max(at, now + _LOOK_AGAIN_SECONDS)  # nobody knows when the current turn will end
            tables.execute(delete(_TURNS).where(_TURNS.c.host == host, _TURNS.c.holder == holder))
            if at <= now:
                _set(tables, host, free_at=now + interval, lease_until=now + LEASE_SECONDS)
                return 0.0
            tables.execute(insert(_TURNS).values(host=host, holder=holder, at=at))
            return float(at - now)

    def hold(self, host: str, seconds: float) -> None:
        """Send the host nothing for so many seconds, as it asked."""
        with self._database.transaction(host) as tables:
            until = self._database.now(tables) + min(seconds, LONGEST_SECONDS)
            _set(tables, host, held_until=until)

    def _end(self, host: str, interval: float) -> None:
        try:
            with self._database.transaction(host) as tables:
                _set(tables, host, free_at=self._database.now(tables) + interval, lease_until=0.0)
        except DatabaseLostError as error:
            # What was fetched counts all the same; the host is left alone as if this process had died.
            logging.getLogger(__name__).warning("the turn at %s ends with its lease: %s", host, error)


def _times(tables: Connection, host: str) -> tuple[float, float, float]:
    found = tables.execute(
        select(_HOSTS.c.free_at, _HOSTS.c.held_until, _HOSTS.c.lease_until).where(_HOSTS.c.host == host)
    ).one_or_none()
    return tuple(found) if found else (0.0, 0.0, 0.0)


def _set(tables: Connection, host: str, **columns: float) -> None:
    if not tables.execute(update(_HOSTS).where(_HOSTS.c.host == host).values(**columns)).rowcount:
        tables.execute(insert(_HOSTS).values(host=host, **columns))

"""Leases on fetches, shared by all workers on a database: no two fetch an address for an agent at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL, Column, Double, MetaData, String, Table, delete, insert

from activities.fetching.slots import LEASE_SECONDS
from common.database import DatabaseLostError, SharedDatabase
from common.digest import digest
from common.errors import retry_after

_TABLES = MetaData()
_CLAIMS = Table(
    "claims",
    _TABLES,
    Column("what", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("until", Double, nullable=False),
    sqlite_with_rowid=False,
)


class Claims:
    """Claims on addresses. A dead process's claim expires with its lease, as does its turn at the host."""

    def __init__(self, database: Path | URL) -> None:
        self._database = SharedDatabase(database, _TABLES, durable=False)

    @contextlib.asynccontextmanager
    async def claim(self, agent: str, url: str) -> AsyncIterator[None]:
        """Keep others from fetching `url` for `agent` until the block ends.

        Raises:
            ApplicationError: type `BeingFetched`, to be retried in two seconds.
        """
        what, holder = digest([agent, url]), uuid.uuid4().hex
        if not await asyncio.to_thread(self._take, what, holder):
            raise retry_after("BeingFetched", f"{url} is being fetched", timedelta(seconds=2))
        try:
            yield
        finally:
            # Shielded: the claim is released even if the activity is cancelled.
            await asyncio.shield(asyncio.to_thread(self._end, what, holder))

    def _take(self, what: str, holder: str) -> bool:
        with self._database.transaction(what) as claims:
            now = self._database.now(claims)
            # A claim that ends later than any lease was made by a wrong clock.
            over = (_CLAIMS.c.until < now) | (_CLAIMS.c.until > now + 2 * LEASE_SECONDS)
            claims.execute(delete(_CLAIMS).where(_CLAIMS.c.what == what, over))
            if claims.execute(_CLAIMS.select().where(_CLAIMS.c.what == what)).first():
                return False
            claims.execute(insert(_CLAIMS).values(what=what, holder=holder, until=now + LEASE_SECONDS))
            return True

    def _end(self, what: str, holder: str) -> None:
        try:
            with self._database.transaction(what) as claims:
                claims.execute(delete(_CLAIMS).where(_CLAIMS.c.what == what, _CLAIMS.c.holder == holder))
        except DatabaseLostError as error:
            logging.getLogger(__name__).warning("a claim ends with its lease: %s", error)

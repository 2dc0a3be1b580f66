"""The table of calls to language models: workers write it, and it is read to find out the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Self

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    or_,
    select,
)

from common.database import SharedDatabase, database_place
from common.settings import Settings

# The file in the data folder, if no database is set.
LEDGER = "model-ledger.sqlite"
NANO = Decimal("1e-9")
TABLES = MetaData()
CALLS = Table(
    "calls",
    TABLES,
    Column("key", String, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    *(Column(name, String) for name in ("agent", "owner_day", "model", "state", "claim")),
    Column("tokens", BigInteger),
    Column("nano_usd", BigInteger),
    Column("answer", Text),
    Column("at", DateTime(timezone=True), server_default=func.now()),
    Index("calls_by_agent", "agent", "state", "tokens", "nano_usd"),
    Index("calls_by_owner_day", "owner_day", "state", "tokens", "nano_usd"),
    sqlite_with_rowid=False,
)


@dataclass(frozen=True)
class Spent:
    """What language models cost in a period; calls under way count with the most they may cost."""

    tokens: int
    usd: Decimal


class ModelCosts:
    """What language models cost, according to the workers' ledger."""

    def __init__(self, place: Path | URL) -> None:
        self._file = place if isinstance(place, Path) else None
        self._database = SharedDatabase(place, TABLES)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The costs in the database of the settings."""
        return cls(database_place(settings, LEDGER))

    def on(self, days: Sequence[date], owner: str | None) -> Spent | None:
        """What was spent on these days, by one owner or by all; None if there is no ledger here. Blocks.

        Raises:
            DatabaseLostError: the database cannot be reached.
        """
        if self._file is not None and not self._file.exists():
            return None
        column = CALLS.c.owner_day
        whose = [
            column.endswith(f":{day.isoformat()}")
            if owner is None
            else column == f"{owner}:{day.isoformat()}"
            for day in days
        ]
        with self._database.reading() as ledger:
            tokens, nano = sum_of(ledger, CALLS, or_(*whose))
        return Spent(tokens, nano * NANO)


def sum_of(ledger: Connection, table: Table, rows: ColumnElement[bool]) -> tuple[int, int]:
    """The tokens and nanodollars of rows; PostgreSQL's sums are decimals."""
    tokens, nano = ledger.execute(
        select(func.sum(table.c.tokens), func.sum(table.c.nano_usd)).where(rows)
    ).one()
    return int(tokens or 0), int(nano or 0)

"""The paper broker's book: SQLite, one short transaction per call, safe with any number of processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from activities.trading.broker import OrderRequest
from common.agents.buyer import Order, OrderState, Side
from common.sqlite import SharedDatabase

# Money as text: SQLite has no decimals, and floats round.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    client_order_id TEXT NOT NULL UNIQUE, broker_order_id TEXT NOT NULL UNIQUE, symbol TEXT NOT NULL,
    side TEXT NOT NULL, quantity TEXT NOT NULL, limit_price TEXT NOT NULL, filled TEXT NOT NULL,
    spent TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, submitted_at TEXT NOT NULL,
    updated_at TEXT NOT NULL, expires_at TEXT
);
CREATE INDEX IF NOT EXISTS orders_by_symbol ON orders (symbol);
CREATE TABLE IF NOT EXISTS attempts (
    client_order_id TEXT NOT NULL, at TEXT NOT NULL, action TEXT NOT NULL, outcome TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS attempts_by_order ON attempts (client_order_id);
CREATE TABLE IF NOT EXISTS account (one INTEGER PRIMARY KEY CHECK (one = 1), cash TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    """An order in the book. `spent` is the money paid or received for the `filled` units."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    filled: Decimal
    spent: Decimal
    state: OrderState
    reason: str
    submitted_at: datetime
    updated_at: datetime
    expires_at: datetime | None

    def moved(self, now: datetime, **changes: object) -> Entry:
        """The entry with `changes` made at `now`."""
        return replace(self, updated_at=now, **changes)  # type: ignore[arg-type]

    def order(self) -> Order:
        """The entry as agents see it."""
        average = (self.spent / self.filled).quantize(Decimal("1e-10")).normalize() if self.filled else None
        return Order(
            client_order_id=self.client_order_id,
            broker_order_id=self.broker_order_id,
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            limit_price=self.limit_price,
            filled=self.filled,
            average_price=average,
            state=self.state,
            reason=self.reason,
            submitted_at=self.submitted_at,
            updated_at=self.updated_at,
        )


@dataclass(frozen=True)
class Attempt:
    """One attempt to change an order, and its outcome at the broker."""

    client_order_id: str
    at: datetime
    action: str
    outcome: str


class Book:
    """One transaction on the book; committed when its `with` block ends without an error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def open_account(self, cash: Decimal) -> None:
        """Put `cash` into a new account; an existing one keeps its own."""
        self._connection.execute("INSERT OR IGNORE INTO account VALUES (1, ?)", (str(cash),))

    def cash(self) -> Decimal:
        """Money that is not set aside for open orders."""
        (text,) = self._connection.execute("SELECT cash FROM account").fetchone()
        return Decimal(text)

    def pay_in(self, amount: Decimal) -> None:
        """Add to the cash; a negative amount takes from it."""
        self._connection.execute("UPDATE account SET cash = ?", (str(self.cash() + amount),))

    def get(self, client_order_id: str) -> Entry | None:
        """The order with that id."""
        row = self._connection.execute(
            "SELECT * FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).fetchone()
        return _entry(row) if row else None

    def all(self, symbol: str | None = None) -> list[Entry]:
        """Every order, or those of one symbol, oldest first."""
        where, values = ("WHERE symbol = ? ", (symbol,)) if symbol else ("", ())
        rows = self._connection.execute(f"SELECT * FROM orders {where}ORDER BY rowid", values)  # noqa: S608
        return [_entry(row) for row in rows]

    def add(self, order: OrderRequest, number: str, now: datetime, expires: datetime | None) -> Entry:
        """Book a new order.

        Raises:
            sqlite3.IntegrityError: there is one with that client order id.
        """
        entry = Entry(
            client_order_id=order.client_order_id,
            broker_order_id=number,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            limit_price=order.limit_price,
            filled=Decimal(0),
            spent=Decimal(0),
            state=OrderState.ACCEPTED,
            reason="",
            submitted_at=now,
            updated_at=now,
            expires_at=expires,
        )
        self._connection.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(entry)
        )
        return entry

    def put(self, entry: Entry) -> None:
        """Update an order."""
        self._connection.execute(
            "UPDATE orders SET filled = ?, spent = ?, state = ?, reason = ?, updated_at = ? "
            "WHERE client_order_id = ?",
            (
                str(entry.filled),
                str(entry.spent),
                entry.state,
                entry.reason,
                entry.updated_at.isoformat(),
                entry.client_order_id,
            ),
        )

    def note(self, attempt: Attempt) -> None:
        """Record an attempt."""
        self._connection.execute(
            "INSERT INTO attempts VALUES (?, ?, ?, ?)",
            (attempt.client_order_id, attempt.at.isoformat(), attempt.action, attempt.outcome),
        )

    def count(self, client_order_id: str) -> int:
        """Number of attempts for an order."""
        (number,) = self._connection.execute(
            "SELECT count(*) FROM attempts WHERE client_order_id = ?", (client_order_id,)
        ).fetchone()
        return int(number)

    def attempts(self) -> list[Attempt]:
        """Every attempt, oldest first."""
        rows = self._connection.execute("SELECT * FROM attempts ORDER BY rowid")
        return [
            Attempt(name, datetime.fromisoformat(at), action, outcome) for name, at, action, outcome in rows
        ]


class PaperBook:
    """The book in `file`, with an account of `cash` where it is new; any number of processes share it."""

    def __init__(self, file: Path, cash: Decimal) -> None:
        self.file = file
        self._database = SharedDatabase(file, _SCHEMA)
        with self.opened() as book:
            book.open_account(cash)

    @contextmanager
    def opened(self) -> Iterator[Book]:
        """One transaction on the book."""
        with self._database.transaction() as connection:
            yield Book(connection)


def _row(entry: Entry) -> tuple[str | None, ...]:
    return (
        entry.client_order_id,
        entry.broker_order_id,
        entry.symbol,
        entry.side,
        str(entry.quantity),
        str(entry.limit_price),
        str(entry.filled),
        str(entry.spent),
        entry.state,
        entry.reason,
        entry.submitted_at.isoformat(),
        entry.updated_at.isoformat(),
        entry.expires_at.isoformat() if entry.expires_at else None,
    )


def _entry(row: tuple[str, ...]) -> Entry:
    client, number, symbol, side, quantity, limit, filled, spent, state, reason, came, updated, expires = row
    return Entry(
        client_order_id=client,
        broker_order_id=number,
        symbol=symbol,
        side=Side(side),
        quantity=Decimal(quantity),
        limit_price=Decimal(limit),
        filled=Decimal(filled),
        spent=Decimal(spent),
        state=OrderState(state),
        reason=reason,
        submitted_at=datetime.fromisoformat(came),
        updated_at=datetime.fromisoformat(updated),
        expires_at=datetime.fromisoformat(expires) if expires else None,
    )

"""The paper broker's order book: one short transaction per call, safe with any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from activities.trading.broker import OrderRequest
from common.agents.buyer import Order, OrderState, Side
from common.database import SharedDatabase

# Orders rows by age. In SQLite it is the built-in rowid, because older files have no such column.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")
_TABLES = MetaData()
# Money is stored as text: SQLite has no decimals, and floats round.
_ORDERS = Table(
    "orders",
    _TABLES,
    Column("rowid", _NUMBER, primary_key=True),
    Column("client_order_id", String, nullable=False, unique=True),
    Column("broker_order_id", String, nullable=False, unique=True),
    *(
        Column(name, String, nullable=False)
        for name in (
            *("symbol", "side", "quantity", "limit_price", "filled", "spent"),
            *("state", "reason", "submitted_at", "updated_at"),
        )
    ),
    Column("expires_at", String),
    Index("orders_by_symbol", "symbol"),
)
_ATTEMPTS = Table(
    "attempts",
    _TABLES,
    Column("rowid", _NUMBER, primary_key=True),
    *(Column(name, String, nullable=False) for name in ("client_order_id", "at", "action", "outcome")),
    Index("attempts_by_order", "client_order_id"),
)
_ACCOUNT = Table(
    "account",
    _TABLES,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("cash", String, nullable=False),
)


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

    def updated(self, now: datetime, **changes: object) -> Entry:
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
    """An attempt to change an order, and its outcome at the broker."""

    client_order_id: str
    at: datetime
    action: str
    outcome: str


class Book:
    """A transaction on the book; committed when its `with` block ends without an error."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open_account(self, cash: Decimal) -> None:
        """Put `cash` into a new account; an existing account keeps its balance."""
        if self._connection.scalar(select(_ACCOUNT.c.cash)) is None:
            self._connection.execute(insert(_ACCOUNT).values(one=1, cash=str(cash)))

    def cash(self) -> Decimal:
        """Money that is not reserved for open orders."""
        return Decimal(self._connection.execute(select(_ACCOUNT.c.cash)).scalar_one())

    def add_cash(self, amount: Decimal) -> None:
        """Add to the cash; a negative amount reduces it."""
        self._connection.execute(update(_ACCOUNT).values(cash=str(self.cash() + amount)))

    def get(self, client_order_id: str) -> Entry | None:
        """The order with this id."""
        named = select(_ORDERS).where(_ORDERS.c.client_order_id == client_order_id)
        found = self._connection.execute(named).mappings().one_or_none()
        return _entry(found) if found else None

    def all(self, symbol: str | None = None) -> list[Entry]:
        """Every order, or those of one symbol, oldest first."""
        orders = select(_ORDERS).order_by(_ORDERS.c.rowid)
        if symbol:
            orders = orders.where(_ORDERS.c.symbol == symbol)
        return [_entry(row) for row in self._connection.execute(orders).mappings()]

    def add(self, order: OrderRequest, number: str, now: datetime, expires: datetime | None) -> Entry:
        """Book a new order.

        Raises:
            sqlalchemy.exc.IntegrityError: there is one with this client order id.
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
        self._connection.execute(insert(_ORDERS).values(_row(entry)))
        return entry

    def update(self, entry: Entry) -> None:
        """Update an order."""
        name = _ORDERS.c.client_order_id == entry.client_order_id
        self._connection.execute(update(_ORDERS).where(name).values(_row(entry)))

    def record(self, attempt: Attempt) -> None:
        """Record an attempt."""
        self._connection.execute(
            insert(_ATTEMPTS).values(
                client_order_id=attempt.client_order_id,
                at=attempt.at.isoformat(),
                action=attempt.action,
                outcome=attempt.outcome,
            )
        )

    def count(self, client_order_id: str) -> int:
        """The number of attempts for an order."""
        of = _ATTEMPTS.c.client_order_id == client_order_id
        return self._connection.execute(select(func.count()).where(of)).scalar_one()

    def attempts(self) -> list[Attempt]:
        """Every attempt, oldest first."""
        columns = (_ATTEMPTS.c[field.name] for field in fields(Attempt))
        rows = self._connection.execute(select(*columns).order_by(_ATTEMPTS.c.rowid))
        return [
            Attempt(name, datetime.fromisoformat(at), action, outcome) for name, at, action, outcome in rows
        ]


class PaperBook:
    """The book in `database`; if it is new, it gets an account with `cash`.

    Any number of processes may share it.
    """

    def __init__(self, database: Path | URL, cash: Decimal) -> None:
        self._database = SharedDatabase(database, _TABLES)
        self._cash = cash
        self._is_open = False

    @contextmanager
    def opened(self) -> Iterator[Book]:
        """One transaction on the book."""
        with self._database.transaction("paper book") as connection:
            book = Book(connection)
            if not self._is_open:
                book.open_account(self._cash)
            yield book
        self._is_open = True


def _row(entry: Entry) -> dict[str, str | None]:
    def text(value: object) -> str | None:
        return value.isoformat() if isinstance(value, datetime) else None if value is None else str(value)

    return {field.name: text(getattr(entry, field.name)) for field in fields(Entry)}


def _entry(row: RowMapping) -> Entry:
    expires = row["expires_at"]
    return Entry(
        client_order_id=row["client_order_id"],
        broker_order_id=row["broker_order_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=Decimal(row["quantity"]),
        limit_price=Decimal(row["limit_price"]),
        filled=Decimal(row["filled"]),
        spent=Decimal(row["spent"]),
        state=OrderState(row["state"]),
        reason=row["reason"],
        submitted_at=datetime.fromisoformat(row["submitted_at"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
        expires_at=datetime.fromisoformat(expires) if expires else None,
    )

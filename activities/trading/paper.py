"""A simulated broker: no account and no network, but real rules. The default, and used by tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL
from sqlalchemy.exc import IntegrityError
from temporalio.exceptions import ApplicationError

from activities.quotes.quotes import Fault
from activities.trading.broker import DuplicateOrderError, MarketState, OrderRequest, TooLateError
from activities.trading.paper_book import Attempt, Book, Entry, PaperBook
from activities.trading.paper_faults import Faults
from common.agents.buyer import Order, OrderState, Side, TimeInForce
from common.business_time import NYSE, BusinessHours, closes_at, is_open, next_open
from common.quotes import Quote

CASH = Decimal(1_000_000)


class PaperBroker:
    """Keeps orders in `database` and fills them at the prices of a feed.

    An order is matched when it is submitted or looked up: while the market is open, a buy fills at the
    current price if that is not above its limit. Nothing happens between two requests; an order past its
    expiry has expired, whatever the price was. Any number of processes may share the database.
    """

    def __init__(
        self,
        database: Path | URL,
        prices: Callable[[str], Awaitable[Quote]],
        clock: Callable[[], datetime],
        faults: Faults = Faults(),  # noqa: B008 - frozen
        *,
        hours: BusinessHours | None = NYSE,
        liquidity: Decimal | None = None,
        cash: Decimal = CASH,
    ) -> None:
        """`hours`: when the market is open; None for always. `liquidity`: the most units filled per request;
        None for no limit. `cash`: what a new account starts with.
        """
        self._book = PaperBook(database, cash)
        self._prices = prices
        self._clock = clock
        self._faults = faults
        self._hours = hours
        self._liquidity = liquidity

    async def submit(self, order: OrderRequest) -> Order:
        """Book a limit order and match it at once.

        Raises:
            DuplicateOrderError: there is an order with this client order id.
            TooLateError: it is past the order's `not_after`.
            ConnectionResetError: a simulated fault.
        """
        await asyncio.sleep(self._faults.slowness)
        price, unknown = await self._price(order.symbol)
        attempt = await asyncio.to_thread(self._count, order.client_order_id)
        name = order.client_order_id
        if self._faults.loses_request(name, attempt):
            await asyncio.to_thread(self._note, name, "submit", "request lost")
            raise ConnectionResetError("the connection to the paper broker broke")
        lost = self._faults.loses_acknowledgement(name, attempt)
        booked = await asyncio.to_thread(self._submit, order, price, unknown, lost)
        if self._faults.duplicates_request(name, attempt):
            try:
                await asyncio.to_thread(self._submit, order, price, unknown, lost)
            except DuplicateOrderError:
                pass  # as expected; the answer to the first delivery counts
            else:
                raise AssertionError(f"the paper broker booked {name} twice")
        if lost:
            raise ConnectionResetError("the connection to the paper broker broke")
        return booked.order()

    async def find(self, client_order_id: str) -> Order | None:
        """The order, after matching it against the latest price."""
        await asyncio.sleep(self._faults.slowness)
        entry = await asyncio.to_thread(self._get, client_order_id)
        if entry is None or entry.state.final:
            return entry.order() if entry else None
        price, _ = await self._price(entry.symbol)
        return (await asyncio.to_thread(self._refresh, client_order_id, price)).order()

    async def cancel(self, client_order_id: str) -> Order | None:
        """Cancel the open part of the order. An order that has ended stays unchanged."""
        await asyncio.sleep(self._faults.slowness)
        entry = await asyncio.to_thread(self._cancel, client_order_id)
        return entry.order() if entry else None

    async def market_open(self, at: datetime | None = None) -> MarketState:
        """Whether the market is open, by the calendar."""
        at = at or self._clock()
        if self._hours is None:
            return MarketState(open=True, next_open=at, next_close=None)
        closes = closes_at(self._hours, at)
        opened_now = is_open(self._hours, at)
        return MarketState(
            open=opened_now,
            next_open=next_open(self._hours, closes if opened_now else at),
            next_close=closes,
        )

    def orders(self) -> list[Order]:
        """Every order as last updated, oldest first, without matching any."""
        with self._book.opened() as book:
            return [entry.order() for entry in book.all()]

    def attempts(self) -> list[Attempt]:
        """Every attempt to place or cancel an order, with its outcome, oldest first."""
        with self._book.opened() as book:
            return book.attempts()

    async def _price(self, symbol: str) -> tuple[Decimal | None, bool]:
        """The latest price (None if there is none), and whether the symbol is unknown."""
        try:
            return (await self._prices(symbol)).price, False
        except ApplicationError as error:
            # Like a real broker, accept the order without a price; it waits for one.
            return None, error.type == Fault.UNKNOWN_SYMBOL

    def _count(self, client_order_id: str) -> int:
        with self._book.opened() as book:
            return book.count(client_order_id)

    def _note(self, client_order_id: str, action: str, outcome: str) -> None:
        with self._book.opened() as book:
            book.record(Attempt(client_order_id, self._clock(), action, outcome))

    def _get(self, client_order_id: str) -> Entry | None:
        with self._book.opened() as book:
            return book.get(client_order_id)

    def _submit(self, order: OrderRequest, price: Decimal | None, unknown: bool, lost: bool) -> Entry:
        try:
            with self._book.opened() as book:
                # Read the clock while the book is locked, so that times follow the order of entries.
                now = self._clock()
                if order.not_after and now >= order.not_after:
                    raise TooLateError(f"order {order.client_order_id} came after {order.not_after}")
                entry = book.add(order, f"paper-{uuid4()}", now, self._expiry(order.time_in_force, now))
                reason = "unknown symbol" if unknown else _refusal_reason(order, book)
                if reason:
                    entry = entry.updated(now, state=OrderState.REJECTED, reason=reason)
                    book.update(entry)
                else:
                    if order.side is Side.BUY:
                        book.add_cash(-order.quantity * order.limit_price)
                    entry = self._match(book, entry, price, now)
                outcome = "rejected" if reason else "booked"
                book.record(
                    Attempt(order.client_order_id, now, "submit", f"{outcome}, unheard" if lost else outcome)
                )
                return entry
        except IntegrityError:
            self._note(order.client_order_id, "submit", "duplicate")
            raise DuplicateOrderError(f"there is an order {order.client_order_id} already") from None

    def _refresh(self, client_order_id: str, price: Decimal | None) -> Entry:
        with self._book.opened() as book:
            entry = book.get(client_order_id)
            if entry is None:
                raise AssertionError(f"order {client_order_id} has gone from the book")
            return self._match(book, entry, price, self._clock())

    def _cancel(self, client_order_id: str) -> Entry | None:
        now = self._clock()
        with self._book.opened() as book:
            entry = book.get(client_order_id)
            if entry is not None:
                entry = self._match(book, entry, None, now)  # it may have expired
            if entry is not None and not entry.state.final:
                entry = _end(book, entry, OrderState.CANCELLED, now)
                book.record(Attempt(client_order_id, now, "cancel", "cancelled"))
            else:
                book.record(
                    Attempt(client_order_id, now, "cancel", entry.state if entry else "no such order")
                )
            return entry

    def _expiry(self, time_in_force: TimeInForce, now: datetime) -> datetime | None:
        if time_in_force is TimeInForce.GTC:
            return None
        return closes_at(self._hours, now) if self._hours else now + timedelta(days=1)

    def _match(self, book: Book, entry: Entry, price: Decimal | None, now: datetime) -> Entry:
        """Bring an order up to date: expired, filled as far as possible, or unchanged."""
        if entry.state.final:
            return entry
        if entry.expires_at and now >= entry.expires_at:
            return _end(book, entry, OrderState.EXPIRED, now)
        if price is None or (self._hours and not is_open(self._hours, now)):
            return entry
        buys = entry.side is Side.BUY
        if price > entry.limit_price if buys else price < entry.limit_price:
            return entry
        units = entry.quantity - entry.filled
        if self._liquidity is not None:
            units = min(units, self._liquidity)
        filled = entry.filled + units
        entry = entry.updated(
            now,
            filled=filled,
            spent=entry.spent + units * price,
            state=OrderState.FILLED if filled == entry.quantity else OrderState.PARTLY_FILLED,
        )
        book.update(entry)
        # A buy reserves cash at its limit price; release the difference to the actual price.
        book.add_cash(units * (entry.limit_price - price) if buys else units * price)
        return entry


def _refusal_reason(order: OrderRequest, book: Book) -> str:
    """Why the account cannot cover an order; empty if it can."""
    if order.side is Side.BUY:
        return "" if order.quantity * order.limit_price <= book.cash() else "not enough cash"
    held = Decimal(0)
    for entry in book.all(order.symbol):
        if entry.side is Side.BUY:
            held += entry.filled
        elif entry.client_order_id != order.client_order_id:
            held -= entry.filled if entry.state.final else entry.quantity
    return "" if order.quantity <= held else f"not enough {order.symbol}"


def _end(book: Book, entry: Entry, state: OrderState, now: datetime) -> Entry:
    """Close the open part of an order and release the money reserved for it."""
    if entry.side is Side.BUY:
        book.add_cash((entry.quantity - entry.filled) * entry.limit_price)
    entry = entry.updated(now, state=state)
    book.update(entry)
    return entry

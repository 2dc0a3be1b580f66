"""The interface of a broker: orders, their states, and four requests."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime, BaseModel, Field

from common.agents.buyer import Order, Quantity, Side, TimeInForce
from common.quotes import Money, Symbol


class DuplicateOrderError(Exception):
    """The broker already has an order with that client order id; it refused the new one."""


class TooLateError(Exception):
    """The order is past its `not_after`; it was not placed."""


class OrderRequest(BaseModel, frozen=True):
    """A limit order to be placed. A broker takes each `client_order_id` once.

    `not_after` is when Temporal gives up on its sender: a process that was stopped and resumes later must not
    place an order that has since been decided against.
    """

    client_order_id: str = Field(min_length=1, max_length=48)
    symbol: Symbol
    side: Side
    quantity: Quantity
    limit_price: Money
    time_in_force: TimeInForce
    not_after: AwareDatetime | None = None


class MarketState(BaseModel, frozen=True):
    """Whether orders can be filled now, and when that next begins and ends; None is never."""

    open: bool
    next_open: AwareDatetime | None
    next_close: AwareDatetime | None


class Broker(Protocol):
    """A broker. Errors that are not named here leave the outcome unknown: ask `find` before a retry."""

    async def submit(self, order: OrderRequest) -> Order:
        """Place an order. One that the broker refuses comes back as rejected.

        Raises:
            DuplicateOrderError: there is an order with that client order id.
            TooLateError: it is past the order's `not_after`.
        """
        ...

    async def find(self, client_order_id: str) -> Order | None:
        """The order as it stands now; None where the broker has none with that id."""
        ...

    async def cancel(self, client_order_id: str) -> Order | None:
        """Cancel what is still open of an order, and return how it stands; None where there is none."""
        ...

    async def market_open(self, at: datetime | None = None) -> MarketState:
        """The state of the market at `at`, or now."""
        ...

"""The interface of a broker: orders, their states, and four requests."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime, BaseModel, Field

from common.agents.buyer import Order, Quantity, Side, TimeInForce
from common.quotes import Money, Symbol


class DuplicateOrderError(Exception):
    """The broker already has an order with this client order id, and refused the new one."""


class TooLateError(Exception):
    """The order is past its `not_after`; it was not placed."""


class OrderRequest(BaseModel, frozen=True):
    """A limit order to place. A broker accepts each `client_order_id` once.

    `not_after` is when Temporal gives up on the sender: a process that was suspended and resumes later must
    not place an order that has since been abandoned.
    """

    client_order_id: str = Field(min_length=1, max_length=48)
    symbol: Symbol
    side: Side
    quantity: Quantity
    limit_price: Money
    time_in_force: TimeInForce
    not_after: AwareDatetime | None = None


class MarketState(BaseModel, frozen=True):
    """Whether orders can be filled now, and when the market next opens and closes; None means never."""

    open: bool
    next_open: AwareDatetime | None
    next_close: AwareDatetime | None


class Broker(Protocol):
    """A broker. After errors not named here, the outcome is unknown: call `find` before a retry."""

    async def submit(self, order: OrderRequest) -> Order:
        """Place an order. If the broker refuses it, it is returned as rejected.

        Raises:
            DuplicateOrderError: there is an order with this client order id.
            TooLateError: it is past the order's `not_after`.
        """
        ...

    async def find(self, client_order_id: str) -> Order | None:
        """The order in its current state; None if the broker has none with this id."""
        ...

    async def cancel(self, client_order_id: str) -> Order | None:
        """Cancel the open part of an order and return its state; None if there is no such order."""
        ...

    async def market_open(self, at: datetime | None = None) -> MarketState:
        """The state of the market at `at`, or now."""
        ...

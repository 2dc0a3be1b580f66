"""Places, finds and cancels orders: the buyer's destructive activity, and the queries around it."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from activities.rehearsal.stand_ins import agent_time, rehearsed_as
from activities.trading.broker import Broker, DuplicateOrderError, MarketState, OrderRequest
from common.agents.buyer import EDITABLE, BuyPlan, Order, OrderState
from common.agents.fork import hold, key_on_record
from common.approval.signing import Authority
from common.approval.types import Authorization
from common.errors import permanent
from common.quotes import Money

PREFIX = "hibernaut-"


class PlaceOrder(BaseModel, frozen=True):
    """Asks to buy what the plan says at no more than `limit_price` each, as `authorization` allows."""

    plan: BuyPlan
    limit_price: Money
    authorization: Authorization | None = None


class FindOrder(BaseModel, frozen=True):
    """Asks for the order with an idempotency key."""

    key: str


class FoundOrder(BaseModel, frozen=True):
    """The order as the broker has it now; None if there is none."""

    order: Order | None


class CancelOrder(BaseModel, frozen=True):
    """Asks to cancel the open part of the order with an idempotency key."""

    key: str


class MarketRequest(BaseModel, frozen=True):
    """Asks about the market at a time, by default now."""

    at: AwareDatetime | None = None


def client_order_id(key: str) -> str:
    """The client order id for an idempotency key: 42 characters, the same for the same key."""
    return PREFIX + hashlib.sha256(key.encode()).hexdigest()[:32]


def _given_up_at(attempt: activity.Info) -> datetime | None:
    """When Temporal gives up on the attempt. Counts from now if this machine's clock is behind Temporal's."""
    limit = attempt.start_to_close_timeout
    return min(attempt.started_time, datetime.now(UTC)) + limit if limit else None


def _as_if_filled(_: Orders, request: PlaceOrder) -> Order:
    plan, now = request.plan, agent_time()
    key = request.authorization.key if request.authorization else ""
    return Order(
        client_order_id=client_order_id(key),
        broker_order_id="",
        symbol=plan.symbol,
        side=plan.side,
        quantity=plan.quantity,
        limit_price=request.limit_price,
        filled=plan.quantity,
        average_price=request.limit_price,
        state=OrderState.FILLED,
        reason="rehearsed: no order was placed",
        submitted_at=now,
        updated_at=now,
    )


class Orders:
    """The activities that talk to a broker."""

    def __init__(self, broker: Broker, authority: Authority) -> None:
        self._broker = broker
        self._authority = authority

    @activity.defn(name="place_order")
    @rehearsed_as(_as_if_filled)
    async def place_order(self, request: PlaceOrder) -> Order:
        """Make sure that exactly one order exists under the authorization's key, and return it.

        The broker is always asked for it first, because an earlier attempt may have placed it and died before
        the answer came. Nothing is placed once Temporal has given up on this attempt, because the agent may
        have ended or moved on. For this, the clocks of Temporal and of this machine must not differ by more
        than the time for which the agent lets an unknown outcome settle.

        Raises:
            ApplicationError: type `NotAuthorized`, `PolicyRefused` or `LimitExceeded`; the broker was not
                contacted.
        """
        plan = request.plan
        attempt = activity.info()
        given, aside = request.authorization, ("limit_price",)
        authorization = await asyncio.to_thread(self._authority.authorize, given, plan, attempt, aside)
        if any(set(vote.decision.edits) - set(EDITABLE) for vote in authorization.votes):
            raise permanent(
                "NotAuthorized", f"the decision edits more of the plan than {', '.join(EDITABLE)}"
            )
        if request.limit_price > plan.limit:
            raise permanent(
                "LimitExceeded", f"{request.limit_price} is over the limit approved, {plan.limit}"
            )
        name = client_order_id(authorization.key)
        order = await self._broker.find(name)
        if order is not None:
            return order
        try:
            return await self._broker.submit(
                OrderRequest(
                    client_order_id=name,
                    symbol=plan.symbol,
                    side=plan.side,
                    quantity=plan.quantity,
                    limit_price=request.limit_price,
                    time_in_force=plan.time_in_force,
                    not_after=_given_up_at(attempt),
                )
            )
        except DuplicateOrderError:
            order = await self._broker.find(name)
            if order is None:
                # The broker contradicts itself; a retry will clear it up.
                raise
            return order

    @activity.defn(name="find_placed")
    async def find_placed(self, request: PlaceOrder) -> Order | None:
        """The order placed by an attempt whose outcome is unknown; None if there is none."""
        if request.authorization is None:
            return None
        return await self._broker.find(client_order_id(request.authorization.key))

    @activity.defn(name="find_order")
    async def find_order(self, request: FindOrder) -> FoundOrder:
        """The order with an idempotency key, as it is now."""
        return FoundOrder(order=await self._broker.find(client_order_id(key_on_record(request.key))))

    @activity.defn(name="cancel_order")
    async def cancel_order(self, request: CancelOrder) -> FoundOrder:
        """Cancel the open part of the order and return it; an order that has ended stays unchanged.

        Raises:
            ApplicationError: type `NotItsOwn`: a fork must not cancel what its original ordered.
        """
        hold(key=request.key)
        return FoundOrder(order=await self._broker.cancel(client_order_id(request.key)))

    @activity.defn(name="market")
    async def market(self, request: MarketRequest) -> MarketState:
        """Whether orders can be filled, and when that changes."""
        return await self._broker.market_open(request.at)

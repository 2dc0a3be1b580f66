"""A buyer that is cancelled leaves no open order behind, wherever the word reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError

from activities.quotes.quotes import Quotes
from activities.trading.broker import OrderRequest
from activities.trading.orders import Orders
from activities.trading.paper import PaperBroker
from common.agents.buyer import BuyerInput, Order, OrderState, Quote
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.stage import Stage
from workflows.buyer import Buyer


class Market:
    """A price to set, and orders that stay under way until `arrive` is set."""

    def __init__(self) -> None:
        self.price = Decimal(10)
        self.sent = asyncio.Event()
        self.arrive = asyncio.Event()
        self.arrive.set()

    async def quote(self, symbol: str) -> Quote:
        return Quote(symbol=symbol, price=self.price, at=datetime.now(UTC), source="test")


class HeldBroker(PaperBroker):
    """A paper broker far away, which may take its time to cancel, too."""

    market: Market
    cancels = 0
    takes_cancels = True

    async def submit(self, order: OrderRequest) -> Order:
        self.market.sent.set()
        await self.market.arrive.wait()
        return await super().submit(order)

    async def cancel(self, client_order_id: str) -> Order | None:
        self.cancels += 1
        return await (super().cancel if self.takes_cancels else self.find)(client_order_id)


class Floor(Stage):
    """A stage with a buyer, a market and a book."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.agents = [Buyer]
        self.market = Market()
        file = self.settings.data_dir / "paper.db"
        self.broker = HeldBroker(file, self.market.quote, lambda: datetime.now(UTC), hours=None)
        self.broker.market = self.market

    def objects(self) -> list[Any]:
        orders = Orders(self.broker, self.authority)
        return [*super().objects(), Quotes(self.market), orders]

    async def sending(self, **more: Any) -> WorkflowHandle[Any, Any]:
        """A buyer whose order is on its way, while the price has risen over the order's limit."""
        self.market.arrive.clear()
        input = BuyerInput(symbol="AAA", quantity=Decimal(5), limit=Decimal(11), approvers=["ann"], **more)
        buyer = await self.start(input, "buyer")
        await self.decide(buyer, await self.asked(buyer))
        await asyncio.wait_for(self.market.sent.wait(), 120)
        self.market.price = Decimal("10.05")
        return buyer

    async def states(self) -> list[OrderState]:
        return [order.state for order in self.broker.orders()]


@pytest.fixture
async def floor(settings: Settings) -> AsyncIterator[Floor]:
    stage = Floor(await connect(settings), settings)
    async with stage.at_work():
        try:
            yield stage
        finally:
            stage.market.arrive.set()


async def ends_cancelled(buyer: WorkflowHandle[Any, Any]) -> None:
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(buyer.result(), 120)
    assert isinstance(ended.value.cause, CancelledError)


async def test_an_order_in_flight_is_withdrawn(floor: Floor) -> None:
    """The order arrives after the cancel, stays open at the broker, and is cancelled there."""
    buyer = await floor.sending()
    await buyer.cancel()
    await asyncio.sleep(0.5)
    assert floor.broker.orders() == []
    floor.market.arrive.set()
    await ends_cancelled(buyer)
    assert await floor.states() == [OrderState.CANCELLED]


async def test_an_order_that_is_followed_is_withdrawn(floor: Floor) -> None:
    """Days later the order is still open; it ends with the agent."""
    buyer = await floor.sending()
    floor.market.arrive.set()
    await eventually(lambda: floor.broker.orders())
    assert await floor.states() == [OrderState.ACCEPTED]
    await buyer.cancel()
    await ends_cancelled(buyer)
    assert await floor.states() == [OrderState.CANCELLED]


async def test_an_agent_that_is_paused_withdraws_its_order_too(floor: Floor) -> None:
    """A pause holds back what is new; tidying up after a cancel is not."""
    buyer = await floor.sending()
    await buyer.signal("pause")
    floor.market.arrive.set()
    await eventually(lambda: floor.broker.orders())

    async def paused() -> bool:
        return (await floor.attributes(buyer)).get("AgentState") == "paused"

    await buyer.signal("wake")
    await eventually(paused)
    await buyer.cancel()
    await ends_cancelled(buyer)
    assert await floor.states() == [OrderState.CANCELLED]


async def test_an_order_that_the_broker_is_slow_to_cancel_is_seen_to_its_end(floor: Floor) -> None:
    """A cancel may be pending at the broker for a while; until then the agent stays."""
    floor.broker.takes_cancels = False
    buyer = await floor.sending()
    await buyer.cancel()
    floor.market.arrive.set()
    await eventually(lambda: floor.broker.cancels > 1)
    assert (await buyer.describe()).status == WorkflowExecutionStatus.RUNNING
    floor.broker.takes_cancels = True
    await ends_cancelled(buyer)
    assert await floor.states() == [OrderState.CANCELLED]


async def test_patience_that_has_ended_asks_the_broker_now_and_then(floor: Floor) -> None:
    """While a cancel is pending the agent sleeps between its looks, in place of asking without a rest."""
    floor.broker.takes_cancels = False
    buyer = await floor.sending(patience=timedelta(seconds=1))
    floor.market.arrive.set()
    await eventually(lambda: floor.broker.cancels > 0)

    async def sleeping() -> bool:
        return (await floor.attributes(buyer)).get("AgentState") == "sleeping"

    await eventually(sleeping)
    floor.broker.takes_cancels = True
    assert (await buyer.result())["outcome"] == "not_filled"
    assert await floor.states() == [OrderState.CANCELLED]

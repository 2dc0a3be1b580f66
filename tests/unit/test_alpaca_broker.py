"""Orders at Alpaca, against a server that speaks its protocol and fails as networks do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from temporalio.exceptions import ApplicationError

from activities.trading.alpaca_broker import AlpacaBroker
from activities.trading.broker import DuplicateOrderError, OrderRequest, TooLateError
from common.agents.buyer import OrderState, Side, TimeInForce
from common.errors import classify_error
from common.settings import SettingsError
from testing.waiting import eventually
from tests.support.trading.alpaca_server import KEY, SECRET, AlpacaServer, Answer

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
ORDER = OrderRequest(
    client_order_id="hibernaut-1",
    symbol="BRK.B",
    side=Side.BUY,
    quantity=Decimal("100.0000000001"),
    limit_price=Decimal("0.1234"),
    time_in_force=TimeInForce.GTC,
)


@pytest.fixture
def server() -> Iterator[AlpacaServer]:
    with AlpacaServer() as running:
        yield running


def broker(server: AlpacaServer, **options: Any) -> AlpacaBroker:
    return AlpacaBroker(
        options.pop("key", KEY), SECRET, paper=True, clock=lambda: NOW, url=server.url, **options
    )


def is_retried(error: BaseException) -> bool:
    sorted_ = classify_error(error) if isinstance(error, Exception) else error
    return not (isinstance(sorted_, ApplicationError) and sorted_.non_retryable)


async def test_an_order_is_not_sent_too_late(server: AlpacaServer) -> None:
    """Past the moment its sender was given up, nothing goes over the wire."""
    with pytest.raises(TooLateError):
        await broker(server).submit(ORDER.model_copy(update={"not_after": NOW}))
    assert server.requests == []


async def test_an_order_is_placed_as_it_was_meant_and_found_again(server: AlpacaServer) -> None:
    """Quantity and price go out and come back digit by digit."""
    placed = await broker(server).submit(ORDER)
    assert server.requests[0][2] == {
        "client_order_id": "hibernaut-1",
        "symbol": "BRK.B",
        "side": "buy",
        "type": "limit",
        "qty": "100.0000000001",
        "limit_price": "0.1234",
        "time_in_force": "gtc",
    }
    assert (placed.quantity, placed.limit_price) == (ORDER.quantity, ORDER.limit_price)
    assert (placed.state, placed.filled, placed.average_price) == (OrderState.ACCEPTED, 0, None)
    assert await broker(server).find("hibernaut-1") == placed
    assert await broker(server).find("other") is None


@pytest.mark.parametrize(
    ("side", "limit", "sent"),
    [
        (Side.BUY, "9.3239", "9.32"),
        (Side.SELL, "9.3201", "9.33"),
        (Side.BUY, "0.12349", "0.1234"),
        (Side.BUY, "12", "12.00"),
    ],
)
async def test_a_limit_is_sent_in_steps_that_the_exchange_takes(
    server: AlpacaServer, side: Side, limit: str, sent: str
) -> None:
    """A buy's is rounded down and a sale's up: never to a price that nobody approved."""
    await broker(server).submit(ORDER.model_copy(update={"side": side, "limit_price": Decimal(limit)}))
    assert server.requests[0][2]["limit_price"] == sent


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("new", "0", OrderState.ACCEPTED),
        ("pending_new", "0", OrderState.ACCEPTED),
        ("partially_filled", "40", OrderState.PARTLY_FILLED),
        ("pending_cancel", "40", OrderState.PARTLY_FILLED),
        ("filled", "100", OrderState.FILLED),
        ("canceled", "40", OrderState.CANCELLED),
        ("replaced", "0", OrderState.CANCELLED),
        ("expired", "0", OrderState.EXPIRED),
        ("rejected", "0", OrderState.REJECTED),
        ("a_new_word", "0", OrderState.ACCEPTED),
    ],
)
async def test_every_status_has_a_state(
    server: AlpacaServer, status: str, filled: str, state: OrderState
) -> None:
    """A status nobody has heard of is not taken for the end."""
    await broker(server).submit(ORDER)
    server.orders["hibernaut-1"].update(status=status, filled_qty=filled, filled_avg_price="11.5")
    order = await broker(server).find("hibernaut-1")
    assert order is not None
    assert (order.state, order.filled) == (state, Decimal(filled))
    assert order.average_price == (Decimal("11.5") if Decimal(filled) else None)


async def test_a_second_order_of_the_same_id_is_refused(server: AlpacaServer) -> None:
    """422 about the client order id is no rejection of the order."""
    await broker(server).submit(ORDER)
    with pytest.raises(DuplicateOrderError):
        await broker(server).submit(ORDER)
    assert len(server.orders) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Answer(cut=True, book=True),
        Answer(500, {"message": "internal"}, book=True),
        Answer(504, "<html>gateway", book=True),
        Answer(200, "", book=True),
        Answer(200, '{"id": "1"', book=True),
        Answer(302, "", {"Location": "http://127.0.0.1:1/"}, book=True),
        Answer(book=True, slow=60),
    ],
    ids=["cut", "500", "504", "empty", "half", "elsewhere", "slow"],
)
async def test_an_unknown_outcome_is_an_error_worth_a_retry_and_the_order_can_be_found(
    server: AlpacaServer, fault: Answer
) -> None:
    """Booked, then no usable answer: one request went out, and asking for the id tells."""
    asked = broker(server, seconds=1 if fault.slow else 30)
    server.script(fault)
    with pytest.raises((requests.RequestException, ApplicationError)) as caught:
        await asked.submit(ORDER)
    assert is_retried(caught.value)
    assert isinstance(caught.value, requests.Timeout) is bool(fault.slow)
    await eventually(lambda: server.requests)  # of a caller without patience it may hear late
    assert [method for method, _, _ in server.requests] == ["POST"]
    found = await broker(server).find("hibernaut-1")
    assert found is not None
    assert found.state is OrderState.ACCEPTED


async def test_nothing_is_sent_twice_by_the_library(server: AlpacaServer) -> None:
    """It would wait and send again on 429 and 504; Temporal owns retries here."""
    for status in (429, 504):
        server.script(Answer(status, {"message": "no"}))
        with pytest.raises(ApplicationError):
            await broker(server).submit(ORDER)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, timedelta(seconds=7)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 42)}, timedelta(seconds=42)),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({}, None),
    ],
)
async def test_too_many_requests_come_back_when_they_are_told_to(
    server: AlpacaServer, headers: dict[str, str], wait: timedelta | None
) -> None:
    """By either header; without one Temporal's own pace holds."""
    server.script(Answer(429, {"code": 42910000, "message": "rate limit exceeded"}, headers))
    with pytest.raises(ApplicationError) as caught:
        await broker(server).submit(ORDER)
    assert (caught.value.type, caught.value.next_retry_delay) == ("TooManyRequests", wait)
    assert is_retried(caught.value)


async def test_a_wrong_key_is_permanent_and_names_the_settings(server: AlpacaServer) -> None:
    """No retry mends it."""
    with pytest.raises(ApplicationError, match="HIBERNAUT_ALPACA_KEY") as caught:
        await broker(server, key="wrong").submit(ORDER)
    assert not is_retried(caught.value)


def test_a_missing_key_is_told_at_start(server: AlpacaServer) -> None:
    """Not at the first order."""
    with pytest.raises(SettingsError, match="HIBERNAUT_ALPACA_KEY"):
        broker(server, key="")


async def test_an_order_the_account_cannot_bear_is_rejected_and_no_error(server: AlpacaServer) -> None:
    """The agent reports it; a retry would be refused again."""
    order = await broker(server).submit(ORDER.model_copy(update={"limit_price": Decimal(2000)}))
    assert (order.state, order.reason) == (OrderState.REJECTED, "insufficient buying power")
    assert server.orders == {}


async def test_an_order_that_makes_no_sense_to_alpaca_is_rejected(server: AlpacaServer) -> None:
    """422 that is not about the id, such as a share that is not traded."""
    server.script(Answer(422, {"code": 42210000, "message": "asset BRK.B is not tradable"}))
    order = await broker(server).submit(ORDER)
    assert (order.state, order.reason) == (OrderState.REJECTED, "asset BRK.B is not tradable")


async def test_a_day_trading_rejection_is_no_wrong_key(server: AlpacaServer) -> None:
    """403 with a code of its own is about the order; without one it is about the key."""
    denied = "trade denied due to pattern day trading protection"
    server.script(Answer(403, {"code": 40310100, "message": denied}))
    order = await broker(server).submit(ORDER)
    assert (order.state, order.reason) == (OrderState.REJECTED, denied)
    server.script(Answer(403, {"message": "forbidden."}))
    with pytest.raises(ApplicationError) as caught:
        await broker(server).submit(ORDER)
    assert caught.value.type == "BrokerRefused"


async def test_an_order_is_cancelled_by_its_client_order_id(server: AlpacaServer) -> None:
    """What is unknown is None; what ended while we asked stays as it ended."""
    await broker(server).submit(ORDER)
    cancelled = await broker(server).cancel("hibernaut-1")
    assert cancelled is not None
    assert cancelled.state is OrderState.CANCELLED
    assert await broker(server).cancel("other") is None
    await broker(server).submit(ORDER.model_copy(update={"client_order_id": "late"}))
    as_it_was = dict(server.orders["late"])
    server.orders["late"].update(status="filled", filled_qty="100.0000000001", filled_avg_price="0.1")
    server.script(Answer(200, as_it_was))  # the look before is a moment old
    late = await broker(server).cancel("late")
    assert late is not None
    assert late.state is OrderState.FILLED
    assert [method for method, _, _ in server.requests[-3:]] == ["GET", "DELETE", "GET"]


async def test_the_clock_tells_the_market(server: AlpacaServer) -> None:
    """Open now, closes and opens at moments with a zone."""
    state = await broker(server).market_open()
    assert state.open
    assert state.next_close == datetime(2026, 11, 24, 21, tzinfo=UTC)
    server.script(Answer(200, {"is_open": "perhaps"}))
    with pytest.raises(ApplicationError) as caught:
        await broker(server).market_open()
    assert caught.value.type == "UnreadableAnswer"

"""The paper broker: one order for each id, never over its limit, durable, shared by processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import URL

from activities.quotes.csv_feed import CsvFeed, seek_replay
from activities.quotes.quotes import Fault, quote_error
from activities.trading.broker import DuplicateOrderError, Order, OrderRequest, TooLateError
from activities.trading.paper import PaperBroker
from activities.trading.paper_faults import Faults
from common.agents.buyer import OrderState, Quote, Side, TimeInForce
from tests.support.trading.real_prices import real_closes

# A Tuesday, the exchange in New York is open.
NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)


class World:
    """A clock and a price that tests set."""

    def __init__(self, price: str | None = "10") -> None:
        self.now = NOON
        self.price = price

    def clock(self) -> datetime:
        return self.now

    async def quote(self, symbol: str) -> Quote:
        if symbol == "NONE":
            raise quote_error(Fault.UNKNOWN_SYMBOL, "no such thing")
        if self.price is None:
            raise quote_error(Fault.UNREACHABLE, "the feed is away")
        return Quote(symbol=symbol, price=Decimal(self.price), at=self.now, source="test")


def request(name: str = "order-1", **changes: Any) -> OrderRequest:
    plain = OrderRequest(
        client_order_id=name,
        symbol="AAA",
        side=Side.BUY,
        quantity=Decimal(100),
        limit_price=Decimal(11),
        time_in_force=TimeInForce.DAY,
    )
    return plain.model_copy(update=changes)


def broker(place: Path | URL, world: World, **options: Any) -> PaperBroker:
    return PaperBroker(place, world.quote, world.clock, **options)


async def found(paper: PaperBroker, name: str = "order-1") -> Order:
    order = await paper.find(name)
    assert order is not None
    return order


async def test_a_buy_is_filled_at_the_price_when_that_is_within_its_limit(place: Path | URL) -> None:
    """At the market's price, which may be better than the limit."""
    order = await broker(place, World("10.5")).submit(request())
    assert (order.state, order.filled, order.average_price) == (OrderState.FILLED, 100, Decimal("10.5"))


async def test_a_buy_waits_while_the_price_is_over_its_limit(place: Path | URL) -> None:
    """A cent over is over; at the limit it is filled."""
    world = World("11.01")
    paper = broker(place, world)
    assert (await paper.submit(request())).state is OrderState.ACCEPTED
    assert (await found(paper)).filled == 0
    world.price = "11"
    assert (await found(paper)).average_price == 11


async def test_a_real_price_that_ran_away_buys_nothing(tmp_path: Path) -> None:
    """BAC closed at 9.231 on a Friday and at 11.741 on Monday: a limit just over the first is not filled."""
    world, state = World(), tmp_path / "replay"
    feed = CsvFeed(real_closes(), state, speed=0, clock=world.clock)
    paper = PaperBroker(tmp_path / "paper.db", feed.quote, world.clock, liquidity=Decimal(1))
    bac = request(symbol="BAC", quantity=Decimal(2), limit_price=Decimal("9.324"))
    seek_replay(state, datetime(2008, 11, 21, tzinfo=UTC), world.now)
    assert (await paper.submit(bac)).average_price == Decimal("9.231")
    seek_replay(state, datetime(2008, 11, 24, tzinfo=UTC), world.now)
    assert (await found(paper)).filled == 1
    late = bac.model_copy(update={"client_order_id": "late"})
    assert (await paper.submit(late)).filled == 0


@settings(max_examples=40, deadline=None)
@given(
    prices=st.lists(st.decimals("0.01", "20", places=4), min_size=1, max_size=8),
    liquidity=st.one_of(st.none(), st.decimals("1", "60", places=2)),
    limit=st.decimals("0.01", "20", places=4),
)
async def test_whatever_the_prices_are_no_unit_costs_more_than_the_limit(
    tmp_path_factory: pytest.TempPathFactory, prices: list[Decimal], liquidity: Decimal | None, limit: Decimal
) -> None:
    """Fills only grow, never past the quantity, and the cash that is gone is the money that was spent."""
    world = World(str(prices[0]))
    file = tmp_path_factory.mktemp("paper") / "paper.db"
    paper = broker(file, world, liquidity=liquidity, cash=Decimal(5000))
    order = await paper.submit(request(limit_price=limit))
    for price in prices[1:]:
        world.price = str(price)
        before, order = order, await found(paper)
        assert before.filled <= order.filled <= 100
        assert order.average_price is None or order.average_price <= limit
        if price > limit:
            assert order.filled == before.filled
    assert (order.state is OrderState.FILLED) == (order.filled == 100)
    await paper.cancel("order-1")
    with sqlite3.connect(file) as connection:
        ((cash,),) = connection.execute("SELECT cash FROM account")
        ((spent,),) = connection.execute("SELECT spent FROM orders")
    assert Decimal(cash) + Decimal(spent) == 5000


async def test_a_thin_market_fills_in_parts(place: Path | URL) -> None:
    """The average is over the parts, each at its price."""
    world = World("10")
    paper = broker(place, world, liquidity=Decimal(40))
    first = await paper.submit(request())
    assert (first.state, first.filled) == (OrderState.PARTLY_FILLED, 40)
    world.price = "11"
    assert (await found(paper)).filled == 80
    last = await found(paper)
    assert (last.state, last.average_price) == (OrderState.FILLED, Decimal("10.6"))


async def test_an_order_that_comes_too_late_is_not_booked(place: Path | URL) -> None:
    """The moment itself is too late; nothing is kept of it, and its name stays free."""
    world = World("10")
    paper = broker(place, world)
    with pytest.raises(TooLateError):
        await paper.submit(request(not_after=world.now))
    assert await paper.find("order-1") is None
    in_time = request(not_after=world.now + timedelta(seconds=1))
    assert (await paper.submit(in_time)).state is OrderState.FILLED


async def test_looks_at_the_same_moment_each_count_once(place: Path | URL) -> None:
    """Forty looks from many threads fill forty units, none lost and none doubled."""
    paper = broker(place, World("10"), liquidity=Decimal(1))
    assert (await paper.submit(request())).filled == 1
    looks = await asyncio.gather(*(found(paper) for _ in range(40)))
    assert sorted(order.filled for order in looks) == list(range(2, 42))


async def test_a_day_order_ends_with_the_session(place: Path | URL) -> None:
    """What was filled stays; a good-till-cancelled order goes on."""
    world = World("10")
    paper = broker(place, world, liquidity=Decimal(10))
    await paper.submit(request("day"))
    await paper.submit(request("gtc", time_in_force=TimeInForce.GTC))
    world.now = datetime(2026, 11, 24, 21, tzinfo=UTC)  # 16:00 in New York
    day, gtc = await found(paper, "day"), await found(paper, "gtc")
    assert (day.state, day.filled) == (OrderState.EXPIRED, 10)
    assert (gtc.state, gtc.filled) == (OrderState.PARTLY_FILLED, 10)
    world.now += timedelta(hours=18)
    assert (await found(paper, "gtc")).filled == 20
    assert (await found(paper, "day")).filled == 10


async def test_nothing_is_filled_while_the_market_is_closed(place: Path | URL) -> None:
    """An order of Thanksgiving stands to the end of the next session, which is a short one."""
    world = World("10")
    world.now = datetime(2026, 11, 26, 17, tzinfo=UTC)
    paper = broker(place, world)
    assert (await paper.submit(request())).state is OrderState.ACCEPTED
    assert not (await paper.market_open()).open
    world.now = (await paper.market_open()).next_open or world.now
    assert (await paper.market_open()).next_close == datetime(2026, 11, 27, 18, tzinfo=UTC)
    assert (await found(paper)).state is OrderState.FILLED


async def test_a_market_without_hours_is_always_open(place: Path | URL) -> None:
    """For trying things out on a Sunday; a day is then 24 hours."""
    world = World("12")
    world.now = datetime(2026, 11, 22, 3, tzinfo=UTC)
    paper = broker(place, world, hours=None)
    assert (await paper.market_open()).open
    await paper.submit(request())
    world.now += timedelta(hours=24)
    assert (await found(paper)).state is OrderState.EXPIRED


async def test_orders_that_cannot_be_borne_are_rejected_with_the_reason(place: Path | URL) -> None:
    """Open orders have their money set aside, and nobody sells what is not there."""
    paper = broker(place, World("12"), cash=Decimal(2000))
    assert (await paper.submit(request("a"))).state is OrderState.ACCEPTED  # takes 1,100 of 2,000
    outcomes = [
        await paper.submit(request("b")),
        await paper.submit(request("c", symbol="NONE", quantity=Decimal(1))),
        await paper.submit(request("d", side=Side.SELL)),
    ]
    assert [order.state for order in outcomes] == [OrderState.REJECTED] * 3
    assert [order.reason for order in outcomes] == ["not enough cash", "unknown symbol", "not enough AAA"]
    await paper.cancel("a")
    assert (await paper.submit(request("e"))).state is OrderState.ACCEPTED


async def test_what_was_bought_can_be_sold_once(place: Path | URL) -> None:
    """At no less than the limit."""
    world = World("10")
    paper = broker(place, world)
    await paper.submit(request("in"))
    out = await paper.submit(request("out", side=Side.SELL))
    assert out.state is OrderState.ACCEPTED
    assert (await paper.submit(request("twice", side=Side.SELL))).state is OrderState.REJECTED
    world.price = "11.5"
    assert (await found(paper, "out")).average_price == Decimal("11.5")


async def test_a_cancelled_order_is_filled_no_further(place: Path | URL) -> None:
    """Cancelling again, or what has ended, changes nothing; an unknown order is None."""
    world = World("10")
    paper = broker(place, world, liquidity=Decimal(30))
    await paper.submit(request())
    for _ in range(2):
        order = await paper.cancel("order-1")
        assert order is not None
        assert (order.state, order.filled) == (OrderState.CANCELLED, 30)
    assert (await found(paper)).filled == 30
    assert await paper.cancel("other") is None
    assert await paper.find("other") is None


async def test_a_feed_that_is_away_stops_no_order_and_no_look(place: Path | URL) -> None:
    """It is taken, and filled when there is a price again."""
    world = World(None)
    paper = broker(place, world)
    assert (await paper.submit(request())).state is OrderState.ACCEPTED
    assert (await found(paper)).state is OrderState.ACCEPTED
    world.price = "10"
    assert (await found(paper)).state is OrderState.FILLED


async def test_a_second_order_of_the_same_id_is_refused(place: Path | URL) -> None:
    """Also when it asks for something else, and also by a broker opened afresh."""
    world = World("12")
    first = await broker(place, world).submit(request())
    again = broker(place, world)
    with pytest.raises(DuplicateOrderError):
        await again.submit(request(quantity=Decimal(1)))
    assert again.orders() == [first]
    assert [attempt.outcome for attempt in again.attempts()] == ["booked", "duplicate"]


def _submit_in_a_process(place: Path | URL, names: list[str], gate: Any, results: Any) -> None:
    async def run() -> None:
        paper = broker(place, World("10"), liquidity=Decimal(1))
        gate.wait(120)
        for name in names:
            try:
                await paper.submit(request(name))
                results.put((name, "booked"))
            except DuplicateOrderError:
                results.put((name, "duplicate"))

    asyncio.run(run())


def test_of_two_processes_that_submit_the_same_id_one_is_refused(place: Path | URL) -> None:
    """Twenty ids, each from both at once, on a new book: twenty orders, twenty refusals."""
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(2), context.Queue()
    names = [f"order-{number}" for number in range(20)]
    workers = [
        context.Process(target=_submit_in_a_process, args=(place, names, gate, results)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    outcomes = Counter(results.get(timeout=150) for _ in range(40))
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert outcomes == Counter({(name, kind): 1 for name in names for kind in ("booked", "duplicate")})
    paper = broker(place, World())
    assert sorted(order.client_order_id for order in paper.orders()) == sorted(names)
    assert Counter(attempt.outcome for attempt in paper.attempts()) == {"booked": 20, "duplicate": 20}


async def test_a_lost_acknowledgement_leaves_a_booked_order(place: Path | URL) -> None:
    """The caller sees a broken connection; the order stands, and the book knows that nobody heard of it."""
    paper = broker(place, World(), faults=Faults(lost_acknowledgements=1))
    with pytest.raises(ConnectionResetError):
        await paper.submit(request())
    assert (await found(paper)).state is OrderState.FILLED
    assert [attempt.outcome for attempt in paper.attempts()] == ["booked, unheard"]


async def test_a_lost_request_leaves_nothing(place: Path | URL) -> None:
    """To the caller it looks the same as a lost acknowledgement."""
    paper = broker(place, World(), faults=Faults(lost_requests=1))
    with pytest.raises(ConnectionResetError):
        await paper.submit(request())
    assert await paper.find("order-1") is None
    assert [attempt.outcome for attempt in paper.attempts()] == ["request lost"]


async def test_a_request_delivered_twice_is_one_order(place: Path | URL) -> None:
    """The second delivery is refused by the book, the caller hears of the first."""
    paper = broker(place, World(), faults=Faults(duplicates=1))
    assert (await paper.submit(request())).state is OrderState.FILLED
    assert len(paper.orders()) == 1
    assert [attempt.outcome for attempt in paper.attempts()] == ["booked", "duplicate"]


def test_faults_follow_from_the_seed_and_hit_their_share() -> None:
    """The same seed hits the same orders in every process; another one hits others."""
    names = [f"order-{number}" for number in range(2000)]

    def victims(seed: int) -> list[str]:
        faults = Faults(lost_acknowledgements=0.3, seed=seed)
        return [name for name in names if faults.loses_acknowledgement(name, 0)]

    assert victims(1) == victims(1)
    assert victims(1) != victims(2)
    assert 500 < len(victims(1)) < 700
    assert not any(Faults().loses_acknowledgement(name, 0) for name in names)


async def test_orders_survive_the_process(place: Path | URL) -> None:
    """A broker opened on the same book knows the order and the cash, whatever cash it is offered."""
    await broker(place, World("10"), cash=Decimal(1100)).submit(request())
    again = broker(place, World("10"), cash=Decimal(10**6))
    assert (await found(again)).state is OrderState.FILLED
    assert (await again.submit(request("order-2"))).reason == "not enough cash"

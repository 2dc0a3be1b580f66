"""Orders are placed on a valid word only, within the approved limit, and once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.trading.broker import DuplicateOrderError, OrderRequest, TooLateError
from activities.trading.orders import (
    CancelOrder,
    FindOrder,
    MarketRequest,
    Orders,
    PlaceOrder,
    client_order_id,
)
from activities.trading.paper import PaperBroker
from activities.trading.paper_faults import Faults
from common.agents.buyer import BuyerInput, BuyPlan, Order, OrderState, Quote, Side, TimeInForce
from common.approval.groups import Directory
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalPolicy, Authorization, Decision, Verdict, Vote
from common.digest import digest
from common.key_ring import KeyRing
from tests.support.floors import floors

NOW = datetime(2026, 11, 24, 17, tzinfo=UTC)
RING = Signer(KeyRing.of({"test": bytes(range(32))}))
AGENT = ActivityEnvironment().info.workflow_id or ""
PLAN = BuyPlan(
    symbol="AAA",
    quantity=Decimal(100),
    limit=Decimal(11),
    quote=Quote(symbol="AAA", price=Decimal(10), at=NOW, source="test"),
    tolerance=Decimal("0.01"),
    time_in_force=TimeInForce.DAY,
    case="It is cheap.",
    documents="",
    model="offline",
)


def attempt(started: datetime = NOW) -> ActivityEnvironment:
    """An attempt that Temporal gives up 45 seconds after it started."""
    environment = ActivityEnvironment()
    environment.info = replace(
        environment.info, started_time=started, start_to_close_timeout=timedelta(seconds=45)
    )
    return environment


async def price(symbol: str) -> Quote:
    return Quote(symbol=symbol, price=Decimal(10), at=NOW, source="test")


def authorized(plan: BuyPlan = PLAN, replaced: dict[str, Any] | None = None, **changes: Any) -> Authorization:
    shown = {**plan.model_dump(mode="json"), **(replaced or {})}
    decision = Decision(
        id="1",
        request_id="buy-1",
        digest=digest(shown),
        verdict=Verdict.REVISE if replaced else Verdict.APPROVE,
        edits={field: plan.model_dump(mode="json")[field] for field in replaced or {}},
        by="ann",
    ).model_copy(update=changes)
    return Authorization(
        votes=(Vote(decision=RING.sign(decision, AGENT, datetime.now(UTC)), replaced=replaced or {}),),
        policy=ApprovalPolicy(approvers=("ann",), editable=("quantity", "limit", "time_in_force", "symbol")),
        requester="owner",
        key=f"{AGENT}:buy:{digest(plan)}",
    )


def reworded(**changes: Any) -> Authorization:
    """A good word, changed after it was signed."""
    word = authorized()
    decision = word.votes[0].decision.model_copy(update=changes)
    policy = word.policy.model_copy(update={"approvers": ("ann", "bob")})
    return word.model_copy(update={"votes": (Vote(decision=decision),), "policy": policy})


class World:
    def __init__(self, folder: Path, faults: Faults = Faults()) -> None:  # noqa: B008
        self.broker = PaperBroker(folder / "paper.db", price, lambda: NOW, faults)
        self.orders = Orders(
            self.broker, Authority(RING, Directory(Path("no-such-file")), floors(), accept_unsigned=False)
        )

    async def place(self, request: PlaceOrder | None = None) -> Order:
        argument = request or place()
        return await attempt().run(self.orders.place_order, argument)


def place(plan: BuyPlan = PLAN, limit: str = "10.5", **changes: Any) -> PlaceOrder:
    plain = PlaceOrder(plan=plan, limit_price=Decimal(limit), authorization=authorized(plan))
    return plain.model_copy(update=changes)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_an_approved_plan_becomes_one_order_within_the_limit_given(world: World) -> None:
    """Symbol, side, quantity and time in force are the plan's; the limit is the validated one."""
    order = await world.place()
    assert order.client_order_id == client_order_id(place().authorization.key)  # type: ignore[union-attr]
    assert (order.symbol, order.side, order.quantity) == ("AAA", Side.BUY, 100)
    assert (order.limit_price, order.state) == (Decimal("10.5"), OrderState.FILLED)


@pytest.mark.parametrize(
    "word",
    [
        lambda: None,
        lambda: authorized(PLAN.model_copy(update={"quantity": Decimal(1)})),
        lambda: authorized(verdict=Verdict.REJECT),
        lambda: authorized().model_copy(update={"key": "another:buy:" + digest(PLAN)}),
        lambda: reworded(by="bob"),
        lambda: reworded(signature=None),
        lambda: authorized(replaced={"symbol": "BBB"}),
    ],
    ids=["none", "another plan", "a no", "another key", "edited approver", "unsigned", "edits the symbol"],
)
async def test_without_a_valid_word_the_broker_is_not_even_asked(
    world: World, word: Callable[[], Authorization | None]
) -> None:
    """Permanently refused, and no attempt shows in the broker's book."""
    with pytest.raises(ApplicationError) as caught:
        await world.place(place(authorization=word()))
    assert (caught.value.type, caught.value.non_retryable) == ("NotAuthorized", True)
    assert world.broker.attempts() == []


async def test_an_approver_may_edit_quantity_and_limit(world: World) -> None:
    """The edited plan is the one that is bought."""
    word = authorized(replaced={"quantity": "500", "limit": "12"})
    order = await world.place(place(authorization=word))
    assert order.quantity == 100


async def test_a_limit_over_the_approved_one_is_refused(world: World) -> None:
    """At it is fine, a fraction of a cent over is not."""
    with pytest.raises(ApplicationError) as caught:
        await world.place(place(limit="11.0001"))
    assert caught.value.type == "LimitExceeded"
    assert world.broker.attempts() == []
    assert (await world.place(place(limit="11"))).limit_price == 11


@pytest.mark.parametrize("limit", ["0", "-1", "NaN", "Infinity"])
def test_a_limit_that_is_no_price_is_no_request(limit: str) -> None:
    """It cannot even be said."""
    with pytest.raises(ValidationError):
        PlaceOrder(plan=PLAN, limit_price=Decimal(limit))


async def test_placing_again_returns_the_order_that_stands(world: World) -> None:
    """The broker is asked first, so nothing is sent a second time, also at another limit."""
    first = await world.place()
    assert await world.place(place(limit="11")) == first
    assert [attempt.outcome for attempt in world.broker.attempts()] == ["booked"]


@pytest.mark.parametrize(
    ("faults", "outcomes"),
    [
        (Faults(lost_acknowledgements=1), ["booked, unheard"]),
        (Faults(duplicates=1), ["booked", "duplicate"]),
    ],
)
async def test_a_lost_answer_and_a_double_delivery_end_in_one_order(
    tmp_path: Path, faults: Faults, outcomes: list[str]
) -> None:
    """The retry finds what the first attempt placed."""
    world = World(tmp_path, faults)
    try:
        order = await world.place()
    except ConnectionResetError:
        order = await world.place()
    assert world.broker.orders() == [order]
    assert [attempt.outcome for attempt in world.broker.attempts()] == outcomes


async def test_a_lost_request_is_sent_again(tmp_path: Path) -> None:
    """The look says there is none, so there must be one more; there is one in the end."""
    # Of all seeds the first that loses the first attempt and not the second.
    name = client_order_id(authorized().key)
    faults = next(
        each
        for each in (Faults(lost_requests=0.5, seed=seed) for seed in range(1000))
        if each.loses_request(name, 0) and not each.loses_request(name, 1)
    )
    world = World(tmp_path, faults)
    with pytest.raises(ConnectionResetError):
        await world.place()
    order = await world.place()
    assert world.broker.orders() == [order]
    assert [attempt.outcome for attempt in world.broker.attempts()] == ["request lost", "booked"]


class _Rival(PaperBroker):
    """Another worker places the same order between our look and our submission."""

    async def submit(self, order: OrderRequest) -> Order:
        await super().submit(order)
        return await super().submit(order)


async def test_an_order_that_another_worker_placed_meanwhile_is_the_order(tmp_path: Path) -> None:
    """The broker refuses the duplicate; the one that stands is returned."""
    world = World(tmp_path)
    rival = _Rival(tmp_path / "paper.db", price, lambda: NOW)
    order = await attempt().run(
        Orders(
            rival, Authority(RING, Directory(Path("no-such-file")), floors(), accept_unsigned=False)
        ).place_order,
        place(),
    )
    assert world.broker.orders() == [order]
    assert [attempt.outcome for attempt in world.broker.attempts()] == ["booked", "duplicate"]


async def test_an_attempt_that_was_given_up_places_nothing_any_more(world: World) -> None:
    """Its process was stopped and goes on a minute later, when the agent may have decided otherwise."""
    late = attempt(NOW - timedelta(seconds=60))
    with pytest.raises(TooLateError):
        await late.run(world.orders.place_order, place())
    assert world.broker.orders() == []
    order = await world.place()
    assert await late.run(world.orders.place_order, place()) == order  # to look is never too late


async def test_where_a_clock_is_behind_an_attempt_has_no_more_time_by_it(tmp_path: Path) -> None:
    """By a clock that is days behind, what Temporal has given up would never be too late."""
    asked: list[OrderRequest] = []

    class Broker(PaperBroker):
        async def submit(self, order: OrderRequest) -> Order:
            asked.append(order)
            return await super().submit(order)

    now = datetime.now(UTC)
    orders = Orders(
        Broker(tmp_path / "paper.db", price, lambda: now),
        Authority(RING, Directory(Path("no-such-file")), floors(), accept_unsigned=False),
    )
    await attempt(now + timedelta(days=3)).run(orders.place_order, place())
    [order] = asked
    assert order.not_after is not None
    assert order.not_after < now + timedelta(minutes=2)


class _Contradictory(PaperBroker):
    async def submit(self, order: OrderRequest) -> Order:
        raise DuplicateOrderError("there is one")


async def test_a_broker_that_contradicts_itself_is_asked_again_later(tmp_path: Path) -> None:
    """It says there is an order and shows none: an error worth a retry, never an order made up."""
    odd = _Contradictory(tmp_path / "paper.db", price, lambda: NOW)
    with pytest.raises(DuplicateOrderError):
        await attempt().run(
            Orders(
                odd, Authority(RING, Directory(Path("no-such-file")), floors(), accept_unsigned=False)
            ).place_order,
            place(),
        )


async def test_an_order_is_found_and_cancelled_by_its_key(world: World) -> None:
    """Under a key that placed nothing there is nothing."""
    key = authorized().key
    run = ActivityEnvironment().run
    assert (await run(world.orders.find_order, FindOrder(key=key))).order is None
    order = await world.place()
    assert (await run(world.orders.find_order, FindOrder(key=key))).order == order
    assert (await run(world.orders.cancel_order, CancelOrder(key=key))).order == order  # it was filled
    assert (await run(world.orders.cancel_order, CancelOrder(key="other"))).order is None


async def test_the_market_is_told_for_a_moment(world: World) -> None:
    """Open at noon in New York, closed four hours later."""
    for hours, is_open in ((0, True), (4, False)):
        asked = MarketRequest(at=NOW + timedelta(hours=hours))
        assert (await ActivityEnvironment().run(world.orders.market, asked)).open is is_open


@given(st.text(), st.text())
def test_the_name_of_an_order_follows_from_its_key(key: str, other: str) -> None:
    """Short enough for any broker, plain characters, and another for another key."""
    name = client_order_id(key)
    assert name == client_order_id(key)
    assert len(name) <= 48
    assert name.replace("-", "").isalnum()
    assert (name == client_order_id(other)) is (key == other)


@pytest.mark.parametrize(
    ("given_", "share"), [("1%", "0.01"), (" 2.5 % ", "0.025"), ("0.01", "0.01"), (0, "0"), ("0%", "0")]
)
def test_a_tolerance_is_a_share_or_a_percentage(given_: object, share: str) -> None:
    """Both ways of writing it mean the same."""
    taken = BuyerInput.model_validate({"symbol": "AAA", "quantity": "1", "limit": "10", "tolerance": given_})
    assert taken.tolerance == Decimal(share)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tolerance": "1"},
        {"tolerance": "100%"},
        {"tolerance": "-1%"},
        {"tolerance": "x%"},
        {"tolerance": "nan%"},
        {"quantity": "0"},
        {"quantity": "nan"},
        {"limit": "-3"},
        {"limit": "Infinity"},
        {"limit": "1e30"},
        {"symbol": "../../x"},
        {"symbol": ""},
        {"quorum": 0},
        {"patience": "PT0S"},
    ],
)
def test_an_input_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    """Before an agent is started on it."""
    good = {"symbol": "AAA", "quantity": "1", "limit": "10"}
    with pytest.raises(ValidationError):
        BuyerInput.model_validate({**good, **wrong})


def test_money_crosses_doors_as_text() -> None:
    """Digit by digit, so that a digest is the same on both sides."""
    plan = PLAN.model_copy(update={"limit": Decimal("11.10")})
    assert '"limit":"11.10"' in plan.model_dump_json()
    assert digest(BuyPlan.model_validate_json(plan.model_dump_json())) == digest(plan)

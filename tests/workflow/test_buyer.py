"""The buyer on the real server, with real prices and the paper broker: what it buys, and what never."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from activities.delivery.notices import Notices
from activities.documents.documents import Documents
from activities.documents.extract import text_of
from activities.llm.activities import ModelActivities
from activities.llm.runner import ModelRunner
from activities.quotes.csv_feed import CsvFeed, seek_replay
from activities.quotes.quotes import Quotes
from activities.trading.broker import MarketState, OrderRequest
from activities.trading.orders import Orders, client_order_id
from activities.trading.paper import PaperBroker
from activities.trading.paper_faults import Faults
from common.agents.buyer import BuyerInput, BuyerResult, Order, Side, TimeInForce
from common.approval.floors import policy_file
from common.approval.types import ApprovalsView, Verdict
from common.artifacts import ArtifactStore
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.stage import OWNER, Stage
from tests.support.trading.real_prices import real_closes
from workflows.buyer import Buyer
from workflows.core.final_check import Action

FIRST, NEXT = datetime(2008, 11, 21, tzinfo=UTC), datetime(2008, 11, 24, tzinfo=UTC)


class Exchange(PaperBroker):
    """The paper broker, with what only these tests need."""

    open = True
    late: OrderRequest | None = None
    # Called as a request is held back.
    holds_back: Callable[[], None] | None = None

    async def submit(self, order: OrderRequest) -> Order:
        if self.holds_back:
            # The request is on its way still while the connection breaks.
            self.holds_back()
            self.holds_back, self.late = None, order
            raise ConnectionResetError("the connection broke")
        return await super().submit(order)

    async def arrive(self) -> None:
        """The request that was held back reaches the broker."""
        assert self.late is not None
        await super().submit(self.late)

    async def market_open(self, at: datetime | None = None) -> MarketState:
        now = datetime.now(UTC)
        return MarketState(open=self.open, next_open=now + timedelta(hours=9), next_close=None)


class Floor(Stage):
    """A stage with a market."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.__dict__.update(stage.__dict__)
        self.agents = [Buyer]
        self._state = folder / "quotes.db"
        self.feed = CsvFeed(real_closes(), self._state, speed=0, clock=lambda: datetime.now(UTC))
        self.seek_replay(FIRST)
        self.broker = self.exchange(folder)
        self.folder = folder

    def exchange(self, folder: Path, **options: Any) -> Exchange:
        clock = lambda: datetime.now(UTC)  # noqa: E731
        return Exchange(folder / "paper.db", self.feed.quote, clock, hours=None, **options)

    def seek_replay(self, day: datetime) -> None:
        """Have the prices of that day."""
        seek_replay(self._state, day, datetime.now(UTC))

    def objects(self) -> list[Any]:
        artifacts = ArtifactStore.of(self.settings)
        mine = [
            Quotes(self.feed),
            Orders(self.broker, self.authority),
            Documents(artifacts, text_of),
            ModelActivities(ModelRunner(self.settings, artifacts), self.authority),
        ]
        return [*super().objects(), *mine]

    async def buy(self, **wanted: Any) -> WorkflowHandle[Any, Any]:
        fields = {"symbol": "BAC", "quantity": "100", "limit": "12", "approvers": ["ann"], **wanted}
        return await self.start(BuyerInput.model_validate(fields), "buyer")

    async def outcome(self, agent: WorkflowHandle[Any, Any]) -> BuyerResult:
        async with asyncio.timeout(120):
            return BuyerResult.model_validate(await agent.result())


@pytest.fixture
async def floor(settings: Settings, tmp_path: Path) -> AsyncIterator[Floor]:
    floor = Floor(Stage(await connect(settings), settings), tmp_path)
    await floor.work()
    try:
        yield floor
        await floor.replay_all()
    finally:
        await floor.rest()


async def test_what_was_approved_at_one_price_is_not_bought_at_another(floor: Floor) -> None:
    """Bank of America was approved at 9.231 and stood at 11.741 by the next session: nothing is bought."""
    agent = await floor.buy(on_drift="stop")
    request = await floor.asked(agent)
    assert request.plan["quote"]["price"] == "9.231"
    floor.seek_replay(NEXT)
    await floor.decide(agent, request)
    result = await floor.outcome(agent)
    assert (result.outcome, result.filled) == ("drifted", 0)
    assert result.reason == "price: 9.231 has become 11.741"
    assert floor.broker.orders() == []
    assert floor.broker.attempts() == []


async def test_after_a_drift_it_asks_again_with_old_and_new_side_by_side(floor: Floor) -> None:
    """The old word is void; a new one, at the new price, buys."""
    agent = await floor.buy()
    first = await floor.asked(agent)
    floor.seek_replay(NEXT)
    await floor.decide(agent, first)
    second = await floor.asked(agent, after=first.id)
    assert second.plan["quote"]["price"] == "11.741"
    assert second.evidence == ("price: 9.231 has become 11.741",)
    assert floor.broker.orders() == []
    assert floor.notices.events(agent.id) == ["asked", "drift", "asked"]
    late = await floor.decide(agent, first)
    assert "void" in (await floor.fate(agent, late.id)).reason
    await floor.decide(agent, second)
    result = await floor.outcome(agent)
    assert (result.outcome, result.filled, result.average_price) == ("bought", 100, Decimal("11.741"))


async def test_it_orders_at_no_more_than_the_price_just_validated(floor: Floor) -> None:
    """The plan allows 12, the price is 9.231: that is the limit of the order, and what it costs."""
    agent = await floor.buy()
    await floor.decide(agent, await floor.asked(agent))
    result = await floor.outcome(agent)
    [order] = floor.broker.orders()
    assert (order.limit_price, order.quantity, order.side) == (Decimal("9.231"), 100, "buy")
    assert (result.outcome, result.spent) == ("bought", Decimal("923.1"))
    assert result.client_order_id == order.client_order_id


async def test_a_price_within_the_tolerance_and_over_the_limit_buys_nothing(floor: Floor) -> None:
    """The tolerance is no leave to pay more than the limit."""
    agent = await floor.buy(limit="10", tolerance="50%", on_drift="stop")
    request = await floor.asked(agent)
    floor.seek_replay(NEXT)
    await floor.decide(agent, request)
    result = await floor.outcome(agent)
    assert (result.outcome, result.reason) == ("drifted", "price within the limit: yes has become no")
    assert floor.broker.attempts() == []


async def test_the_case_quotes_the_documents_and_a_changed_document_voids_the_word(floor: Floor) -> None:
    """What was read is what the plan rests on."""
    documents = floor.folder / "documents"
    documents.mkdir()
    page = documents / "results.html"
    page.write_text("<h1>Results</h1><p>The outlook for earnings is weak, and credit risk has risen.</p>")
    agent = await floor.buy(documents=str(documents))
    first = await floor.asked(agent)
    assert "The outlook for earnings is weak, and credit risk has risen." in first.plan["case"]
    assert first.plan["model"] == "offline"
    page.write_text("<h1>Results</h1><p>The outlook for earnings is bright, and credit risk is low.</p>")
    await floor.decide(agent, first)
    second = await floor.asked(agent, after=first.id)
    assert second.evidence[0].startswith("documents: ")
    assert "bright" in second.plan["case"]
    assert floor.broker.orders() == []
    await floor.decide(agent, second)
    assert (await floor.outcome(agent)).outcome == "bought"


async def test_approvers_may_edit_quantity_and_limit(floor: Floor) -> None:
    """And nothing else; the order is the edited one."""
    agent = await floor.buy(limit="5")
    request = await floor.asked(agent)
    assert "the price is over the limit" in request.evidence[0]
    refused = await floor.decide(agent, request, Verdict.REVISE, edits={"symbol": "AAPL"})
    assert "symbol may not be edited" in (await floor.fate(agent, refused.id)).reason
    wrong = await floor.decide(agent, request, Verdict.REVISE, edits={"quantity": "-1"})
    assert "do not fit the plan" in (await floor.fate(agent, wrong.id)).reason
    await floor.decide(agent, request, Verdict.REVISE, edits={"quantity": "7", "limit": "10"})
    result = await floor.outcome(agent)
    assert (result.outcome, result.filled, result.limit) == ("bought", 7, 10)


async def test_an_order_whose_acknowledgement_was_lost_is_found_and_not_sent_again(floor: Floor) -> None:
    """The broker had booked it; the buyer asks for it by its id."""
    floor.broker = floor.exchange(floor.folder, faults=Faults(lost_acknowledgements=1.0))
    await floor.rest()
    await floor.work()
    agent = await floor.buy()
    await floor.decide(agent, await floor.asked(agent))
    assert (await floor.outcome(agent)).outcome == "bought"
    assert [each.outcome for each in floor.broker.attempts()] == ["booked, unheard"]
    assert await noted_in(floor, agent, "outcome unknown")


async def test_an_order_that_lands_late_is_found_though_the_price_has_moved_meanwhile(floor: Floor) -> None:
    """A drift after an unknown outcome is believed only once the first attempt can have no effect."""
    floor.broker.holds_back = lambda: floor.seek_replay(NEXT)
    agent = await floor.buy()
    request = await floor.asked(agent)
    await floor.decide(agent, request)
    await eventually(lambda: noted_in(floor, agent, "outcome unknown"))

    async def settling() -> bool:
        """The next validation has seen the drift, and it waits."""
        timers = [
            event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
            async for event in agent.fetch_history_events()
        ]
        return Action.settles in timers

    await eventually(settling)
    floor.seek_replay(FIRST)
    await floor.broker.arrive()
    floor.seek_replay(NEXT)
    await floor.skipper.fast_forward(agent, timedelta(seconds=61))
    result = await floor.outcome(agent)
    assert (result.outcome, result.average_price) == ("bought", Decimal("9.231"))
    assert len(floor.broker.orders()) == 1
    assert not (await floor.query(agent, "approvals", ApprovalsView)).open


async def test_an_order_of_a_forgotten_life_is_found_though_the_price_has_moved(floor: Floor) -> None:
    """As after the server was restored from a copy in which nobody had decided yet."""
    agent = await floor.buy(on_drift="stop")
    request = await floor.asked(agent)
    key = f"{agent.id}:buy:{request.digest}"
    await floor.broker.submit(
        OrderRequest(
            client_order_id=client_order_id(key),
            symbol="BAC",
            side=Side.BUY,
            quantity=Decimal(100),
            limit_price=Decimal("9.231"),
            time_in_force=TimeInForce.DAY,
        )
    )
    floor.seek_replay(NEXT)
    await floor.decide(agent, request)
    result = await floor.outcome(agent)
    assert (result.outcome, result.filled, result.average_price) == ("bought", 100, Decimal("9.231"))
    assert [each.client_order_id for each in floor.broker.orders()] == [client_order_id(key)]


async def test_a_partly_filled_order_is_followed_and_its_rest_cancelled_after_a_while(
    floor: Floor,
) -> None:
    """Ten at every look; past the patience the open rest is withdrawn."""
    floor.broker = floor.exchange(floor.folder, liquidity=Decimal(10))
    await floor.rest()
    await floor.work()
    agent = await floor.buy(patience="PT1H", time_in_force="gtc")
    await floor.decide(agent, await floor.asked(agent))
    await eventually(lambda: noted_in(floor, agent, "partly_filled"))
    floor.seek_replay(NEXT)  # past its limit: no more is filled
    await floor.skipper.fast_forward(agent, timedelta(minutes=65))
    result = await floor.outcome(agent)
    [order] = floor.broker.orders()
    assert (result.outcome, order.state) == ("partly_bought", "cancelled")
    assert 0 < result.filled < 100
    assert result.filled == order.filled


async def test_an_order_that_the_broker_refuses_is_reported_with_its_reason(floor: Floor) -> None:
    """The paper account holds a million."""
    agent = await floor.buy(quantity="1000000")
    await floor.decide(agent, await floor.asked(agent))
    result = await floor.outcome(agent)
    assert (result.outcome, result.order_state, result.reason) == ("refused", "rejected", "not enough cash")


async def test_it_waits_for_the_market_before_it_looks_at_the_facts_again(floor: Floor) -> None:
    """Facts that were fetched while the market was closed would be old by the time of the order."""
    floor.broker.open = False
    agent = await floor.buy()
    await floor.decide(agent, await floor.asked(agent))

    async def waits() -> bool:
        return (await floor.status(agent)).waiting_for == "the market to open"

    await eventually(waits)
    assert floor.broker.attempts() == []
    floor.broker.open = True
    await agent.signal("wake")
    assert (await floor.outcome(agent)).outcome == "bought"


async def test_a_cancelled_buyer_leaves_no_open_order_behind(floor: Floor) -> None:
    """What is bought stays bought; the rest is withdrawn."""
    floor.broker = floor.exchange(floor.folder, liquidity=Decimal(10))
    await floor.rest()
    await floor.work()
    agent = await floor.buy(time_in_force="gtc")
    await floor.decide(agent, await floor.asked(agent))
    await eventually(lambda: noted_in(floor, agent, "partly_filled"))
    await agent.cancel()
    with pytest.raises(WorkflowFailureError):
        await agent.result()
    [order] = floor.broker.orders()
    assert order.state == "cancelled"
    assert await noted_in(floor, agent, "withdrawn: cancelled")


async def test_without_named_approvers_the_owner_decides_about_their_own_money(floor: Floor) -> None:
    """Whoever names approvers wants other eyes; then the owner may not."""
    agent = await floor.buy(approvers=[])
    await floor.decide(agent, await floor.asked(agent), by=OWNER)
    assert (await floor.outcome(agent)).outcome == "bought"
    agent = await floor.buy(approvers=[OWNER, "ann"])
    own = await floor.decide(agent, await floor.asked(agent), by=OWNER)
    assert "may not approve" in (await floor.fate(agent, own.id)).reason
    await floor.decide(agent, await floor.asked(agent), Verdict.REJECT)
    assert (await floor.outcome(agent)).outcome == "not_approved"


async def noted_in(floor: Floor, agent: WorkflowHandle[Any, Any], text: str) -> bool:
    return any(text in note for note in await floor.notes(agent))


async def test_no_start_decision_or_edit_gets_under_the_operators_policy(floor: Floor) -> None:
    """Started past our entry points by one who would approve alone; others are asked, and asked again."""
    data = floor.settings.data_dir
    (data / "groups.json").write_text('{"treasury": ["ann", "bob"]}')
    rule = {"kind": "buyer", "approvers": ["@treasury"], "quorum": 2, "largest_order": 1200}
    policy_file(floor.settings).write_text(json.dumps({"rules": [rule]}))
    await floor.rest()
    floor.notices = Notices(floors=floor.authority.floors)  # type: ignore[assignment]
    await floor.work()
    floor.broker.open = False
    over = await floor.asked(await floor.buy(approvers=["ann"], quantity=200))
    assert "allows no order over 1200" in over.evidence[-1]
    agent = await floor.buy(approvers=[OWNER])
    request = await floor.asked(agent)
    assert (request.deciders, request.policy.quorum) == (("@treasury",), 2)
    assert "the operator's policy asks for 2 approvals of: @treasury" in request.floor
    for by, edits, told in (
        (OWNER, {}, "not among those"),
        ("ann", {"quantity": 200}, "allows no order over 1200, and this one is 2400"),
    ):
        verdict = Verdict.REVISE if edits else Verdict.APPROVE
        refused = await floor.decide(agent, request, verdict, by=by, edits=edits)
        assert told in (await floor.fate(agent, refused.id)).reason
    for by in ("ann", "bob"):
        await floor.decide(agent, request, by=by)

    async def waits() -> bool:
        return (await floor.status(agent)).waiting_for == "the market to open"

    await eventually(waits)
    # The policy has become another one while the approved order waits for the market.
    rule = {"kind": "buyer", "approvers": ["cat"], "largest_order": "any"}
    policy_file(floor.settings).write_text(json.dumps({"rules": [rule]}))
    floor.broker.open = True
    await agent.signal("wake")
    again = await floor.asked(agent, after=request.id)
    assert (again.deciders, again.policy.quorum) == (("cat",), 1)
    assert "asks for more: ann is not among those" in again.evidence[0]
    assert floor.broker.attempts() == []
    await floor.decide(agent, again, by="cat")
    assert (await floor.outcome(agent)).outcome == "bought"
    assert len(floor.broker.orders()) == 1


async def test_it_waits_until_the_price_is_within_the_limit_and_asks_then(floor: Floor) -> None:
    """Nobody is asked about a price that may not be bought; asleep meanwhile, it looks again by itself."""
    floor.seek_replay(NEXT)
    agent = await floor.buy(limit="10", when="within-limit")
    await eventually(lambda: waits_for(floor, agent, "a price of 10 or less"))
    assert not (await floor.query(agent, "approvals", ApprovalsView)).open
    await floor.skipper.fast_forward(agent, timedelta(minutes=16))
    await eventually(lambda: waits_for(floor, agent, "a price of 10 or less"))
    floor.seek_replay(FIRST)
    await floor.skipper.fast_forward(agent, timedelta(minutes=16))
    request = await floor.asked(agent)
    assert (request.plan["quote"]["price"], request.evidence) == ("9.231", ())
    # It leaves the limit before the answer: nothing is bought, and it waits again instead of asking.
    floor.seek_replay(NEXT)
    await floor.decide(agent, request)
    await eventually(lambda: waits_for(floor, agent, "a price of 10 or less"))
    assert floor.broker.attempts() == []
    floor.seek_replay(FIRST)
    await agent.signal("wake")
    await floor.decide(agent, await floor.asked(agent, after=request.id))
    assert (await floor.outcome(agent)).outcome == "bought"


async def test_a_price_that_never_comes_ends_it_with_nothing_bought(floor: Floor) -> None:
    """After `wait_for`, with the newest price in the reason; while the market is closed it looks at none."""
    floor.seek_replay(NEXT)
    floor.broker.open = False
    agent = await floor.buy(limit="10", when="within-limit", wait_for="1h", look_every="1h")
    await eventually(lambda: waits_for(floor, agent, "a price of 10 or less"))
    floor.broker.open = True
    await floor.skipper.fast_forward(agent, timedelta(hours=2))
    result = await floor.outcome(agent)
    assert (result.outcome, result.filled) == ("not_reached", 0)
    assert result.reason == "the price was not at or under 10 within 1:00:00; 11.741 at the last look"
    assert floor.broker.attempts() == []


async def waits_for(floor: Floor, agent: WorkflowHandle[Any, Any], text: str) -> bool:
    return (await floor.status(agent)).waiting_for == text

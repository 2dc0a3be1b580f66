"""Forks on a real server, with payloads encrypted: where they go on from, and what of theirs is held."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError

from activities.delivery.notices import Notices
from activities.quotes.quotes import Quotes
from activities.trading.orders import Orders
from activities.trading.paper import PaperBroker
from cli.dev_server import DevServer
from cli.forking import fork
from cli.output import CommandError
from common.agents.agent import AgentInput
from common.agents.buyer import BuyerInput, BuyerResult
from common.agents.fork import Fork
from common.agents.kinds import KINDS, Kind
from common.approval.types import ApprovalsView
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.view import AgentView
from common.quotes import Quote
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all
from testing.waiting import eventually
from tests.support.agents.promise import PromiseAgent
from tests.support.agents.promise_input import Promised, PromiseInput
from tests.support.archive.stage import ArchiveStage, closed
from tests.support.limits import QUICK_DELETION, QUICK_TASKS, short_histories
from tests.support.stage import OWNER, state_is
from workflows.buyer import Buyer


class Market:
    """One price, and another one at the broker where that is said."""

    price = Decimal(10)
    at_the_broker: Decimal | None = None

    async def quote(self, symbol: str) -> Quote:
        return Quote(symbol=symbol, price=self.price, at=datetime.now(UTC), source="a test")

    async def fill(self, symbol: str) -> Quote:
        price = self.at_the_broker or self.price
        return (await self.quote(symbol)).model_copy(update={"price": price})


class Floor(ArchiveStage):
    """A stage with buyers, a market, a book and an archivist."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.agents = [*self.agents, Buyer, PromiseAgent]
        self.market = Market()
        book = self.settings.data_dir / "paper.db"
        self.broker = PaperBroker(book, self.market.fill, lambda: datetime.now(UTC), hours=None)

    def objects(self) -> list[Any]:
        rest = [each for each in super().objects() if each is not self.notices]
        return [*rest, Notices(), Quotes(self.market), Orders(self.broker, self.authority)]

    async def buyer(self, **more: Any) -> WorkflowHandle[Any, Any]:
        fields = {"symbol": "AAA", "quantity": "5", "limit": "11", "approvers": ["ann"], **more}
        return await self.start(BuyerInput.model_validate(fields), "buyer")

    async def fork(
        self, original: WorkflowHandle[Any, Any], at: str, *words: str, effects: bool = False
    ) -> WorkflowHandle[Any, Any]:
        """A fork, as the command line starts it."""
        id = f"fork-{secrets.token_hex(4)}"
        await fork(self.settings, original.id, at, words, id, OWNER, effects=effects, as_json=False)
        handle = self.client.get_workflow_handle(id)
        self.handles.append(handle)
        return handle

    async def bought(self, handle: WorkflowHandle[Any, Any]) -> BuyerResult:
        """What it bought, on its approval."""
        await self.decide(handle, await self.asked(handle))
        return await self.result(handle)

    async def result(self, handle: WorkflowHandle[Any, Any]) -> BuyerResult:
        async with asyncio.timeout(120):
            return BuyerResult.model_validate(await handle.result())

    async def started_with(self, handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
        """The memory that an agent began with."""
        event = await anext(handle.fetch_history_events())
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        context = WorkflowSerializationContext(namespace=self.client.namespace, workflow_id=handle.id)
        [input] = await self.client.data_converter.with_context(context).decode(payloads, [AgentInput])
        assert isinstance(input, AgentInput)
        assert input.carried is not None
        return dict(input.carried.memory or {})

    async def view(self, handle: WorkflowHandle[Any, Any]) -> AgentView:
        return await AgentClient(self.client, self.settings, self.signer).view(handle.id)


@pytest.fixture(scope="module")
async def floor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """One server for all; it suggests fresh histories early."""
    folder = tmp_path_factory.mktemp("forks")
    open_all(folder)
    keys = {"HIBERNAUT_PAYLOAD_KEYS": f"k1:{secrets.token_hex(32)}"}
    settings = Settings.read(
        {"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_TASK_QUEUE": "forks", "HIBERNAUT_UNSIGNED": "refuse"}
        | keys
    )
    limits = QUICK_TASKS | QUICK_DELETION | short_histories(90)
    with pytest.MonkeyPatch.context() as monkeypatch:
        async with DevServer(settings, ui_port=None, limits=limits, scratch=True) as server:
            monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
            floor = Floor(await connect(settings), settings)
            await floor.work()
            try:
                yield floor
            finally:
                await floor.rest()


@pytest.fixture
async def orders(floor: Floor) -> AsyncIterator[Any]:
    """The orders that a test made, by their idempotency keys' names; its histories replay in the end."""
    before, floor.handles = len(floor.broker.orders()), []
    floor.market.price, floor.market.at_the_broker = Decimal(10), None
    yield lambda: floor.broker.orders()[before:]
    await floor.replay_all()


async def failure(handle: WorkflowHandle[Any, Any]) -> str:
    with pytest.raises(WorkflowFailureError) as failed:
        async with asyncio.timeout(120):
            await handle.result()
    cause: BaseException = failed.value
    while deeper := getattr(cause, "cause", None):
        cause = deeper
    return str(cause)


async def follows(floor: Floor, handle: WorkflowHandle[Any, Any]) -> bool:
    return (await floor.status(handle)).waiting_for == "the order to be filled"


async def test_a_fork_asks_for_itself_and_what_its_original_has_not_done_is_refused(
    floor: Floor, orders: Any
) -> None:
    """Forked while it asks: the original takes no note, an approval of one is none of the other."""
    original = await floor.buyer()
    asked = await floor.asked(original)
    length = (await original.describe()).history_length
    held = await floor.fork(original, "approval")
    request = await floor.asked(held)
    assert (request.id, request.digest) == ("approval-1", asked.digest)
    assert request.evidence[0].startswith(
        f"this is a fork of {original.id} at approval: its effects are held"
    )
    shown = await floor.view(held)
    assert shown.fork is not None
    assert shown.fork.words == f"fork of {original.id} at approval, effects held"
    run_id = (await original.describe()).run_id
    notes = await floor.notes(held)
    assert f": fork of {original.id} at approval, effects held, run {run_id}" in notes
    assert "case: done" in notes
    theirs = floor.sign(floor.decision(request), original)
    await held.signal("decide", theirs)
    assert "signed for another agent" in (await floor.fate(held, theirs.id)).reason
    await floor.decide(held, request)
    said = await failure(held)
    assert said.startswith(f"EffectHeld: the effects of this fork are held, and {original.id} has nothing")
    assert f"`starter.py fork {original.id} --at approval --effects` starts one that acts" in said
    assert orders() == []
    assert (await original.describe()).history_length == length
    view = await floor.query(original, "approvals", ApprovalsView)
    assert (list(view.open), view.decisions) == ([asked], [])
    await original.terminate()


async def test_what_its_original_has_done_answers_a_fork(floor: Floor, orders: Any) -> None:
    """One order, whichever of both is asked; also where the price has moved a little in between."""
    original = await floor.buyer()
    await floor.asked(original)
    held = await floor.fork(original, "approval")
    bought = await floor.bought(original)
    floor.market.price = Decimal("10.01")
    answered = await floor.bought(held)
    assert answered.outcome == bought.outcome == "bought"
    assert answered.client_order_id == bought.client_order_id
    assert [order.limit_price for order in orders()] == [10]
    late = await floor.fork(original, "buy")
    assert (await floor.bought(late)).client_order_id == bought.client_order_id
    assert len(orders()) == 1


async def test_a_fork_with_effects_acts_once_on_an_approval_of_its_own(floor: Floor, orders: Any) -> None:
    """Under its own key, and the original still asks; a fork of it, held, is answered from its record."""
    original = await floor.buyer()
    await floor.asked(original)
    acting = await floor.fork(original, "approval", effects=True)
    request = await floor.asked(acting)
    assert request.evidence == (f"this is a fork of {original.id} at approval, which may ask or do the same",)
    bought = await floor.bought(acting)
    [order] = orders()
    assert (bought.outcome, bought.client_order_id) == ("bought", order.client_order_id)
    assert (await floor.status(original)).state == "awaiting_approval"
    twice = await floor.fork(acting, "market")
    assert (await floor.bought(twice)).client_order_id == order.client_order_id
    mine = await floor.bought(original)
    assert mine.client_order_id != order.client_order_id
    assert len(orders()) == 2


async def test_an_approval_that_its_original_keeps_is_none_for_a_fork(
    floor: Floor, orders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where nobody has to sign: the fork finds it void when it would act on it, and asks anew."""
    kind = Kind("promise", "keeps its word", PromiseInput, "tests.support.agents.promise:PromiseAgent")
    monkeypatch.setitem(KINDS, "promise", kind)
    monkeypatch.setattr(floor.authority, "_accept_unsigned", True)
    original = await floor.start(PromiseInput(), "promise")
    await original.signal("decide", floor.decision(await floor.asked(original)))
    await eventually(lambda: state_is(floor, original, "sleeping"))
    await original.signal("wake", None)
    assert Promised.model_validate(await original.result()).decision.startswith("approval-1: approved")
    acting = await floor.fork(original, "act", effects=True)
    assert (await floor.started_with(acting))["answer"]["decision"]["by"] == "ann"
    await eventually(lambda: state_is(floor, acting, "sleeping"))
    await acting.signal("wake", None)
    request = await floor.asked(acting)
    assert (request.id, request.question) == ("approval-2", "Do it?")
    assert request.evidence[1:] == ("approval: it was given to another agent, or too long ago",)
    assert [key.partition(":")[0] for key in floor.world.acted] == [original.id]
    await acting.signal("decide", floor.decision(request))
    await eventually(lambda: state_is(floor, acting, "sleeping"))
    await acting.signal("wake", None)
    assert Promised.model_validate(await acting.result()).decision.startswith("approval-2: approved")
    assert [key.partition(":")[0] for key in floor.world.acted] == [original.id, acting.id]


async def test_a_fork_leaves_the_open_order_of_its_original_alone(floor: Floor, orders: Any) -> None:
    """It sees how that stands; to cancel it is held, and with effects refused, for it is not its own."""
    floor.market.at_the_broker = Decimal(20)
    original = await floor.buyer(patience="9d")
    await floor.decide(original, await floor.asked(original))
    await eventually(lambda: follows(floor, original))
    held = await floor.fork(original, "buy", "patience=1s")
    await floor.decide(held, await floor.asked(held))
    assert (await failure(held)).startswith("EffectHeld: ")
    assert any(note.startswith("follow: failed: EffectHeld") for note in await floor.notes(held))
    acting = await floor.fork(original, "follow", effects=True)
    await acting.cancel()
    assert (await failure(acting)).startswith(f"NotItsOwn: that was begun by {original.id}")
    [order] = orders()
    assert order.state == "accepted"
    await original.terminate()


async def test_another_input_counts_from_the_node_on(
    floor: Floor, orders: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was made of the old one before stays; what does not fit the kind is refused in a line."""
    original = await floor.buyer()
    await floor.asked(original)
    other = await floor.fork(original, "case", "limit=10.5", "quantity=7")
    plan = (await floor.asked(other)).plan
    assert (plan["limit"], plan["quantity"]) == ("10.5", "7")
    same = await floor.fork(original, "approval", "limit=10.5")
    assert (await floor.asked(same)).plan["limit"] == "11"
    with pytest.raises(CommandError, match="buyer has no field 'limits'"):
        await floor.fork(original, "case", "limits=9")
    capsys.readouterr()
    await fork(floor.settings, original.id, "case", (), None, None, effects=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    mark = Fork(of=original.id, run_id=(await original.describe()).run_id or "", node="case")
    assert (told["kind"], told["owner"], told["fork"]) == ("buyer", OWNER, mark.model_dump())
    assert told["id"].startswith(f"{original.id}-fork-")
    last = floor.client.get_workflow_handle(told["id"])
    assert (await floor.view(last)).fork == mark
    assert orders() == []
    for each in (original, other, same, last):
        await each.terminate()


async def test_a_fork_from_any_run_of_a_chain(floor: Floor, orders: Any) -> None:
    """The latest entry, or one that is counted; a node that it never was at is refused with those it was."""
    original = await floor.buyer(when="within-limit", limit="9", look_every="1h")
    first = (await original.describe()).run_id

    async def begun_afresh() -> str | None:
        await original.signal("wake", None)
        run_id = (await original.describe()).run_id
        return run_id if run_id != first else None

    run_id = await eventually(begun_afresh)
    await eventually(lambda: state_is(floor, original, "sleeping"))
    floor.market.price = Decimal(9)
    await original.signal("wake", None)
    await floor.asked(original)
    floor.market.price = Decimal(10)
    early = await floor.fork(original, "wait#1", "limit=11")
    assert (await floor.asked(early)).plan["limit"] == "11"
    late = await floor.fork(original, "wait")
    await eventually(lambda: state_is(floor, late, "sleeping"))
    assert (await floor.view(early)).fork == Fork(of=original.id, run_id=first, node="wait")
    assert (await floor.view(late)).fork == Fork(of=original.id, run_id=run_id, node="wait")
    memories = [await floor.started_with(each) for each in (early, late)]
    assert [memory["wait_until"] is None for memory in memories] == [True, False]
    with pytest.raises(
        CommandError, match=r"has not been at 'buy'; it has been at: .*wait#2, case, approval"
    ):
        await floor.fork(original, "buy")
    with pytest.raises(CommandError, match="has not been at 'case#2'"):
        await floor.fork(original, "case#2")
    with pytest.raises(NoSuchAgentError, match="in Temporal or archived"):
        await fork(floor.settings, "nobody", "case", (), None, OWNER, effects=False, as_json=False)
    for each in (original, early, late):
        await each.terminate()


async def test_an_archived_agent_is_forked_and_its_record_answers(floor: Floor, orders: Any) -> None:
    """From the store, its payloads encrypted as they were."""
    original = await floor.buyer()
    bought = await floor.bought(original)
    await eventually(lambda: closed(original))
    await floor.archive()
    with pytest.raises(RPCError, match="not found"):
        await original.describe()
    floor.handles.remove(original)
    held = await floor.fork(original, "approval")
    assert (await floor.bought(held)).client_order_id == bought.client_order_id
    other = await floor.fork(original, "case", "quantity=6")
    await floor.decide(other, await floor.asked(other))
    assert (await failure(other)).startswith("EffectHeld: ")
    assert len(orders()) == 1

"""The market analyst on the real server, in skipped time: it sleeps, looks, asks, hears, reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from cli.dev_server import DevServer
from common.agents.agent import Receipt, Receipts
from common.approval.types import ApprovalsView, Verdict
from common.settings import Settings
from testing.waiting import eventually
from tests.support import limits
from tests.support.market.stage import MarketStage


@pytest.fixture(scope="module")
async def exchange_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    """A server that suggests a fresh history after ninety events, so that a watch spans several.

    What people tell an agent in a test is answered within one: what it answered does not come along.
    """
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path_factory.mktemp("exchange"))})
    quick = limits.short_histories(90) | limits.QUICK_TASKS | limits.QUICK_TIMERS | limits.AFRESH_AT_ONCE
    async with DevServer(settings, ui_port=None, limits=quick, scratch=True) as server:
        yield server


@pytest.fixture
async def market(
    exchange_server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MarketStage]:
    """A worker of its own, on that server."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", exchange_server.address)
    own = {"HIBERNAUT_DATA_DIR": str(tmp_path / "data"), "HIBERNAUT_TASK_QUEUE": f"queue-{tmp_path.name}"}
    async with MarketStage.open(Settings.read(own)) as stage:
        yield stage


async def tell(market: MarketStage, agent: WorkflowHandle[Any, Any], words: str) -> Receipt:
    """Tell it something, and what it said to that."""
    await agent.signal("tell", args=[words, {"receipt": words}])

    async def find() -> Receipt | None:
        return (await market.query(agent, "receipts", Receipts)).receipts.get(words)

    return await eventually(find)


async def waiting(market: MarketStage, **wanted: Any) -> WorkflowHandle[Any, Any]:
    """An analyst that has looked once and waits for the next price; nobody skips its time yet."""
    agent = await market.watch(skipping=False, every="1h", **wanted)

    async def waits() -> bool:
        return (await market.status(agent)).waiting_for == "the next price"

    await eventually(waits)
    return agent


async def test_it_watches_hour_by_hour_to_the_end_and_reports(market: MarketStage) -> None:
    """Over several fresh histories each hour is looked at once, and all prices are in the report."""
    # It ends with a midnight, twelve hours from now at least.
    agent = await waiting(market, rules="above 1 alert; fall 99% in 1h", **{"for": "36h"})
    await market.skipper.fast_forward(agent)
    result = await market.result(agent)
    assert (result.outcome, result.crossings) == ("watched", 1)
    looks = market.exchange.looks
    assert len(looks) == len(set(looks)) == result.figures.prices
    hours = [at.replace(minute=0, second=0, microsecond=0) for at in looks[1:]]
    assert hours == [hours[0] + timedelta(hours=n) for n in range(len(hours))]
    assert len(await market.runs(agent)) > 1
    assert "</html>" in Path(result.files["html"]).read_text()
    notes = await market.notes(agent)
    assert sum("above 1" in note for note in notes) == 1
    assert not any("woke" in note for note in notes)


async def test_people_steer_it_in_words_and_what_it_does_not_understand_it_says(market: MarketStage) -> None:
    """Longer, another rule, another pace, a report now; the rest is said back, and changes nothing."""
    agent = await waiting(market, rules="above 9000", **{"for": "2d"})
    assert (await tell(market, agent, "for 3 days more")).words.startswith(
        "it watches until the last close by"
    )
    assert (await tell(market, agent, "every 30m")).words == "it looks every 30m, from the next look on"
    added = await tell(market, agent, "add below 6000 alert")
    assert added.words == "it looks out for: above 9000; below 6000 alert"
    changed = await tell(market, agent, "change above 9000 to above 8000 ask")
    assert changed.words == "it looks out for: below 6000 alert; above 8000 ask"
    for words in ("buy low, sell high", "drop above 5", "for 20 years more"):
        refused = await tell(market, agent, words)
        assert not refused.taken
        assert await noted(market, agent, refused.words)
    assert "there is no rule above 5; there are: below 6000; above 8000" in refused_words(
        await tell(market, agent, "drop above 5")
    )
    assert (await tell(market, agent, "report now")).taken
    await eventually(lambda: noted(market, agent, "interim-1.html"))
    assert (await tell(market, agent, "finish now")).taken
    result = await market.result(agent)
    assert result.outcome == "finished_early"
    assert Path(result.files["html"]).name == "report.html"
    assert (Path(result.files["html"]).parent / "interim-1.html").exists()


async def test_a_rule_may_ask_people_and_a_no_ends_the_watch(market: MarketStage) -> None:
    """It goes on looking while they think, over fresh histories; the question stays the same."""
    market.exchange.price = Decimal(4000)
    agent = await waiting(market, rules="above 5000 ask; above 4500 ask; above 4800 alert", **{"for": "9d"})
    market.exchange.price = Decimal(5100)
    await market.skipper.fast_forward(agent, timedelta(hours=1, minutes=5))
    first = await market.asked(agent)
    assert first.question == "above 5000: it stands at 5,100. Go on watching?"
    await market.skipper.fast_forward(agent, timedelta(hours=7))
    assert len(market.exchange.looks) >= 8
    view = await market.query(agent, "approvals", ApprovalsView)
    assert [each.id for each in view.open] == ["watch-1", "watch-2"]
    assert len(await market.runs(agent)) > 1
    await market.decide(agent, view.open[1])
    await market.decide(agent, first, Verdict.REJECT, note="enough")
    result = await market.result(agent)
    assert (result.outcome, result.crossings) == ("finished_early", 3)
    events = market.notices.events(agent.id)
    assert (events.count("alert"), events.count("asked")) == (1, 2)


async def test_with_the_last_close_what_was_asked_is_asked_no_more(market: MarketStage) -> None:
    """Nobody has to answer for a watch that is over."""
    # It ends with a midnight, three hours from now at least.
    agent = await waiting(market, rules="below 6000", **{"for": "27h"})
    await tell(market, agent, "add fall 1% in 1d ask")
    market.exchange.price = Decimal(4500)
    await market.skipper.fast_forward(agent)
    result = await market.result(agent)
    assert result.outcome == "watched"
    assert market.notices.events(agent.id).count("asked") == 1
    assert (await market.query(agent, "approvals", ApprovalsView)).open == []


async def test_an_index_nobody_knows_and_a_calendar_nobody_has_end_it_with_a_clear_line(
    market: MarketStage,
) -> None:
    """At once, and not after a week."""
    for wanted, told in (
        ({"index": "NONE"}, "the exchange has no NONE"),
        ({"calendar": "QQQQ"}, "QQQQ is no calendar of an exchange"),
    ):
        agent = await market.watch(**wanted)
        with pytest.raises(WorkflowFailureError) as caught:
            async with asyncio.timeout(60):
                await agent.result()
        assert told in str(caught.value.cause.cause)  # type: ignore[union-attr]


async def noted(market: MarketStage, agent: WorkflowHandle[Any, Any], text: str) -> bool:
    return any(text in note for note in await market.notes(agent))


def refused_words(receipt: Receipt) -> str:
    assert not receipt.taken
    return receipt.words

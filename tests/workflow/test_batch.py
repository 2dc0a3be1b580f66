"""Batches of activities on the real server: the window, the verdicts, and what changes while they run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from activities.batch import listing, together
from common.agents import batch_queue
from common.agents.batch import BatchItem
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.batching import BatchStage

PAGE = 5


@pytest.fixture
async def batches(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchStage]:
    """A stage with pages of five items."""
    monkeypatch.setattr(listing, "ITEMS_IN_A_PAGE", PAGE)
    stage = BatchStage(await connect(settings), settings)
    async with stage.at_work():
        yield stage


def names(count: int) -> list[str]:
    return [f"item-{number:02}" for number in range(count)]


async def test_every_item_gets_one_verdict_and_never_are_more_in_flight_than_the_width(
    batches: BatchStage,
) -> None:
    """Three pages, the last not full, four at once over all of them."""
    agent = await batches.run(names(13), at_once=4)
    batched, verdicts = await batches.outcome(agent)
    assert sorted(verdicts) == names(13)
    assert {each.verdict for each in verdicts.values()} == {"done"}
    assert verdicts["item-07"].result == {"said": "did item-07"}
    assert sorted(batches.jobs.done) == names(13)
    assert batches.jobs.most <= 4
    assert batched.counts.items == batched.counts.done == 13
    assert len(await batches.pages(agent)) == 3
    attributes = await batches.attributes((await batches.pages(agent))[0])
    assert attributes["AgentBatchId"] == agent.id
    assert (await batches.attributes(agent))["AgentBatchId"] == agent.id


async def test_nothing_waits_for_the_slowest_of_a_page(batches: BatchStage) -> None:
    """While an item of each page hangs, all others are done in the slots that are left."""
    batches.jobs.hold("item-00", "item-05")
    agent = await batches.run(names(20), at_once=3)

    async def the_rest_is_done() -> bool:
        return len(batches.jobs.done) == 18 and batches.jobs.running == {"item-00", "item-05"}

    await eventually(the_rest_is_done)

    async def shown() -> bool:
        standing = await batches.standing(agent)
        return (standing.done, standing.in_flight, standing.waiting) == (18, 2, 0)

    await eventually(shown)
    assert {each.key for each in (await batches.standing(agent)).stuck} == {"item-00", "item-05"}
    batches.jobs.let_go()
    batched, _ = await batches.outcome(agent)
    assert batched.counts.done == 20
    assert batches.jobs.most <= 3


async def test_an_item_named_twice_is_done_once_and_an_empty_batch_ends(batches: BatchStage) -> None:
    """Duplicates are counted apart; a full last page is followed by none that is empty."""
    agent = await batches.run([*names(PAGE), "item-01", "item-03", "item-01"])
    batched, verdicts = await batches.outcome(agent)
    assert (batched.counts.items, batched.counts.duplicates) == (PAGE, 3)
    assert sorted(batches.jobs.done) == sorted(verdicts) == names(PAGE)
    assert len(await batches.pages(agent)) == 1
    empty, _ = await batches.outcome(await batches.run([]))
    assert (empty.counts.items, empty.counts.results) == (0, ())


async def test_what_fails_is_quarantined_and_tried_again_on_command(batches: BatchStage) -> None:
    """The batch goes on; a retry moves the verdict, and none is given twice."""
    batches.jobs.fails = {"item-01", "item-06"}
    batches.jobs.hold("item-11")
    agent = await batches.run(names(12))

    async def only_one_left() -> bool:
        standing = await batches.standing(agent)
        return (standing.done, standing.quarantined, standing.in_flight) == (9, 2, 1)

    await eventually(only_one_left)
    standing = await batches.standing(agent)
    assert {each.key: each.reason for each in standing.set_aside} == {
        "item-01": "Unreadable: item-01 cannot be read",
        "item-06": "Unreadable: item-06 cannot be read",
    }
    batches.jobs.fails = {"item-06"}
    await batches.command(agent, retry=True)

    async def one_is_done_now() -> bool:
        standing = await batches.standing(agent)
        return (standing.done, standing.quarantined, standing.items) == (10, 1, 12)

    await eventually(one_is_done_now)
    batches.jobs.let_go()
    batched, verdicts = await batches.outcome(agent)
    assert (batched.counts.done, batched.counts.quarantined, len(verdicts)) == (11, 1, 12)
    assert verdicts["item-06"].verdict == "quarantined"
    assert batches.jobs.done.count("item-01") == 1


async def test_width_and_more_items_change_while_it_runs(batches: BatchStage) -> None:
    """A wider window begins more at once; what is added is done, unless the batch has it."""
    batches.jobs.hold(*names(9))
    agent = await batches.run(names(9), at_once=2)

    async def running(count: int) -> None:
        async def so_many() -> bool:
            return len(batches.jobs.running) == count

        await eventually(so_many)

    await running(2)
    await batches.command(agent, at_once=7)
    await running(7)
    more = [BatchItem(key=name, argument={"name": name}) for name in ("item-03", "item-20")]
    await batches.command(agent, more=more, at_once=1)

    async def listed() -> bool:
        # The width is told to the page before.
        return (await batches.standing(agent)).duplicates == 1

    await eventually(listed)
    batches.jobs.let_go(*list(batches.jobs.running)[:3])
    await running(4)
    batches.jobs.let_go()
    batched, verdicts = await batches.outcome(agent)
    assert sorted(verdicts) == [*names(9), "item-20"]
    assert (batched.counts.items, batched.counts.duplicates) == (10, 1)
    assert batches.jobs.most == 7


async def test_a_paused_batch_begins_nothing(batches: BatchStage) -> None:
    """What is in flight ends; the rest waits for the agent to be resumed."""
    batches.jobs.hold(*names(3))
    agent = await batches.run(names(12), at_once=3)

    async def three_run() -> bool:
        return len(batches.jobs.running) == 3

    await eventually(three_run)
    await agent.signal("pause")

    async def width_is_zero() -> bool:
        [page] = await batches.pages(agent)
        return "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED" in await batches.events(page)

    await eventually(width_is_zero)
    batches.jobs.let_go()

    async def all_ended() -> bool:
        return len(batches.jobs.done) == 3 and not batches.jobs.running

    await eventually(all_ended)
    status = await batches.status(agent)
    assert status.state == "paused"
    assert status.batch
    assert status.batch.eta is None
    assert len(batches.jobs.done) == 3
    await agent.signal("resume")
    batched, _ = await batches.outcome(agent)
    assert batched.counts.done == 12


async def test_a_cancelled_agent_cancels_its_pages_and_what_is_in_flight(batches: BatchStage) -> None:
    """Nothing of the batch goes on behind it."""
    batches.jobs.hold("item-00", "item-01")
    agent = await batches.run(names(8), at_once=2)

    async def two_run() -> bool:
        return len(batches.jobs.running) == 2

    await eventually(two_run)
    await agent.cancel()

    async def both_cancelled() -> bool:
        return sorted(batches.jobs.cancelled) == ["item-00", "item-01"]

    await eventually(both_cancelled)
    [page] = await batches.pages(agent)

    async def page_ended() -> bool:
        return (await page.describe()).status.name == "CANCELED"

    await eventually(page_ended)
    assert batches.jobs.done == []


async def test_a_page_that_is_terminated_leaves_its_rest_to_a_retry(batches: BatchStage) -> None:
    """Its verdicts are kept, the rest is set aside with the reason, and the batch comes to its end."""
    batches.jobs.hold("item-02", "item-03")
    agent = await batches.run(names(PAGE), at_once=2)

    async def two_done() -> bool:
        return len(batches.jobs.done) == 2 and batches.jobs.running == {"item-02", "item-03"}

    await eventually(two_done)
    [page] = await batches.pages(agent)
    await page.terminate("from outside")
    # Telling it something is how the agent hears at once; else it looks within the hour.
    await batches.command(agent, at_once=1)
    batched, verdicts = await batches.outcome(agent)
    assert (batched.counts.done, batched.counts.quarantined) == (2, 3)
    assert verdicts["item-04"].reason == "its page of the batch ended before it: terminated"
    batches.jobs.let_go()


async def test_a_call_gets_several_small_items_and_hands_back_those_it_does_not_come_to(
    batches: BatchStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fails for good, one at first: each item has its own verdict, and is done once."""
    monkeypatch.setattr(listing, "ITEMS_IN_A_PAGE", 30)
    # However slow the machine is, more than one is handed out.
    monkeypatch.setattr(batch_queue, "MOMENT", timedelta(hours=1))
    batches.jobs.fails, batches.jobs.stumbles = {"item-07"}, {"item-00", "item-19"}
    agent = await batches.run(names(30), at_once=2, together=4)
    batched, verdicts = await batches.outcome(agent)
    assert sorted(verdicts) == names(30)
    assert (batched.counts.done, batched.counts.quarantined) == (29, 1)
    assert verdicts["item-07"].reason == "Unreadable: item-07 cannot be read"
    assert verdicts["item-07"].result == {"name": "item-07"}
    assert sorted(batches.jobs.done) == [each for each in names(30) if each != "item-07"]
    [page] = await batches.pages(agent)
    sizes = [
        len(json.loads(payload.data)["items"])
        async for event in page.fetch_history_events()
        for payload in event.activity_task_scheduled_event_attributes.input.payloads
        if event.activity_task_scheduled_event_attributes.activity_type.name == "jobs"
    ]
    assert max(sizes) == 4
    assert sizes[-1] == 1, "at the end no slot waits behind another"

    # A call comes to the first alone.
    batches.jobs.done.clear()
    monkeypatch.setattr(together, "MOMENT", timedelta(0))
    batched, _ = await batches.outcome(await batches.run(names(6), at_once=1, together=3))
    assert batched.counts.done == 6
    assert batches.jobs.done == names(6)


async def test_a_report_at_any_moment_has_every_verdict_so_far(batches: BatchStage) -> None:
    """In the end it is the whole."""
    agent = await batches.run(names(7), reports=True)
    batched, verdicts = await batches.outcome(agent)
    assert batched.so_far
    assert batched.so_far.count == 7
    assert batches.verdicts([batched.so_far.results]) == verdicts


async def test_a_page_whose_agent_has_ended_begins_nothing_more(batches: BatchStage) -> None:
    """What is in flight ends, and the rest is set aside; nothing goes on without anybody who wants it."""
    batches.jobs.hold(*names(4))
    agent = await batches.run(names(PAGE), at_once=2)

    async def running(*wanted: str) -> None:
        async def are() -> bool:
            return batches.jobs.running == set(wanted)

        await eventually(are)

    await running("item-00", "item-01")
    [page] = await batches.pages(agent)

    async def has(event: str) -> bool:
        return f"EVENT_TYPE_{event}" in await batches.events(page)

    # Its first report has come.
    await eventually(lambda: has("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED"))
    await agent.terminate("from outside")
    batches.jobs.let_go("item-00")
    await running("item-01", "item-02")
    await eventually(lambda: has("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED"))
    batches.jobs.let_go()
    report = await page.result()
    assert (report["done"], report["quarantined"]) == (3, 2)
    assert sorted(batches.jobs.done) == names(3)

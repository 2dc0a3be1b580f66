"""A batch in a real browser: its page lives, its items have pages, and its questions are decided together."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError

from cli.dev_server import DevServer
from gateway.routes import question_pages
from tests.support.batch_world import BatchWorld, open_batches
from tests.support.browser import Pages, chromium, comes, require_accessible


@pytest.fixture
async def batches(server: DevServer, tmp_path: Path) -> AsyncIterator[tuple[BatchWorld, Pages]]:
    """A browser on a gateway over batches; skipped by name where there is no chromium."""
    async with chromium() as browser, open_batches(server, tmp_path / "world") as batches:
        yield batches, Pages(batches.world, browser, tmp_path)


async def test_a_batch_and_its_questions(
    batches: tuple[BatchWorld, Pages], shots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide and on a phone: bar and counts come by themselves; one question is left out, none counts twice."""
    monkeypatch.setattr(question_pages, "ASKING", 3)
    world, pages = batches
    endings = {f"q{number}": "asks" for number in range(4)} | {"bad": "fails", "rest": "sleeps"}
    agent = await world.batch("meadow", endings, at_once=9)
    owner = await pages.sign_in("local-owner-1")
    await owner.goto(f"{world.world.address}/ui/agents/{agent.id}")
    await owner.get_by_text("0 of 6 done, 1 quarantined, 5 in flight").wait_for()
    await owner.get_by_text("4 questions wait").wait_for()
    await owner.screenshot(path=shots / "batch.png", full_page=True)
    await require_accessible(owner)

    phone = {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 2}
    ann = await pages.sign_in("local-ann", **phone)
    await ann.get_by_role("link", name="4 questions alike").click()
    await ann.get_by_text("3 questions are on this page").wait_for()
    await ann.screenshot(path=shots / "batch-questions-phone.png", full_page=True)
    await require_accessible(ann)
    boxes = ann.get_by_role("checkbox")
    assert await boxes.count() == 3
    await boxes.nth(1).uncheck()
    # A no without a reason decides nothing, and what was ticked stays so.
    await ann.get_by_role("button", name="Reject all that are ticked").click()
    await ann.get_by_role("alert").get_by_text("Say in the note why not").wait_for()
    pages.complaints.clear()  # the browser logs the 422 above
    assert [await boxes.nth(number).is_checked() for number in range(3)] == [True, False, True]
    await require_accessible(ann)
    # Meanwhile somebody decides one of them by itself.
    first = world.stage.client.get_workflow_handle((await world.asked("meadow"))[0].id)
    decision = await world.stage.decide(first, await world.stage.asked(first))
    await world.stage.fate(first, decision.id)
    await ann.get_by_label("A note").fill("all of them")
    await ann.get_by_role("button", name="Approve all that are ticked").click()
    await ann.get_by_text("1 counted, 1 refused, 1 left out.").wait_for()
    assert await ann.get_by_text("it is not asked any more").count() == 1
    await ann.screenshot(path=shots / "batch-answered-phone.png", full_page=True)
    await require_accessible(ann)
    # The browser sends the form again; it counts no second time.
    await ann.reload()
    await ann.get_by_text("1 counted, 1 refused, 1 left out.").wait_for()

    # The owner's page has followed without a reload.
    await owner.get_by_text("2 of 6 done, 1 quarantined, 3 in flight").wait_for()
    await owner.get_by_text("2 questions wait").wait_for()
    width = await owner.locator("svg.bar rect.done").get_attribute("width")
    assert width == "33.33"
    await owner.get_by_label("So many at once").fill("5")
    await owner.get_by_role("button", name="Change").click()
    await owner.get_by_text("The batch goes on so.").wait_for()
    assert (await world.stage.standing(agent)).at_once == 5
    await owner.get_by_role("link", name="each agent").click()
    await owner.get_by_role("link", name="bad").wait_for()
    await require_accessible(owner)
    await owner.get_by_role("link", name="asking").click()
    await comes(owner.get_by_role("link", name=re.compile("^(bad|q2|rest)$")), owner, 0)
    assert await owner.get_by_role("link", name="q1").count() == 1
    await owner.get_by_role("link", name="each verdict").click()
    await owner.get_by_text("Broken: it did not work out").wait_for()
    await owner.screenshot(path=shots / "batch-verdicts.png", full_page=True)
    await require_accessible(owner)
    await owner.set_viewport_size({"width": 390, "height": 800})
    for path in (f"/ui/agents/{agent.id}", f"/ui/agents/{agent.id}/items", "/ui/agents"):
        await owner.goto(world.world.address + path)
        await owner.screenshot(path=shots / f"batch-phone-{path.rpartition('/')[2]}.png", full_page=True)
        await require_accessible(owner)
    assert pages.complaints == []
    await agent.cancel()
    with pytest.raises(WorkflowFailureError):
        await agent.result()

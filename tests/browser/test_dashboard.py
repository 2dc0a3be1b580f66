"""The dashboard in a real browser: inbox, agents, one agent live; on a phone, in the dark, by its roles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from common.approval.types import Verdict
from common.temporal.search_attributes import OWNER
from tests.support.browser import Pages, comes, require_accessible


async def test_signing_in_and_out(pages: Pages, shots: Path) -> None:
    """A bad token is told so; a good one gives a cookie that no script can read; signing out ends it."""
    page = await pages.open("/ui/agents")
    await page.get_by_label("Token").fill("guess")
    await page.keyboard.press("Enter")
    await page.get_by_role("alert").wait_for()
    await page.screenshot(path=shots / "sign-in.png")
    await require_accessible(page)
    await page.get_by_label("Token").fill("local-owner")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Inbox").wait_for()
    [cookie] = [each for each in await page.context.cookies() if each["name"] != "zone"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert (await page.evaluate("document.cookie")).startswith("zone=")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", name="Sign in").wait_for()
    await page.goto(pages.world.address + "/ui/agents")
    assert page.url.endswith("/ui/sign-in")
    pages.complaints.clear()  # the browser logs the 401 above


async def test_from_the_inbox_to_a_decision(pages: Pages, shots: Path) -> None:
    """What waits for me, one press to it, one to decide; what became of it is shown."""
    view, request = await pages.asking()
    page = await pages.sign_in("local-approver")
    card = page.get_by_role("link", name=request.question)
    await comes(card, page)
    await page.screenshot(path=shots / "inbox.png", full_page=True)
    await require_accessible(page)
    await card.click()
    await page.get_by_role("heading", name=request.question).wait_for()
    await page.screenshot(path=shots / "agent-asks.png", full_page=True)
    await require_accessible(page)
    await page.get_by_label("A note").fill("from the dashboard")
    await page.get_by_role("button", name="Approve", exact=True).click()
    done = await pages.world.until(view.id, lambda view: not view.running)
    assert done.decisions[-1].decision.through == "web"
    assert done.decisions[-1].decision.by == "approver"
    pages.complaints.clear()  # an approver is shown the agent no more


async def test_an_agent_is_live(pages: Pages, shots: Path) -> None:
    """Lines of its notebook and its state come by themselves, each once."""
    view, _ = await pages.asking("approver")
    page = await pages.sign_in("local-owner")
    await page.goto(f"{pages.world.address}/ui/agents/{view.id}")
    before = await page.locator("#notebook li").count()
    await pages.world.agents.decide(view.id, Verdict.APPROVE, by="approver", through="cli")
    await page.get_by_text("It has ended.").wait_for()
    done = await pages.world.until(view.id, lambda view: not view.running)
    shown = await page.locator("#notebook li .text").all_inner_texts()
    assert before < len(shown)
    await page.locator("#timeline li", has_text="report").wait_for()
    assert shown == [entry.text for entry in done.notebook]
    await page.get_by_role("link", name="Show it").click()
    await page.get_by_role("heading", name="Result").wait_for()
    await page.screenshot(path=shots / "agent-done.png", full_page=True)
    await require_accessible(page)
    assert str(pages.world.settings.data_dir) not in await page.content(), "no path of the server"
    await page.get_by_role("link", name="report.html", exact=True).click()
    await page.get_by_role("heading", level=1).wait_for()
    assert "/files/report.html" in page.url
    await page.go_back()
    await page.goto(pages.world.address + "/ui/agents")
    await page.screenshot(path=shots / "agents.png", full_page=True)
    await require_accessible(page)
    assert pages.complaints == []


async def test_trouble_is_live_too(pages: Pages, shots: Path) -> None:
    """Why an agent does not get on is on its page, with the attempt that it is at now."""
    desk, id = pages.world.desk, "misspelt-3"
    attributes = TypedSearchAttributes([SearchAttributePair(OWNER, "owner")])
    agent = await desk.client.start_workflow(
        "byuer", id=id, task_queue=desk.settings.task_queue, search_attributes=attributes
    )
    page = await pages.sign_in("local-owner")
    await page.goto(f"{pages.world.address}/ui/agents/{id}")
    trouble = page.locator("#trouble")
    await trouble.get_by_text("no worker has the kind byuer").wait_for()
    await page.screenshot(path=shots / "agent-in-trouble.png", full_page=True)
    await require_accessible(page)
    first = await trouble.inner_text()
    await page.wait_for_function(
        "first => !document.getElementById('trouble').innerText.includes(first)", arg=first
    )
    later = await trouble.inner_text()
    assert later == re.sub(r"attempt \d+", re.findall(r"attempt \d+", later)[0], first)
    await agent.terminate("it was misspelt")


async def test_an_owner_steers(pages: Pages, shots: Path) -> None:
    """Words, pause and resume from the page; an operator's page has them, too. A refusal is shown as one."""
    view, _ = await pages.asking()
    page = await pages.sign_in("local-owner")
    address = f"{pages.world.address}/ui/agents/{view.id}"
    await page.goto(address)
    assert await page.get_by_role("button", name="Approve", exact=True).count() == 0
    await page.get_by_label("Tell it something").fill("be careful")
    await page.get_by_role("button", name="Tell").click()
    await page.get_by_text("Told.").wait_for()
    box = page.get_by_label("Tell it something")
    await box.evaluate("field => field.removeAttribute('maxlength')")
    await box.fill("x" * 4001)
    await page.get_by_role("button", name="Tell").click()
    await page.get_by_text("what it is told has 4,001 characters, and an agent takes 4,000").wait_for()
    assert await page.get_by_text("Told.").count() == 0
    pages.complaints.clear()  # the browser logs the 409 above
    await page.screenshot(path=shots / "steer-refused.png", full_page=True)
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_text("It pauses before its next step.").wait_for()
    await pages.world.until(view.id, lambda view: view.state == "paused")
    other = await pages.sign_in("local-operator")
    await other.goto(address)
    await other.get_by_role("button", name="Resume").click()
    await pages.world.until(view.id, lambda view: view.state == "awaiting_approval")
    notes = [entry.text for entry in (await pages.world.agents.view(view.id)).notebook]
    assert any("be careful" in note for note in notes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_by_day_and_by_night(pages: Pages, shots: Path, scheme: str) -> None:
    """375 px wide: nothing scrolls sideways, buttons can be hit, and all is legible in both schemes."""
    view, request = await pages.asking("approver", "owner")
    phone = {"viewport": {"width": 375, "height": 740}, "color_scheme": scheme, "device_scale_factor": 2}
    page = await pages.open(pages.world.link(view.id, request), **phone)
    button = await page.get_by_role("button", name="Approve", exact=True).bounding_box()
    assert button is not None
    assert button["y"] + button["height"] <= 740, "it is in reach where the page begins"
    assert await page.evaluate("document.documentElement.scrollHeight") > 2 * 740
    await page.get_by_text("Change the plan first").click()
    await page.screenshot(path=shots / f"phone-approve-{scheme}.png", full_page=True)
    await require_accessible(page)
    page = await pages.sign_in("local-owner", **phone)
    await page.goto(f"{pages.world.address}/ui/agents/{view.id}")
    await page.screenshot(path=shots / f"phone-agent-{scheme}.png", full_page=True)
    await require_accessible(page)
    await page.goto(f"{pages.world.address}/ui/agents")
    await page.screenshot(path=shots / f"phone-agents-{scheme}.png", full_page=True)
    await require_accessible(page)
    await pages.world.agents.cancel(view.id)


async def test_the_documentation_is_a_page(pages: Pages, shots: Path) -> None:
    """Every path of the OpenAPI document, and nothing loaded from elsewhere."""
    page = await pages.open("/docs")
    text = await page.locator("main").inner_text()
    paths = (await (await page.request.get(pages.world.address + "/openapi.json")).json())["paths"]
    assert [path for path in paths if path not in text] == []
    await page.screenshot(path=shots / "docs.png")
    await require_accessible(page)
    assert re.findall(r"https?://(?!127\.0\.0\.1)", await page.content()) == []
    assert pages.complaints == []

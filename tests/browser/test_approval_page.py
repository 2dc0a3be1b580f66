"""The page behind an approval link, in a real browser."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.support.browser import Pages


async def test_a_yes_by_link(pages: Pages, shots: Path) -> None:
    """The plan with its diff is shown; one press approves it; the link is used up by that."""
    view, request = await pages.asking()
    link = pages.world.link(view.id, request)
    page = await pages.open(link)
    await page.screenshot(path=shots / "approve.png", full_page=True)
    assert request.question in await page.locator("h1").inner_text()
    assert await page.locator(".diff .removed").count() > 3
    assert "shop/orders.py" in await page.locator(".diff").inner_text()
    await page.get_by_role("link", name="changes.diff", exact=True).click()
    assert "+++ b/shop/orders.py" in await page.locator("body").inner_text()
    await page.go_back()
    await page.get_by_text("Everything in this plan").click()
    assert '"listing": {' in await page.locator(".whole pre").inner_text()
    await page.get_by_label("A note").fill("go ahead")
    await page.get_by_role("button", name="Approve", exact=True).click()
    await page.get_by_role("heading", name="Your decision counts").wait_for()
    await page.screenshot(path=shots / "approved.png", full_page=True)
    done = await pages.world.until(view.id, lambda view: not view.running)
    counted = done.decisions[-1]
    assert (counted.decision.by, counted.decision.through, counted.decision.note) == (
        "approver",
        "email",
        "go ahead",
    )
    assert done.result["files_fixed"] == 3
    again = await pages.open(link)
    await again.get_by_role("heading", name="This was decided").wait_for()
    assert "go ahead" in await again.locator("main").inner_text()
    assert await again.get_by_role("button").count() == 0
    assert pages.complaints == []


async def test_what_the_plan_rests_on_is_fetched_for_the_page(pages: Pages, shots: Path) -> None:
    """Old and new side by side, behind a link and on the dashboard; looking decides nothing."""
    view, request = await pages.asking()
    page = await pages.open(pages.world.link(view.id, request))
    row = page.get_by_role("row", name="files that are not as approved")
    assert [cell.strip() for cell in await row.get_by_role("cell").all_inner_texts()] == [
        "none",
        "none",
        "yes",
    ]
    moved, request = await pages.asking()
    orders = Path(request.plan["root"]) / "shop" / "orders.py"
    orders.write_text(orders.read_text() + "# one line more\n")
    page = await pages.open(pages.world.link(moved.id, request))
    row = page.get_by_role("row", name="files that are not as approved")
    expected = ["none", "shop/orders.py", "no"]
    assert [cell.strip() for cell in await row.get_by_role("cell").all_inner_texts()] == expected
    await page.screenshot(path=shots / "drifted.png", full_page=True)
    mine = await pages.sign_in("local-approver")
    await mine.goto(f"{pages.world.address}/ui/agents/{moved.id}")
    row = mine.get_by_role("row", name="files that are not as approved")
    assert [cell.strip() for cell in await row.get_by_role("cell").all_inner_texts()] == expected
    assert (await pages.world.agents.view(moved.id)).decisions == []
    assert pages.complaints == []


async def test_a_no_needs_a_word(pages: Pages) -> None:
    """Rejecting without a note asks for one, and keeps the page; with one it ends the request."""
    view, request = await pages.asking()
    page = await pages.open(pages.world.link(view.id, request))
    await page.get_by_role("button", name="Reject").click()
    alert = page.get_by_role("alert")
    await alert.wait_for()
    assert "why not" in await alert.inner_text()
    await page.get_by_label("A note").fill("not this week")
    await page.get_by_role("button", name="Reject").click()
    await page.get_by_role("heading", name="Your decision counts").wait_for()
    done = await pages.world.until(view.id, lambda view: not view.running)
    assert "rejected by approver (through email): not this week" in done.result["decision"]
    assert done.result["files_fixed"] == 0


async def test_a_yes_with_changes(pages: Pages) -> None:
    """The fields the policy lets one change are form fields; plain approval is not taken for one."""
    view, request = await pages.asking()
    page = await pages.open(pages.world.link(view.id, request))
    await page.get_by_text("Change the plan first").click()
    await page.get_by_label("Left out").fill("shop/mail.py")
    await page.get_by_role("button", name="Approve", exact=True).click()
    assert "pressed plain" in await page.get_by_role("alert").inner_text()
    await page.get_by_text("Change the plan first").click()
    assert await page.get_by_label("Left out").input_value() == "shop/mail.py"
    await page.get_by_role("button", name="Approve with these changes").click()
    await page.get_by_role("heading", name="Your decision counts").wait_for()
    done = await pages.world.until(view.id, lambda view: not view.running)
    assert done.decisions[-1].decision.edits == {"skip": ["shop/mail.py"]}
    assert done.result["files_fixed"] == 2


async def test_looking_decides_nothing(pages: Pages) -> None:
    """GET and HEAD, with and without a browser, as often as a scanner likes."""
    view, request = await pages.asking()
    link = pages.world.link(view.id, request)
    async with httpx.AsyncClient() as scanner:
        for _ in range(5):
            assert (await scanner.get(link)).status_code == 200
            assert (await scanner.head(link)).status_code == 200
            assert (await scanner.get(link, headers={"Purpose": "prefetch"})).status_code == 200
        assert (await scanner.post(link, data={"verdict": "approve"})).status_code == 403
    page = await pages.open(link)
    await page.reload()
    after = await pages.world.agents.view(view.id)
    assert after.decisions == []
    assert [each.id for each in after.requests] == [request.id]


async def test_the_keyboard_is_enough(pages: Pages) -> None:
    """From the skip link by Tab alone to the note and to the button, each with a visible focus."""
    view, request = await pages.asking()
    page = await pages.open(pages.world.link(view.id, request))
    reached = []
    for _ in range(30):
        await page.keyboard.press("Tab")
        focused = page.locator(":focus")
        outline = await focused.evaluate("element => getComputedStyle(element).outlineStyle")
        name = await focused.evaluate("e => e.getAttribute('name') + ':' + e.textContent.trim().slice(0, 30)")
        reached.append(name)
        assert outline == "solid", name
        if name.startswith("note:"):
            await page.keyboard.type("by keyboard")
        if name == "verdict:Approve":
            await page.keyboard.press("Enter")
            break
    assert "Skip to the content" in reached[0]
    await page.get_by_role("heading", name="Your decision counts").wait_for()
    done = await pages.world.until(view.id, lambda view: not view.running)
    assert done.decisions[-1].decision.note == "by keyboard"

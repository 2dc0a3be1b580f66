"""The page behind a link of a letter, in a real browser, as a candidate without an account sees it."""

from __future__ import annotations

from pathlib import Path

from cli.dev_server import DevServer
from tests.support.browser import chromium
from tests.support.recruiting.letters import open_letters
from tests.support.recruiting.stage import recruiter_input


async def test_a_candidate_answers_without_script_by_the_keyboard_alone(
    server: DevServer, tmp_path: Path, shots: Path
) -> None:
    """One button, nothing from elsewhere; afterwards the link says that the letter was answered."""
    asked: list[str] = []
    async with chromium() as browser, open_letters(server, tmp_path) as letters:
        agent = await letters.sent_out(recruiter_input(1))
        first = await letters.links("c1@example.com", 1)
        context = await browser.new_context(
            java_script_enabled=False, viewport={"width": 390, "height": 700}, color_scheme="dark"
        )
        page = await context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(next(iter(first.values())))
        await page.screenshot(path=shots / "answer.png", full_page=True)
        assert await page.get_by_role("heading", level=1).inner_text() == "Yes, I am interested"
        body = await page.locator("body").inner_text()
        assert "Keeper of tides" in body
        assert "Candidate Nr1" not in body
        await page.keyboard.press("Tab")  # past the link that skips to the content
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Thank you").wait_for()
        await page.screenshot(path=shots / "answered.png", full_page=True)
        await letters.stage_is(agent, "c1", "slots_proposed")
        await page.goto(next(iter(first.values())))
        await page.get_by_role("heading", name="answered already").wait_for()
        proposal = await letters.links("c1@example.com", 2)
        await page.goto(next(iter(proposal.values())))
        await page.screenshot(path=shots / "answer-time.png", full_page=True)
        assert await page.get_by_role("heading", level=1).inner_text() == next(iter(proposal))
        await agent.cancel()
    assert {url.split("/")[2] for url in asked} == {letters.world.address.split("/")[2]}

"""A real browser on the gateway's pages."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from common.agents.auditor import AuditInput
from common.approval.types import ApprovalRequest
from common.client.view import AgentView
from testing.waiting import eventually
from tests.support.gateway.world import GatewayWorld

if TYPE_CHECKING:  # it takes a second to import, in every process that tests run in
    from playwright.async_api import Browser, BrowserContext, Locator, Page

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
# How long anything may take to appear on a page, even on a busy machine.
PATIENCE_MS = 120_000
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# WCAG 2.2: contrast of 4.5 to 1, from computed styles, for every element with its own text.
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const colours = [parse(getComputedStyle(element).color), ground(element)];
    const [a, b] = colours.map(light).sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 60)}`);
  }
  return poor;
}"""
UNLABELLED = """() => [...document.querySelectorAll("input, textarea, select, button, a, progress")]
  .filter((each) => each.type !== "hidden")
  .filter((each) => !(each.labels?.length || each.textContent.trim() || each.getAttribute("aria-label")))
  .map((each) => each.outerHTML.slice(0, 80))"""
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4")].map((each) => Number(each.tagName[1]))"""
VIOLATIONS = """async () => (await axe.run()).violations.flatMap((rule) =>
  rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 120)}`))"""
TARGETS = """() => [...document.querySelectorAll("button")].filter((each) => each.checkVisibility())
  .filter((each) => each.getBoundingClientRect().height < 24).map((each) => each.textContent)"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A real browser; without one the test is skipped by name."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing; Debian's package chromium has it")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        browser.on("context", lambda context: context.set_default_timeout(PATIENCE_MS))
        yield browser
        await browser.close()


async def comes(wanted: Locator, page: Page, count: int = 1) -> None:
    """Wait until it is on the page `count` times, reloading the page: visibility lags a little."""

    async def is_there() -> bool:
        if await wanted.count() != count:
            await page.reload()
        return await wanted.count() == count

    await page.wait_for_load_state()
    await eventually(is_there)


class Pages:
    """A gateway, a browser, and an auditor that asks."""

    def __init__(self, world: GatewayWorld, browser: Browser, folder: Path) -> None:
        self.world = world
        self.browser = browser
        self._folder = folder
        self._count = 0
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    async def open(self, path: str, **options: Any) -> Page:
        """Open a page in its own browser context; console errors are recorded."""
        context = await self.browser.new_context(**options)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(path if "://" in path else self.world.address + path)
        return page

    async def sign_in(self, token: str, **options: Any) -> Page:
        """Sign in with a local token, and open the inbox."""
        page = await self.open("/ui", **options)
        await page.get_by_label("Token").fill(token)
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Inbox").wait_for()
        return page

    async def asking(self, *approvers: str) -> tuple[AgentView, ApprovalRequest]:
        """Start an audit of a flawed shop, and wait until it asks whether to apply its fixes."""
        self._count += 1
        shop = self._folder / f"shop-{self._count}"
        shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
        audit = AuditInput(path=str(shop), apply=True, approvers=list(approvers or ("approver", "@treasury")))
        id = await self.world.agents.start("code-auditor", audit, owner="owner")
        view = await self.world.until(id, lambda view: bool(view.requests))
        return view, view.requests[0]


async def require_accessible(page: Page) -> None:
    """Check landmarks, headings, control names, contrast, target sizes, and no sideways scrolling."""
    await page.wait_for_load_state()  # including styles, which a click does not wait for
    assert await page.get_by_role("main").count() == 1
    assert await page.get_by_role("banner").count() == 1
    assert await page.locator("html[lang]").count() == 1
    levels = await page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert await page.evaluate(UNLABELLED) == []
    for look in (CONTRAST, TARGETS):
        poor = await page.evaluate(look)
        assert poor == [], poor
    wide = await page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0, "the page scrolls sideways"
    ids = await page.evaluate("() => [...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    await page.evaluate(_axe())
    violations = await page.evaluate(VIOLATIONS)
    assert violations == [], violations


@cache
def _axe() -> str:
    """The source of axe-core, which checks for screen readers."""
    return (files("axe_playwright_python") / "axe.min.js").read_text()

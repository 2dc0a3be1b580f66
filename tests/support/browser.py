"""A real browser on the gateway's pages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page

from common.agents.auditor import AuditInput
from common.approval.types import ApprovalRequest
from common.client.view import AgentView
from tests.support.gateway.world import GatewayWorld

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


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
        """A page in a browser of its own; what its console complains of is kept."""
        context = await self.browser.new_context(**options)
        self.contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(path if "://" in path else self.world.address + path)
        return page

    async def sign_in(self, token: str, **options: Any) -> Page:
        """The inbox of whoever the local token stands for."""
        page = await self.open("/ui", **options)
        await page.get_by_label("Token").fill(token)
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Inbox").wait_for()
        return page

    async def asking(self, *approvers: str) -> tuple[AgentView, ApprovalRequest]:
        """An audit of a flawed shop, which asks whether to apply its fixes."""
        self._count += 1
        shop = self._folder / f"shop-{self._count}"
        shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
        audit = AuditInput(path=str(shop), apply=True, approvers=list(approvers or ("approver", "@treasury")))
        id = await self.world.agents.start("code-auditor", audit, owner="owner")
        view = await self.world.until(id, lambda view: bool(view.requests))
        return view, view.requests[0]

"""Takes the pictures of the README: `python docs/take_pictures.py` (needs Debian's chromium).

Starts the embedded stack with its Web UI, has the sample shop audited, and photographs the agent at its
approval and the report at the end.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, async_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from cli.dev_server import DevServer  # noqa: E402 -- the checkout is no installed package
from common.agents.auditor import AuditInput  # noqa: E402
from common.approval.types import Verdict  # noqa: E402
from common.client.view import AgentView  # noqa: E402
from tests.support.stack import Stack, until  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


async def take(folder: Path) -> None:
    """Run the audit and write the pictures."""
    shop = folder / "shop"
    shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
    stack = Stack(folder / "data")
    stack.server = DevServer(stack.settings)
    async with stack, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        page = await browser.new_page(viewport={"width": 1360, "height": 860})
        agents = await stack.agents()
        id = await agents.start("code-auditor", AuditInput(path=str(shop), apply=True), owner="local")

        async def asked() -> AgentView | None:
            view = await agents.view(id)
            return view if view.approval else None

        await until(asked)
        await page.goto(f"{stack.server.ui}/namespaces/default/workflows/{id}")
        await page.get_by_text("User Metadata").click()
        await _photograph(page, "web-ui", wait=4)
        await agents.decide(id, Verdict.APPROVE, by="local", through="cli")

        async def ended() -> AgentView | None:
            view = await agents.view(id)
            return None if view.running else view

        view = await until(ended)
        assert isinstance(view.result, dict)
        await page.goto(f"file://{view.result['report']['html']}")
        await _photograph(page, "report", wait=1)
        await browser.close()


async def _photograph(page: Page, name: str, wait: float) -> None:
    await asyncio.sleep(wait)
    await page.screenshot(path=PICTURES / f"{name}.png")
    print(f"docs/pictures/{name}.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(take(Path(scratch)))

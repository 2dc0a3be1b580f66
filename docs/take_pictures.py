"""Takes the pictures of the documentation: `python docs/take_pictures.py` (needs Debian's chromium).

Starts a stack of its own, has agents of every kind work on small samples, and photographs their pages. With
`--all FOLDER` every page goes there, wide and on a phone, by day and by night, to be looked at; without it
the few that the documentation shows are renewed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402 -- the checkout is no installed package
from common.agents.auditor import AuditInput
from common.agents.researcher import ResearcherInput
from common.approval.link import ApprovalLink
from common.approval.signing import Signer
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.client.tokens import Scope, TokenFile, operator_token
from common.client.view import AgentView
from common.mail import IncomingMail, MailKind
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all
from testing.waiting import eventually
from tests.support import worlds
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.dev import Dev, dev

PICTURES = ROOT / "docs" / "pictures"
# What the documentation shows of all pages, as `page-width-scheme`.
KEPT = {
    "web-ui-wide-light": "web-ui",
    "report-wide-light": "report",
    "auditor-asks-wide-light": "question",
    "buyer-asks-phone-dark": "question-phone",
    "researcher-result-wide-dark": "result",
}
# The agents of the pictures; their folders are named likewise.
IDS = {
    "auditor": "shop", "buyer": "ko-order", "researcher": "tides", "recruiter": "keeper",
    "contracts": "agreements", "batch": "orders", "market": "ko-watch",
}  # fmt: skip
WIDTHS = {"wide": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 780}}
SCHEMES = ("light", "dark")
# Pages of no agent.
PLACES = {
    "sign-in": "/ui/sign-in",
    "inbox": "/ui", "agents": "/ui/agents", "overview": "/ui/overview", "start": "/ui/start",
    "start-form": "/ui/start/recruiter", "search": "/ui/search", "found": "/ui/search?kind=buyer",
    "nothing-found": "/ui/search?node=Nowhere", "search-problems": "/ui/search?since=never",
    "troubled": "/ui/agents?troubled=true", "http": "/docs", "error": "/ui/agents/none",
    "bad-link": "/approve/nothing", "no-letter": "/answer/nothing",
}  # fmt: skip
# Where the whole page is not needed: its first screen.
FIRST_SCREEN = ("web-ui", "report")
UNSTUCK = "document.querySelectorAll('.verdicts').forEach((each) => each.style.position = 'static')"
PATIENCE = 240  # seconds; a watch on the market lasts three minutes


class Camera:
    """A browser that has signed in; it photographs everything into `folder`, or without one what is kept."""

    def __init__(self, browser: Browser, http: str, token: str, folder: Path | None, data: Path) -> None:
        self._browser, self._http, self._token, self._folder = browser, http, token, folder
        self._data = str(data)
        self._pages = dict[tuple[str, str], Page]()
        self.shows_all = folder is not None

    async def sign_in(self) -> None:
        """Open a page for each width and scheme."""
        self._pages = await self._open(self._token)
        for page in self._pages.values():
            await page.get_by_role("heading", name="Inbox").wait_for()

    async def _open(self, token: str) -> dict[tuple[str, str], Page]:
        pages = {}
        for width, size in WIDTHS.items():
            for scheme in SCHEMES:
                page = await self._browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
                await page.goto(f"{self._http}/ui")
                await page.get_by_label("Token").fill(token)
                await page.keyboard.press("Enter")
                await page.wait_for_load_state()
                pages[width, scheme] = page
        return pages

    async def take(
        self, name: str, address: str, prepare: Callable[[Page], Awaitable[None]] | None = None
    ) -> None:
        """Photograph a page in every look that is wanted, and complain of what is amiss."""
        for (width, scheme), page in self._pages.items():
            look = f"{name}-{width}-{scheme}"
            # The Web UI is Temporal's own.
            if look not in KEPT and (self._folder is None or name == "web-ui"):
                continue
            await page.goto(address if "://" in address else self._http + address)
            if prepare:
                await prepare(page)
            if self._data in await page.content():
                print(f"{look} names a path of the data folder")
            beyond = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if beyond > 0 and name not in FIRST_SCREEN:
                print(f"{look} scrolls sideways by {beyond} pixels")
            await self._shoot(look, page, whole=self._folder is not None and name not in FIRST_SCREEN)

    async def _shoot(self, look: str, page: Page, *, whole: bool) -> None:
        file = self._folder / f"{look}.png" if self._folder else PICTURES / f"{KEPT[look]}.png"
        if whole:
            # On a picture of the whole page it would stand somewhere in between.
            await page.evaluate(UNSTUCK)
        await page.screenshot(path=file, full_page=whole)
        with Image.open(file) as image:
            image.convert("RGB").quantize(256).save(file, optimize=True)
        print(f"{file.name}: {file.stat().st_size:,} bytes")

    async def take_as(self, token: str, name: str, address: str = "") -> None:
        """Photograph a page as the holder of another token sees it, or without an address their sign-in."""
        if self._folder is None:
            return
        for look, page in (await self._open(token)).items():
            if address:
                await page.goto(self._http + address)
            await self._shoot("-".join((name, *look)), page, whole=True)
            await page.close()

    async def press(self, name: str, address: str, button: str) -> None:
        """Photograph what a button leads to; it is pressed by one look after the other, on pages all open."""
        if self._folder is None:
            return
        for page in self._pages.values():
            await page.goto(self._http + address)
            await page.evaluate("document.querySelectorAll('form').forEach((each) => each.noValidate = true)")
        for look, page in self._pages.items():
            await page.get_by_role("button", name=button).first.click()
            await page.wait_for_load_state()
            await self._shoot("-".join((name, *look)), page, whole=True)


class Scene:
    """Agents at work on the samples."""

    def __init__(
        self, agents: AgentClient, settings: Settings, ui: str, around: dict[str, worlds.World], stack: Dev
    ) -> None:
        self.agents, self.settings, self.ui, self.worlds, self.stack = agents, settings, ui, around, stack

    async def start(self, world: worlds.World, name: str) -> str:
        """An agent in its world."""
        input = world.prepare(name, exists=True)
        if isinstance(input, ResearcherInput):
            input = input.model_copy(update={"publish": ""})  # its report stays with it, to be opened
        return await self.agents.start(world.kind, input, id=name, owner="local")

    async def asked(self, id: str, after: str = "") -> AgentView:
        """The agent once it asks something, or something else."""
        return await self._until(id, lambda view: bool(view.approval and view.approval.id != after))

    async def ended(self, id: str) -> AgentView:
        """The agent once it has ended."""
        return await self._until(id, lambda view: not view.running)

    async def decide(self, id: str, verdict: Verdict = Verdict.APPROVE, **more: Any) -> None:
        """Decide the oldest question of an agent."""
        await self.agents.decide(id, verdict, by="local", through="cli", **more)

    async def writes(self, id: str, thread: str, text: str) -> None:
        """A candidate's mail comes in."""
        mail = IncomingMail(
            message_id=f"<{thread}-{len(text)}@example.com>", thread=thread, kind=MailKind.ANSWER,
            sender=f"{thread}@example.com", subject="Re: Keeper of tides", text=text,
            received_at=datetime.now(UTC),
        )  # fmt: skip
        client = await connect(self.settings)
        await client.get_workflow_handle(id).signal("mail", mail)

    def reader(self) -> str:
        """A token that allows to read alone."""
        return TokenFile.of(self.settings).add("reader", [Scope.READ])

    def link(self, view: AgentView, days: int = 1) -> str:
        """The page behind the link of a mail that asks."""
        request = view.requests[0]
        claims = ApprovalLink(
            agent=view.id, request_id=request.id, digest=request.digest, approver="local",
            expires_at=datetime.now(UTC) + timedelta(days=days),
        )  # fmt: skip
        return f"/approve/{claims.token(Signer.load(self.settings))}"

    async def letter(self, number: int) -> list[str]:
        """The pages behind the links of the letter that was sent as the `number`-th."""
        box = self.worlds["recruiter"].letters  # type: ignore[attr-defined]

        def sent() -> str | None:
            return box.texts[number - 1] if len(box.texts) >= number else None

        return re.findall(r"/answer/\S+", await eventually(sent, PATIENCE))

    async def stuck(self) -> str:
        """An agent that lacks a setting, once it says so."""
        input = ResearcherInput(topic="the tides of a harbour", sites=["http://127.0.0.9/"])
        id = await self.agents.start("link-researcher", input, id="elsewhere", owner="local")
        await self._until(id, lambda view: bool(view.trouble))
        return id

    async def failed(self) -> str:
        """An agent that has failed: its folder is gone."""
        input = AuditInput(path=str(worlds.FOLDER / "gone"))
        return (await self.ended(await self.agents.start("code-auditor", input, id="gone", owner="local"))).id

    @contextmanager
    def without_worker(self) -> Iterator[None]:
        """A time in which no worker answers."""
        worker = self.stack.children()["worker"]
        worker.suspend()
        try:
            yield
        finally:
            worker.resume()

    async def archive(self) -> None:
        """Move everything that has ended out of Temporal."""
        command = (sys.executable, str(ROOT / "starter.py"), "archive", "run", "--older-than", "1s")
        environment = {**os.environ, "HIBERNAUT_DATA_DIR": str(self.stack.folder)}
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        if await process.wait():
            raise RuntimeError("nothing was archived")

    async def _until(self, id: str, fits: Callable[[AgentView], bool]) -> AgentView:
        async def find() -> AgentView | None:
            view = await self.agents.view(id)
            return view if view.live and fits(view) else None

        return await eventually(find, PATIENCE)


async def photograph(scene: Scene, camera: Camera) -> None:
    """All agents, at each of their questions and at their end."""
    page = "/ui/agents/{}".format
    for name in ("inbox", "agents", "overview"):
        await camera.take(f"{name}-empty", PLACES[name])
    # The watch on the market lives for three minutes, and asks after two: it begins when it is its turn.
    started = {
        name: await scene.start(world, IDS[name]) for name, world in scene.worlds.items() if name != "market"
    }
    last = (
        [("market", IDS["market"])] if camera.shows_all else []
    )  # no picture that is kept needs its minutes
    for name, id in [*started.items(), *last]:
        if name == "market":
            started[name] = await scene.start(scene.worlds[name], id)
        if name == "batch":
            await asyncio.gather(*(scene.asked(f"{id}.{item}") for item in ("one", "two")))
            await camera.take("batch-asks", f"/ui/batches/{id}", _unfold)
            await camera.press("batch-no-word", f"/ui/batches/{id}", "Reject all")
            await camera.take("batch-item-asks", page(f"{id}.one"))
            await camera.take("batch", page(id))
            await camera.take("batch-items", f"{page(id)}/items")
            await camera.take("batch-verdicts", f"{page(id)}/verdicts")
            continue
        view = await scene.asked(id)
        await camera.take(f"{name}-asks", page(id))
        if name == "auditor":
            await camera.take("auditor-link", scene.link(view))
            await camera.take("auditor-link-expired", scene.link(view, days=-1))
            await camera.press("auditor-no-word", scene.link(view), "Reject")
            link = scene.link(view)
            with scene.without_worker():
                await camera.take("buyer-asks-silent", page(IDS["buyer"]))
                await camera.take("auditor-link-silent", link)
                await camera.take("inbox-silent", "/ui")
            await camera.take("web-ui", f"{scene.ui}/namespaces/default/workflows/{id}", _metadata)
    stuck = await scene.stuck()
    for name, address in PLACES.items():
        await camera.take(name, address)
    await camera.take("stuck", page(stuck))
    await camera.take("failed", page(await scene.failed()))
    await camera.take_as("not a token", "sign-in-refused")
    await camera.take_as(scene.reader(), "forbidden", PLACES["start-form"])
    await camera.press("start-problems", "/ui/start/batch", "Start it")
    await scene.agents.cancel(stuck)
    for name, id in started.items():
        if name in ("batch", "recruiter"):
            continue
        view = await scene.agents.view(id)
        for request in view.requests:
            await scene.decide(id, digest=request.digest, request_id=request.id)
    await camera.take("auditor-link-decided", link)
    await camera.press("batch-decided", f"/ui/batches/{started['batch']}", "Approve all")
    if not camera.shows_all:
        for item in ("one", "two"):
            await scene.decide(f"{started['batch']}.{item}")
    if camera.shows_all:
        await _recruit(scene, camera, started["recruiter"])
    for name, id in started.items():
        if name != "recruiter":
            await scene.ended(id)
        await camera.take(f"{name}-result", page(id))
    await camera.take("report", f"{page(started['auditor'])}/files/report.html")
    await camera.take("cancelled", page(stuck))
    if camera.shows_all:
        await scene.archive()
        await camera.take("archived", page(started["buyer"]))


async def _recruit(scene: Scene, camera: Camera, id: str) -> None:
    """A candidate asks something back, another takes a time: two more questions."""
    first = await scene.asked(id)
    assert first.approval
    await scene.decide(id)
    yes, _no = await scene.letter(2)
    await camera.take("letter", yes)
    await scene.writes(id, "c1", "Yes, I am interested.")
    await scene.writes(id, "c2", "Thank you for writing.\n\nWhat does it pay?\nAnd where is it?")
    reply = await scene.asked(id, first.approval.id)
    assert reply.approval
    await camera.take("recruiter-replies", f"/ui/agents/{id}")
    await scene.decide(id, Verdict.REVISE, edits={"text": "It pays well."})
    _first, second, *_ = await scene.letter(3)
    await camera.press("letter-answered", second, "Send this answer")
    await scene.asked(id, reply.approval.id)
    await camera.take("recruiter-invites", f"/ui/agents/{id}")
    await scene.decide(id)
    await asyncio.sleep(3)
    await scene.writes(id, "c2", "No thank you, I have accepted another offer.")
    await scene.writes(id, "c1", "I have to withdraw, sorry.")
    await scene.ended(id)
    await camera.take("letter-over", yes)


async def _metadata(page: Page) -> None:
    await page.get_by_text("User Metadata").click(timeout=90_000)
    await asyncio.sleep(4)


async def _unfold(page: Page) -> None:
    await page.locator(".questions summary").first.click()


async def main(folder: Path | None, scratch: Path) -> None:
    """Start the stack and everything around it, and take the pictures."""
    worlds.FOLDER = scratch / "work"
    worlds.FOLDER.mkdir()
    data = scratch / "data"
    open_all(data)
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(data)})
    around: dict[str, worlds.World] = {
        "auditor": worlds.AuditWorld(), "buyer": worlds.MarketWorld(), "researcher": worlds.SiteWorld(),
        "recruiter": worlds.MailWorld(), "contracts": worlds.ContractWorld(), "batch": worlds.BatchWorld(),
        "market": worlds.IndexWorld(),
    }  # fmt: skip
    with ExitStack() as entered:
        for name in ("researcher", "recruiter", "buyer"):
            entered.enter_context(around[name])
        own = {name: value for name, value in os.environ.items() if name.startswith("HIBERNAUT_")}
        environment = {**own, "HIBERNAUT_SMTP_PASSWORD": ""}
        async with dev(data, environment=environment) as stack, async_playwright() as playwright:
            await stack.hears("ready", 120)
            at = json.loads((data / "stack.json").read_text())
            os.environ["TEMPORAL_ADDRESS"] = at["temporal"]
            agents = AgentClient(await connect(settings), settings, Signer.load(settings))
            browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
            camera = Camera(browser, at["http"], operator_token(settings), folder, data)
            await camera.sign_in()
            await photograph(Scene(agents, settings, at["ui"], around, stack), camera)
            await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page into this folder")
    wanted = parser.parse_args().all
    if wanted:
        wanted.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hibernaut-") as temporary:
        asyncio.run(main(wanted, Path(temporary)))

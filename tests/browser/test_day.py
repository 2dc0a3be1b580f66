"""A whole day in a browser: start, decide on a phone, follow, run again, search, decide ten at once."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.common import SearchAttributePair, TypedSearchAttributes

import worker
from activities.calls.interceptor import ReliableReports
from cli.dev_server import DevServer
from common.agents.agent import AgentInput, Carried
from common.approval.types import ApprovalPolicy
from common.temporal.search_attributes import OWNER
from tests.support.agents.agents import ErrandAgent, PanelAgent
from tests.support.agents.doubles import ErrandInput, PanelInput
from tests.support.browser import ROOT, Pages, chromium, comes, require_accessible
from tests.support.gateway.world import open_world
from workflows.replayer import workflow_classes

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "timezone_id": "Europe/Vienna",
}


class Day:
    """A gateway over real agents and ten small ones, a browser, and a worker that can be sent home."""

    def __init__(self, pages: Pages, folder: Path) -> None:
        self.pages, self.folder = pages, folder
        self._worker = AsyncExitStack()

    async def work(self) -> None:
        desk = self.pages.world.desk
        kinds = [*workflow_classes(), PanelAgent, ErrandAgent]
        reports = ReliableReports(desk.client)
        built = worker.build(desk.client, self.pages.world.settings, reports=reports, workflows=kinds)
        await self._worker.enter_async_context(built)

    async def rest(self) -> None:
        await self._worker.aclose()

    async def start(self, kind: str, id: str, input: AgentInput) -> None:
        """An agent of the owner."""
        desk = self.pages.world.desk
        attributes = TypedSearchAttributes([SearchAttributePair(OWNER, "owner")])
        queue = desk.settings.task_queue
        await desk.client.start_workflow(kind, input, id=id, task_queue=queue, search_attributes=attributes)


@pytest.fixture
async def day(server: DevServer, tmp_path: Path) -> AsyncIterator[Day]:
    """Skipped by name where there is no chromium."""
    async with chromium() as browser, open_world(server, tmp_path / "world", works=False) as world:
        shutil.copytree(ROOT / "tests" / "samples" / "shop", tmp_path / "shop")
        day = Day(Pages(world, browser, tmp_path), tmp_path)
        await day.work()
        yield day
        await day.rest()


async def test_a_day(day: Day, shots: Path) -> None:
    """What a form starts is edited and approved on a phone and followed; then yesterday, and ten at once."""
    pages, at = day.pages, day.pages.world.address
    owner = await pages.sign_in("local-owner")

    # A form made of the input's schema: what is wrong is said beside its field, and nothing is lost.
    await owner.get_by_role("link", name="Start", exact=True).click()
    await require_accessible(owner)
    await owner.get_by_role("link", name="Code auditor").click()
    await owner.get_by_label("Path").fill("shop")
    await owner.get_by_text("More about this agent").click()
    await owner.get_by_role("checkbox", name="Apply").check()
    await owner.get_by_text("Who approves").click()
    await owner.get_by_label("Approvers").fill("approver\n")
    await owner.get_by_label("Expires after").fill("soon")
    await owner.get_by_role("button", name="Start it").click()
    await owner.get_by_role("alert").wait_for()
    path = owner.get_by_label("Path")
    assert await path.get_attribute("aria-invalid") == "true"
    assert await path.input_value() == "shop"
    await path.fill(str(day.folder / "shop"))
    await owner.get_by_role("button", name="Start it").click()
    await owner.get_by_text("give a time such as 90s").wait_for()
    await owner.screenshot(path=shots / "start-form.png", full_page=True)
    await require_accessible(owner)
    await owner.get_by_label("Expires after").fill("3d")
    await owner.get_by_role("button", name="Start it").click()
    await owner.get_by_text("Started.").wait_for()
    id = owner.url.partition("?")[0].rpartition("/")[2]
    asked = (await pages.world.until(id, lambda view: bool(view.requests))).requests[0]

    # On a phone: read, edit, approve.
    approver = await pages.sign_in("local-approver", **PHONE)
    await comes(approver.get_by_role("link", name=asked.question), approver)
    # Times are those of the reader's zone, with UTC on hover.
    asked_at = approver.locator(".card time[title]").first  # by a script that runs once the page is there
    hover = datetime.strptime(str(await asked_at.get_attribute("title")), "%Y-%m-%d %H:%M UTC")
    shown = hover.replace(tzinfo=UTC).astimezone(ZoneInfo(PHONE["timezone_id"]))
    assert await asked_at.inner_text() == f"{shown:%Y-%m-%d %H:%M}"
    await approver.screenshot(path=shots / "inbox-phone.png", full_page=True)
    await require_accessible(approver)
    await approver.get_by_role("link", name=asked.question).click()
    await require_accessible(approver)
    await approver.get_by_text("Change the plan first").click()
    await approver.get_by_label("Left out").fill("shop/mail.py")
    await approver.get_by_role("button", name="Approve with these changes").click()
    done = await pages.world.until(id, lambda view: not view.running)
    assert done.decisions[-1].decision.edits == {"skip": ["shop/mail.py"]}
    pages.complaints.clear()  # an approver is shown the agent no more

    # The page that followed says so, and has drawn its timeline anew; the report opens.
    await owner.locator("#timeline li", has_text="report").wait_for()
    await owner.get_by_role("link", name="Show it").click()
    await owner.get_by_role("img", name="The timeline to scale").wait_for()
    assert await owner.locator("svg.scale rect.people").count() == 1
    await owner.screenshot(path=shots / "agent-timeline.png", full_page=True)
    await require_accessible(owner)
    await owner.get_by_role("link", name="report.html", exact=True).click()
    await owner.get_by_text("shop").first.wait_for()
    await owner.go_back()

    # Once more, with this input but for one thing.
    await owner.get_by_role("link", name="Run again with this input").click()
    assert await owner.get_by_label("Path").input_value() == str(day.folder / "shop")
    assert await owner.get_by_label("Approvers").input_value() == "approver"
    assert await owner.get_by_label("Expires after").input_value() == "3d"
    await owner.get_by_role("checkbox", name="Apply").uncheck()
    await owner.get_by_role("button", name="Start it").click()
    await owner.get_by_text("Started.").wait_for()
    again = owner.url.partition("?")[0].rpartition("/")[2]
    assert (await pages.world.until(again, lambda view: not view.running)).requests == []

    # Whoever may not start is told so, and of what others started with sees nothing.
    await approver.goto(f"{at}/ui/start/code-auditor")
    await approver.get_by_text("does not allow starting agents").wait_for()
    assert await approver.get_by_role("button", name="Start it").count() == 0
    await approver.goto(f"{at}/ui/start/code-auditor?like={again}")
    await approver.get_by_text("There is no such agent").wait_for()
    pages.complaints.clear()  # the browser logs the 404 above

    # Yesterday's stuck; today is yesterday, too, if midnight passes before it is asked for.
    today = datetime.now(UTC).date()
    for id, days in (("stuck-yesterday", (1, 0)), ("stuck-before", (4,))):
        stuck_at = [f"Login@{today - timedelta(days=ago)}" for ago in days]
        carried = Carried(started_at=datetime.now(UTC), stuck_at=stuck_at)
        policy = ApprovalPolicy(approvers=("nobody",))
        sleeps = ErrandInput(policy=policy, steps=0, sleep=timedelta(days=3), carried=carried)
        await day.start("errand", id, sleeps)
    await owner.get_by_role("link", name="Search", exact=True).click()
    await require_accessible(owner)
    await owner.get_by_label("Node").fill("Login")
    await owner.get_by_label("Since").fill("the day before")
    await owner.get_by_label("got stuck").check()
    await owner.get_by_role("button", name="Search").click()
    await owner.get_by_text("say yesterday, tomorrow").wait_for()
    await owner.get_by_label("Since").fill("yesterday")
    await owner.get_by_label("Until").fill("today")
    await owner.get_by_role("button", name="Search").click()
    await comes(owner.get_by_role("heading", name="1 agent"), owner)
    assert await owner.locator("tbody th").all_inner_texts() == ["stuck-yesterday"]
    await owner.screenshot(path=shots / "search.png", full_page=True)
    await require_accessible(owner)

    # Ten questions alike, of no batch: there also while no worker runs, decided at once when one does.
    policy = ApprovalPolicy(approvers=("approver",))
    for number in range(10):
        await day.start("panel", f"panel-{number}", PanelInput(questions={f"Order {number}": policy}))
    await approver.goto(f"{at}/ui?kind=panel")
    together = approver.get_by_role("link", name="Decide 10 panel questions together")
    await comes(together, approver)
    await day.rest()
    await approver.reload()
    await approver.get_by_text("No worker answers for 10 of these").wait_for()
    assert await approver.get_by_role("link", name="Order 7?").count() == 1
    await approver.screenshot(path=shots / "inbox-no-worker-phone.png", full_page=True)
    await require_accessible(approver)
    await approver.get_by_role("link", name="Order 7?").click()
    await approver.get_by_role("button", name="Approve", exact=True).click()
    await approver.get_by_text("Your decision was received").wait_for()
    await day.work()
    await pages.world.until("panel-7", lambda view: not view.running)
    await approver.goto(f"{at}/ui?kind=panel")
    pages.complaints.clear()  # an approver is shown the agent no more
    together = approver.get_by_role("link", name="Decide 9 panel questions together")
    await comes(together, approver)
    await together.click()
    await approver.screenshot(path=shots / "questions-phone.png", full_page=True)
    await require_accessible(approver)
    await approver.get_by_role("button", name="Reject all that are ticked").click()
    await approver.get_by_role("alert").get_by_text("Say in the note why not").wait_for()
    pages.complaints.clear()  # the browser logs the 422 above
    await approver.get_by_label("A note").fill("all alike")
    await approver.get_by_role("button", name="Approve all that are ticked").click()
    await approver.get_by_text("9 counted.").wait_for()

    # The evening's look: what sleeps, until when, and what has ended.
    await owner.get_by_role("link", name="Overview").click()
    await comes(owner.get_by_role("link", name="2 sleeping"), owner)
    await owner.get_by_role("link", name="2 wake on").click()
    await owner.wait_for_load_state()
    assert sorted(await owner.locator("tbody th").all_inner_texts()) == ["stuck-before", "stuck-yesterday"]
    await owner.go_back()
    # Days are those of the reader's zone, however far from UTC.
    away = await pages.sign_in("local-owner", timezone_id="Pacific/Kiritimati")
    await away.get_by_role("link", name="Overview").click()
    wakes_at = (await pages.world.agents.view("stuck-before")).wake_at
    assert wakes_at is not None
    there = wakes_at.astimezone(ZoneInfo("Pacific/Kiritimati"))
    await away.get_by_text("Days are those of Pacific/Kiritimati.").wait_for()
    await away.get_by_role("link", name=f"2 wake on {there:%A, %-d %B}").click()
    await away.get_by_text(f"waking on {there:%Y-%m-%d}, a day of Pacific/Kiritimati").wait_for()
    for name, size in (("overview", (1280, 900)), ("overview-phone", (390, 844))):
        await owner.set_viewport_size({"width": size[0], "height": size[1]})
        await owner.screenshot(path=shots / f"{name}.png", full_page=True)
        await require_accessible(owner)
    assert pages.complaints == []

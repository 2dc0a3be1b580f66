"""A server restored from an older copy of its database: agents go over it again, and nothing is done twice.

As docs/runbook.md has it. The witnesses are the broker's book, the mail server, and files.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities.quotes.csv_feed import seek_replay
from activities.trading.paper import CASH
from activities.trading.paper_book import PaperBook
from cli.children import end_child
from common.agents.auditor import AuditInput
from common.agents.buyer import BuyerInput
from common.agents.researcher import ResearcherInput
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.client.view import AgentView
from common.temporal.codec import DATABASE
from testing.waiting import eventually
from tests.support.mail.smtp_server import SmtpRecorder, smtp_server
from tests.support.recruiting.stage import recruiter_input
from tests.support.stack import ROOT, Stack
from tests.support.trading.real_prices import real_closes
from tests.support.web import Route, WebServer

# Bank of America closed at 11.741, 9.231, 9.053 and 10.51; each is beyond the tolerance of the others.
ASKED, BOUGHT, AGAIN, LATER = (datetime(2008, 11, day, tzinfo=UTC) for day in (24, 21, 20, 19))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
TIDES = "The tides of the north harbour rise twice a day and fall twice a day, the north pilots say."


class Town(Stack):
    """A stack with a market, a web site and a mail server, whose database can be put back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.copy = folder.parent / "older.db"
        self.forgotten = set[str]()
        self.seek_replay(ASKED)

    def seek_replay(self, day: datetime) -> None:
        """Have the prices of that day."""
        seek_replay(self.folder / "quotes.db", day, datetime.now(UTC))

    def orders(self) -> list[tuple[str, str]]:
        """What the broker's book has: the client's id and the price of each order."""
        with PaperBook(self.folder / "paper.db", CASH).opened() as book:
            return [(order.client_order_id, str(order.limit_price)) for order in book.all()]

    def back_up(self) -> datetime:
        """Copy the database while the server runs; the time as of which it is."""
        before = datetime.now(UTC)
        with (
            closing(sqlite3.connect(self.folder / DATABASE)) as source,
            closing(sqlite3.connect(self.copy)) as to,
        ):
            source.backup(to)
        return before

    async def put_back(self, as_of: datetime) -> None:
        """The steps of the runbook: no worker, no server, the older database, a note, and all up again."""
        assert self.worker
        await end_child(self.worker, 30)
        await self.server.stop()
        for file in self.folder.glob(f"{DATABASE}*"):
            file.unlink()
        self.copy.rename(self.folder / DATABASE)
        [command] = re.findall(
            r"^ *\.venv/bin/python (starter\.py restored --to) \S+$", RUNBOOK, re.MULTILINE
        )
        noted = await asyncio.create_subprocess_exec(
            *(sys.executable, *command.split(), as_of.isoformat(), "--json"),
            cwd=ROOT,
            env={**os.environ, "HIBERNAUT_DATA_DIR": str(self.folder)},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await noted.communicate()
        assert noted.returncode == 0
        self.forgotten = {act["agent"] for act in json.loads(out)}
        await self.server.start()
        await self.start_worker()


class People:
    """Those who decide."""

    def __init__(self, agents: AgentClient) -> None:
        self.agents = agents

    async def asked(self, id: str, *evidence: str) -> AgentView:
        """The agent once it asks, with this evidence."""

        async def find() -> AgentView | None:
            view = await self.agents.view(id)
            assert view.running, view
            found = view.approval
            return (
                view if found and all(any(e in line for line in found.evidence) for e in evidence) else None
            )

        return await eventually(find)

    async def approve(self, id: str) -> None:
        asked = await self.asked(id)
        assert asked.approval
        [by] = asked.approval.deciders
        await self.agents.decide(id, Verdict.APPROVE, by=by, through="cli")

    async def result(self, id: str) -> Any:
        async def find() -> AgentView | None:
            view = await self.agents.view(id)
            assert view.status in ("running", "completed"), view
            return None if view.running else view

        return (await eventually(find)).result

    async def sleeps(self, id: str) -> bool:
        return (await self.agents.view(id)).state in ("sleeping", "awaiting_event")


@pytest.fixture
async def mail(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmtpRecorder]:
    async with smtp_server() as server:
        monkeypatch.setenv("HIBERNAUT_SMTP", f"smtp://127.0.0.1:{server.port}")
        monkeypatch.setenv("HIBERNAUT_MAIL_FROM", "agents@example.com")
        monkeypatch.setenv("HIBERNAUT_PUBLIC_URL", "http://localhost:8080")
        yield server


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    text = f"<html><title>Tides</title><body><main><p>{TIDES}</p></main></body></html>"
    with WebServer({"/north": Route(text)}, "127.0.0.2") as site:
        site.routes["/"] = Route(
            '<html><body><p><a href="/north">The tides of a harbour</a></p></body></html>'
        )
        monkeypatch.setenv("HIBERNAUT_ALLOWED_HOSTS", site.host)
        monkeypatch.setenv("HIBERNAUT_FETCH_RATE", "20")
        yield site


async def test_what_was_done_after_the_copy_is_not_done_again(
    tmp_path: Path, mail: SmtpRecorder, site: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five agents act after the copy was made; brought back, they ask again, and each effect is once."""
    monkeypatch.setenv("HIBERNAUT_QUOTES", str(real_closes()))
    monkeypatch.setenv("HIBERNAUT_QUOTES_SPEED", "0")
    code, reports = tmp_path / "code", tmp_path / "reports"
    code.mkdir()
    reports.mkdir()
    (code / "a.py").write_text("import os\n")
    async with Town(tmp_path / "data") as town:
        agents = await town.agents()
        people = People(agents)
        buyer = {"symbol": "BAC", "quantity": 10, "limit": 12, "on_drift": "stop"}
        inputs = {
            "buys": ("buyer", BuyerInput.model_validate(buyer)),
            "fixes": ("code-auditor", AuditInput.model_validate({"path": str(code), "apply": True})),
            "reads": (
                "link-researcher",
                ResearcherInput(
                    topic="the tides of a harbour", sites=[site.url()], links=1, publish=str(reports)
                ),
            ),
            "hires": ("recruiter", recruiter_input(1, questions=[])),
        }
        for id, (kind, input) in inputs.items():
            await agents.start(kind, input, id=id, owner="local")
        for id in inputs:
            await people.asked(id)
        # It has no plan yet when the copy is made, and makes another one each time.
        waits = {**buyer, "limit": 10, "on_drift": "ask_again", "when": "within-limit"}
        await agents.start("buyer", BuyerInput.model_validate(waits), id="waits", owner="local")
        await eventually(lambda: people.sleeps("waits"))
        as_of = town.back_up()

        for id in inputs:
            await people.approve(id)
        for id in ("buys", "fixes", "reads"):
            await people.result(id)
        await eventually(lambda: bool(mail.taken))
        town.seek_replay(BOUGHT)
        await agents.wake("waits")
        await people.approve("waits")
        assert (await people.result("waits"))["outcome"] == "bought"
        done = town.orders(), sorted(each.name for each in reports.iterdir()), (code / "a.py").read_bytes()
        assert [price for _, price in done[0]] == ["11.741", "9.231"]
        assert (len(done[1]), done[2]) == (2, b"")

        town.seek_replay(AGAIN)
        site.routes["/north"] = Route(
            "<html><body><main><p>The pilots have changed their mind.</p></main></body></html>"
        )
        await town.put_back(as_of)
        assert town.forgotten == {*inputs, "waits"}
        agents = await town.agents()
        people = People(agents)
        # They ask what they asked before, and find by its key what became of it, whatever has moved since.
        for id in inputs:
            await people.approve(id)
        results = {id: await people.result(id) for id in ("buys", "fixes", "reads")}
        assert results["buys"]["outcome"] == "bought"
        assert results["fixes"]["files_fixed"] == 1
        assert sorted(Path(place).name for place in results["reads"]["places"]) == done[1]
        # The plan of this one is new; whoever approves it as if nothing had been is told first.
        await agents.wake("waits")
        await people.approve("waits")
        told = await people.asked(
            "waits", "has forgotten that this agent acted in buy", "by decision of local"
        )
        assert told.approval
        await agents.decide("waits", Verdict.REJECT, by="local", through="cli", note="it was bought")
        assert (await people.result("waits"))["outcome"] == "not_approved"
        await eventually(lambda: people.sleeps("hires"))
        assert done == (
            town.orders(),
            sorted(each.name for each in reports.iterdir()),
            (code / "a.py").read_bytes(),
        )
        assert [each.recipient for each in mail.taken] == ["c1@example.com"]

"""A buyer from the command line, through a worker process and the paper broker, and what forgers may try."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.quotes.csv_feed import CsvFeed, seek_replay
from activities.trading.paper import PaperBroker
from cli.children import end_child, start_child
from cli.dev_server import DevServer, find_program
from common.agents.buyer import Order
from common.approval.signing import Signer
from common.approval.types import ApprovalRequest, Decision, Verdict
from common.client.client import AgentClient
from common.key_ring import KeyRing
from testing.waiting import eventually
from tests.support.desk import ROOT, Desk, open_desk

# Two closes of a weekend in November 2008; the second is far beyond the tolerance of the first.
PRICES = "Date,BAC\n2008-11-21,9.231\n2008-11-24,11.741\n"
FRIDAY, MONDAY = datetime(2008, 11, 21, tzinfo=UTC), datetime(2008, 11, 24, tzinfo=UTC)
FORGER = Signer(KeyRing.of({"forged": bytes(32)}))


class Exchange:
    """A desk, a worker process that refuses unsigned decisions, prices that stand still, and the book."""

    def __init__(self, desk: Desk, address: str) -> None:
        self.desk = desk
        self.address = address
        self.folder = desk.settings.data_dir
        (self.folder / "prices.csv").write_text(PRICES)
        self.price_of(FRIDAY)

    def price_of(self, day: datetime) -> None:
        seek_replay(self.folder / "quotes.db", day, datetime.now(UTC))

    def orders(self) -> list[Order]:
        feed = CsvFeed(self.folder / "prices.csv", self.folder / "quotes.db", speed=0, clock=_now)
        return PaperBroker(self.folder / "paper.db", feed.quote, _now).orders()

    async def buyer(self) -> str:
        words = ("symbol=BAC", "quantity=10", "limit=12", "approvers=ann,bob")
        started = await self.desk.run("start", "buyer", *words, "--owner", "boss")
        assert started.code == 0, started.err
        return started.out.strip()

    async def shown(self, id: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.desk.run("show", id, "--json")).json
        return shown

    async def asked(self, id: str, request_id: str) -> ApprovalRequest:
        async def asking() -> ApprovalRequest | None:
            found = (await self.shown(id))["approval"]
            return ApprovalRequest.model_validate(found) if found and found["id"] == request_id else None

        return await eventually(asking)

    async def notes(self, id: str, count: int) -> list[str]:
        """What the notebook has of refusals, once there are `count`."""

        async def noted() -> list[str] | None:
            notebook = (await self.shown(id))["notebook"]
            found = [entry["text"] for entry in notebook if entry["text"].startswith("refused")]
            return found if len(found) >= count else None

        return await eventually(noted)

    async def send(self, id: str, value: Any) -> None:
        """Straight to Temporal, past every door."""
        await self.desk.client.get_workflow_handle(id).signal("decide", value)

    async def send_by_program(self, id: str, text: str) -> None:
        """With the `temporal` program, as anybody with a shell could."""
        process = await asyncio.create_subprocess_exec(
            *(find_program(self.desk.settings), "workflow", "signal", "--address", self.address),
            *("--workflow-id", id, "--name", "decide", "--input", text),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0, said.decode()


def _now() -> datetime:
    return datetime.now(UTC)


def approval(request: ApprovalRequest, **changes: Any) -> Decision:
    plain = Decision(
        id=str(uuid.uuid4()),
        request_id=request.id,
        digest=request.digest,
        verdict=Verdict.APPROVE,
        by="ann",
        through="cli",
        at=_now(),
    )
    return plain.model_copy(update=changes)


@pytest.fixture
async def exchange(server: DevServer, tmp_path: Path) -> AsyncIterator[Exchange]:
    async with open_desk(server, tmp_path) as desk:
        exchange = Exchange(desk, server.address)
        process = await start_child(
            [sys.executable, str(ROOT / "worker.py")],
            environment={
                **desk.environment,
                "HIBERNAUT_UNSIGNED": "refuse",
                "HIBERNAUT_QUOTES": str(exchange.folder / "prices.csv"),
                "HIBERNAUT_QUOTES_SPEED": "0",
            },
            log=tmp_path / "worker.log",
        )
        desk.patient = True
        try:
            yield exchange
        finally:
            await end_child(process, 30)


async def test_no_forged_decision_buys_anything_and_each_is_refused_with_its_reason(
    exchange: Exchange,
) -> None:
    """Sent straight to Temporal while the agent asks; then the right word makes exactly one order."""
    signer, other = exchange.desk.signer, await exchange.buyer()
    id = await exchange.buyer()
    first = await exchange.asked(id, "approval-1")
    spent = signer.sign(approval(first), id, _now())
    exchange.price_of(MONDAY)
    await exchange.send(id, spent)
    request = await exchange.asked(id, "approval-2")  # the price had moved: the word is void
    assert exchange.orders() == []

    def signed(now: datetime, key: Signer = signer, agent: str = id, **changes: Any) -> Decision:
        return key.sign(approval(request, **changes), agent, now)

    good, now = signed(_now()), _now()
    edits = {"verdict": Verdict.REVISE, "edits": {"quantity": "1"}}
    forged_key = good.signature.model_copy(update={"key_id": "forged"})  # type: ignore[union-attr]
    forgeries: list[tuple[Decision, str]] = [
        (signed(now, FORGER), "unknown key 'forged'"),
        (good.model_copy(update={"id": "a", "signature": forged_key}), "unknown key 'forged'"),
        (_relabelled(signed(now, FORGER), good), "the signature does not fit"),
        (signed(now, digest="0" * 64).model_copy(update={"digest": request.digest}), "does not fit"),
        (signed(now, digest="0" * 64), "it is for plan 000000000000"),
        (signed(now, by="mallory").model_copy(update={"by": "ann"}), "does not fit"),
        (signed(now, by="mallory"), "mallory is not among those who may decide"),
        (signed(now, by="boss"), "boss is not among those who may decide"),
        (signed(now, **edits).model_copy(update={"edits": {"quantity": "1000"}}), "does not fit"),
        (signed(now, verdict=Verdict.REJECT).model_copy(update={"verdict": Verdict.APPROVE}), "does not fit"),
        (signed(now, verdict=Verdict.REVISE, edits={"symbol": "C"}), "symbol may not be edited"),
        (signed(now - timedelta(days=15)), "its envelope expired"),
        (signed(now, agent=other), f"signed for another agent, '{other}'"),
        (spent, "this decision was already received"),
        (spent.model_copy(update={"id": "copied-1"}), "approval-1 is closed: void"),
        (spent.model_copy(update={"id": "copied-2", "request_id": request.id}), "does not fit"),
        (good.model_copy(update={"id": "copied-3"}), "does not fit"),
    ]
    for forged, _ in forgeries:
        await exchange.send(id, forged)
    by_program = [
        (approval(request).model_dump_json(), "refused an unsigned decision by ann: unsigned"),
        ('{"verdict": "approve"}', "refused the signal 'decide': id: Field required"),
        ('[[["garbage"]]]', "refused the signal 'decide': "),
    ]
    for text, _ in by_program:
        await exchange.send_by_program(id, text)
    await exchange.send(id, signed(now).model_dump(mode="json") | {"note": "x" * 300_000})
    await exchange.send(id, b"\x00\xff")

    reasons = [
        *(reason for _, reason in forgeries),
        *(reason for _, reason in by_program),
        "bytes are too many",
        "refused the signal 'decide': ",
    ]
    notes = await exchange.notes(id, len(reasons))
    assert len(notes) == len(reasons)
    for reason in reasons:
        match = next((note for note in notes if reason in note), None)
        assert match, (reason, notes)
        notes.remove(match)
    assert exchange.orders() == []
    assert (await exchange.shown(id))["approval"]["id"] == request.id

    approved = await exchange.desk.run("approve", id, "--as", "ann", "--json")
    assert (approved.code, approved.json["status"]) == (0, "counted")
    ended = await exchange.desk.run("result", id, "--wait")
    (order,) = exchange.orders()
    assert (ended.json["outcome"], ended.json["client_order_id"]) == ("bought", order.client_order_id)
    assert (order.symbol, order.filled, str(order.average_price)) == ("BAC", 10, "11.741")


def _relabelled(forged: Decision, real: Decision) -> Decision:
    """A forger's mac under the name of the real key."""
    assert forged.signature
    assert real.signature
    signature = forged.signature.model_copy(update={"key_id": real.signature.key_id})
    return forged.model_copy(update={"signature": signature})


async def test_unsigned_words_at_the_terminal_end_nothing_either(exchange: Exchange) -> None:
    """A forged no is no word, too: the agent goes on asking."""
    id = await exchange.buyer()
    request = await exchange.asked(id, "approval-1")
    await exchange.send_by_program(id, approval(request, verdict=Verdict.REJECT).model_dump_json())
    await exchange.send_by_program(id, json.dumps("no"))
    assert len(await exchange.notes(id, 2)) == 2
    rejected = await exchange.desk.run("reject", id, "--as", "bob", "--reason", "too dear")
    assert rejected.code == 0, rejected.err
    assert (await exchange.desk.run("result", id, "--wait")).json["outcome"] == "not_approved"
    assert exchange.orders() == []


async def test_the_session_of_the_docs_with_a_fork(exchange: Exchange) -> None:
    """Each line as it stands: one fork buys nothing, one asks at another limit, one buys for real."""
    page = (ROOT / "docs" / "cli.md").read_text().partition("## Fork an agent\n\n")[2]
    lines = [line.strip() for line in page.partition("\n\n")[0].splitlines()]
    assert len(lines) == 4
    agents = AgentClient(exchange.desk.client, exchange.desk.settings, exchange.desk.signer)

    async def asks(id: str) -> ApprovalRequest | None:
        return (await agents.view(id)).approval

    for line in lines:
        program, starter, *words = line.split()
        assert (program, starter) == ("python", "starter.py")
        ran = await exchange.desk.run(*words)
        assert (ran.code, ran.out) == (0, f"{words[-1]}\n"), ran.err
        await eventually(lambda id=words[-1]: asks(id))
    assert "fork of first at approval, effects held" in (await exchange.desk.run("show", "again")).out
    cheaper = await asks("cheaper")
    assert cheaper is not None
    assert cheaper.plan["limit"] == "10"
    endings = []
    for id in ("again", "for-real"):
        await agents.decide(id, Verdict.APPROVE, by="ann", through="cli")
        endings.append(await agents.ending(id, wait=True))
    assert [ending.status for ending in endings] == ["failed", "completed"]
    assert str(endings[0].failure).startswith("EffectHeld: ")
    assert len(exchange.orders()) == 1
    ran = await exchange.desk.run("fork", "first", "--at", "checkout", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "first has not been at 'checkout'; it has been at: case, approval." in ran.err

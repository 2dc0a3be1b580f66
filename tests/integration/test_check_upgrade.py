"""`check-upgrade` from a user's shell, by the lines of docs/upgrades.md: which sleepers would break."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import worker
from activities.calls.interceptor import ReliableReports
from cli.dev_server import DevServer
from cli.upgrade_check import UpgradeCheck, Verdict
from common.agents.agent import AgentInput
from common.agents.auditor import AuditInput
from common.agents.buyer import BuyerInput
from common.client.client import AgentClient
from common.digest import digest_bytes
from common.mail import MAILROOM, MailroomRequest
from common.temporal.connect import data_converter
from testing.waiting import eventually
from tests.support.desk import ROOT, Desk, open_desk
from workflows.buyer import Buyer

PAGE = [
    line.split()[2:]
    for line in (ROOT / "docs" / "upgrades.md").read_text().splitlines()
    if line.startswith(".venv/bin/python starter.py check-upgrade")
]
# Of one path in the object store, over what an argument may hold in the message.
LONG_PATH = "/x/" + "a" * 150_000


@dataclass
class Asleep:
    """The ids of the agents, and the events of every open workflow."""

    buyer: str
    auditors: list[str]
    events: dict[str, int]


@pytest.fixture(scope="module")
async def desk(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk with no worker yet."""
    async with open_desk(server, tmp_path_factory.mktemp("upgrade")) as desk:
        yield desk


async def started(desk: Desk, kind: str, input: AgentInput, owner: str = "me") -> str:
    return await AgentClient(desk.client, desk.settings, desk.signer).start(kind, input, owner=owner)


async def work_as_buyers(desk: Desk, stack: AsyncExitStack) -> None:
    built = worker.build(
        desk.client,
        desk.settings,
        reports=ReliableReports(desk.client),
        workflows=[Buyer],
        objects=worker.activity_objects(desk.settings),
    )
    await stack.enter_async_context(built)


def files_of(folder: Path) -> dict[str, str]:
    """Every file with its content, and when it was last written."""
    return {
        str(file): f"{digest_bytes(file.read_bytes())} {file.stat().st_mtime_ns}"
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


async def lengths_of(desk: Desk) -> dict[str, int]:
    """The events of every open workflow."""
    running = f"ExecutionStatus = 'Running' AND TaskQueue = '{desk.settings.task_queue}'"
    return {
        each.id: len((await desk.client.get_workflow_handle(each.id).fetch_history()).events)
        async for each in desk.client.list_workflows(running)
    }


@pytest.fixture(scope="module")
async def asleep(desk: Desk) -> Asleep:
    """Agents of this code and of another, at rest; no worker runs."""
    async with AsyncExitStack() as stack:
        await work_as_buyers(desk, stack)
        input = BuyerInput(symbol="KO", quantity=1, limit=99, approvers=["boss"])
        buyer = await desk.until(await started(desk, "buyer", input), "awaiting_approval")
    await desk.work()
    sleepers = [await started(desk, "code-auditor", AuditInput(path="/x/sleeps")) for _ in range(2)]
    for path, owner in (("/x/asks", "boss"), (LONG_PATH, "boss")):
        input = AuditInput(path=path, apply=True, approvers=["me"])
        sleepers.append(await started(desk, "code-auditor", input, owner))
    for id in sleepers:
        await desk.until(id, "sleeping" if id in sleepers[:2] else "awaiting_approval")
    await desk.rest()
    # What serves agents is looked at, too, and what has done nothing yet.
    queue = desk.settings.task_queue
    await desk.client.start_workflow(MAILROOM, MailroomRequest(), id=f"{queue}-mail", task_queue=queue)
    await desk.client.start_workflow("retired", id=f"{queue}-retired", task_queue=queue)

    async def all_listed() -> dict[str, int] | None:
        lengths = await lengths_of(desk)
        return lengths if len(lengths) == 7 else None

    return Asleep(buyer, sleepers, await eventually(all_listed))


async def test_sleepers_are_named_that_would_break_and_nothing_is_written(desk: Desk, asleep: Asleep) -> None:
    """A buyer goes on, and what has done nothing yet; agents of other code or a lost kind do not."""
    queue, sleepers, before = desk.settings.task_queue, asleep.auditors, files_of(desk.settings.data_dir)
    assert any("/objects/" in name for name in before), "nothing lies in the store"

    found = await desk.run(*PAGE[3])
    assert found.code == 1, found.err
    assert (found.json["open"], found.json["checked"], found.json["sample"]) == (7, 7, None)
    broken = {each["id"]: each for each in found.json["breaks"]}
    assert set(broken) == {*sleepers, f"{queue}-retired"}
    assert found.json["unknown"] == []
    one = broken[sleepers[0]]
    assert (one["kind"], one["owner"], one["at"], one["build"]) == ("code-auditor", "me", "rest", "")
    finding = one["finding"]
    assert (finding["verdict"], finding["event"], finding["node"]) == ("breaks", 6, "rest")
    assert finding["expected"] == "a timer of 9 days, 0:00:00"
    assert finding["now"].startswith("the activity take_inventory (inventory/1/")
    assert "no workflow 'retired'" in broken[f"{queue}-retired"]["finding"]["why"]

    # One's path lies in the object store; without that it is neither a break nor a pass.
    history = await desk.client.get_workflow_handle(sleepers[3]).fetch_history()
    assert files_of(desk.settings.data_dir) == before
    assert await lengths_of(desk) == asleep.events
    assert asleep.buyer in asleep.events
    shutil.rmtree(desk.settings.data_dir / "objects")
    converter = data_converter(desk.settings, writes=False)
    async with UpgradeCheck(converter, desk.client.namespace) as check:
        lost = await check.examine(history)
    assert lost.verdict is Verdict.UNKNOWN, lost
    assert lost.why.startswith("its history cannot be read: "), lost


async def test_a_sample_says_that_it_is_one_and_filters_hold(desk: Desk, asleep: Asleep) -> None:
    """By default a few of each kind and node; or as many as are asked for, of one kind, of one owner."""
    by_default = await desk.run(*PAGE[0])
    assert by_default.code == 1
    assert "7 of 7 open workflows replayed." in by_default.err
    assert "docs/upgrades.md" in by_default.err
    assert (
        "event 6: history has a timer of 9 days, 0:00:00, this code has the activity take_inv"
        in by_default.out
    )
    one = await desk.run(*PAGE[1])
    assert one.code == 1
    assert "2 of 4 open workflows replayed (at most 1 of each kind, node and build" in one.err
    safe = await desk.run(*PAGE[2])
    assert (safe.code, safe.out) == (0, ""), safe.out
    assert "1 of 1 open workflows replayed.\nnone of them would break" in safe.err

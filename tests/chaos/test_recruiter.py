"""Many recruiters asleep, and kills at bad moments: each letter once, and the right one wakes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper

from activities.recruiting.memory import CandidatesView
from cli.children import start_child
from common.approval.types import ApprovalRequest, ApprovalsView, Decision, Verdict
from common.temporal import search_attributes
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.recruiting.outbox import Delivered, LedgerOutbox
from tests.support.recruiting.stage import mail, recruiter_input
from tests.support.stack import ROOT, Stack

# So many of them, beside the one that wakes first, go the whole way to an invitation.
INVITED = 4


class Fleet(Stack):
    """A stack whose worker runs recruiters on an outbox that outlives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.outbox = LedgerOutbox(folder.parent / "outbox.db")

    async def start_worker(self) -> None:
        """Start the worker; it may come up before the server does."""
        self.worker = await start_child(
            [sys.executable, "-m", "tests.support.recruiting.worker", str(self.outbox.path)],
            environment={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TEMPORAL_ADDRESS": self.server.address,
                "HIBERNAUT_DATA_DIR": str(self.settings.data_dir),
            },
            log=self.log,
        )

    async def kill_amid(self, kind: str, most: int, sending: Awaitable[object]) -> None:
        """Kill the worker once so many letters of this kind are out, and start another.

        The others are not, and those who sent them have not heard of it: there is no worse moment.
        """
        self.outbox.hold(kind, most)
        sent = asyncio.ensure_future(sending)
        await eventually(lambda: len(self.outbox.letters(kind)) == most)
        await self.kill_worker()
        assert len(self.outbox.letters(kind)) == most
        self.outbox.release()
        await self.start_worker()
        await sent


async def throttled(names: list[str], do: Callable[[str], Awaitable[Any]], at_once: int = 20) -> list[Any]:
    room = asyncio.Semaphore(at_once)

    async def one(name: str) -> Any:
        async with room:
            return await do(name)

    return await asyncio.gather(*map(one, names))


class Doors:
    """What people and the mailbox do to the agents."""

    def __init__(self, client: Client, fleet: Fleet) -> None:
        self.client = client
        self.fleet = fleet
        self.skipper = TimeSkipper(client)

    def handle(self, id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(id)

    async def start(self, id: str) -> None:
        owner = SearchAttributePair(search_attributes.OWNER, "owner-1")
        await self.client.start_workflow(
            "recruiter",
            INPUT,
            id=id,
            task_queue=self.fleet.settings.task_queue,
            search_attributes=TypedSearchAttributes([owner]),
        )

    async def asked(self, id: str, begins: str) -> ApprovalRequest:
        async def find() -> ApprovalRequest | None:
            with suppress(
                RPCError, WorkflowQueryFailedError
            ):  # a worker that is busy, or dead, answers no query
                view = await self.handle(id).query("approvals", result_type=ApprovalsView)
                return next((each for each in view.open if each.question.startswith(begins)), None)
            return None

        return await eventually(find)

    async def approve_letters(self, id: str) -> None:
        """Approve what that agent asks; its letter is an object of its own, so no other asks the same."""
        await self.approve(id, await self.asked(id, "Write to 1 candidate "))

    async def approve(self, id: str, request: ApprovalRequest) -> None:
        decision = Decision(
            id=f"yes-{id}-{request.id}",
            request_id=request.id,
            digest=request.digest,
            verdict=Verdict.APPROVE,
            by="ann",
            through="cli",
            at=datetime.now(UTC),
        )
        await self.handle(id).signal("decide", self.fleet.signer.sign(decision, id, datetime.now(UTC)))

    async def writes(self, id: str, text: str) -> None:
        await self.handle(id).signal("mail", mail("c1", text))

    async def forward(self, id: str, **span: float) -> None:
        await self.skipper.fast_forward(self.handle(id), timedelta(**span))

    async def events(self, id: str) -> int:
        """How many its history has, once nothing is under way."""

        async def at_rest() -> int | None:
            described = await self.handle(id).describe()
            raw = described.raw_description
            is_busy = raw.pending_activities or raw.HasField("pending_workflow_task")
            return None if is_busy else described.history_length

        return await eventually(at_rest)

    async def stage(self, id: str) -> str:
        with suppress(RPCError, WorkflowQueryFailedError):
            view = await self.handle(id).query("candidates", result_type=CandidatesView)
            return view.courses["c1"].stage
        return ""


INPUT = recruiter_input(1, questions=[])


def once_each(letters: list[Delivered], ids: list[str]) -> None:
    """Each agent has sent exactly one of these."""
    assert Counter(each.agent for each in letters) == Counter(ids)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("agents", [12, pytest.param(200, marks=pytest.mark.soak)])
async def test_an_answer_in_hour_seventy_wakes_the_right_one_of_many(agents: int, tmp_path: Path) -> None:
    """Letters, 48 hours, follow-ups, an answer, slots, an invitation: each once, through four kills."""
    ids = [f"recruiter-{number:03}" for number in range(agents)]
    right, others = ids[agents * 2 // 3], [id for id in ids if id != ids[agents * 2 // 3]]
    async with Fleet(tmp_path / "data") as fleet:
        doors = Doors(await connect(fleet.settings), fleet)
        await throttled(ids, doors.start)
        await eventually(lambda: all_drafted(fleet, agents))
        amid = max(2, agents // 10)
        await fleet.kill_amid("first", amid, throttled(ids, doors.approve_letters))
        await eventually(lambda: is_out(fleet, "first", agents))

        forwarding = throttled(ids, lambda id: doors.forward(id, hours=48, minutes=2))
        await fleet.kill_amid("follow_up", amid, forwarding)
        await eventually(lambda: is_out(fleet, "follow_up", agents))
        once_each(fleet.outbox.letters("follow_up"), ids)

        await throttled(ids, lambda id: doors.forward(id, hours=22))
        before = await throttled(others, doors.events)
        await fleet.kill_worker()
        await doors.writes(right, "Yes, I am interested.")
        assert fleet.outbox.letters("proposal") == [], "nothing is alive that could answer"
        await fleet.start_worker()
        await eventually(lambda: is_out(fleet, "proposal", 1))
        assert [each.agent for each in fleet.outbox.letters("proposal")] == [right]
        assert await throttled(others, doors.events) == before, "the others sleep on"

        willing = [right, *others[:INVITED]]
        await throttled(willing[1:], lambda id: doors.writes(id, "Yes, gladly"))
        await eventually(lambda: is_out(fleet, "proposal", len(willing)))
        await throttled(willing, lambda id: until_stage(doors, id, "slots_proposed"))
        await throttled(willing, lambda id: doors.writes(id, "number 1"))
        asked = await throttled(willing, lambda id: doors.asked(id, "Invite 1 candidate"))
        requests = dict(zip(willing, asked, strict=True))
        await fleet.kill_amid("invitation", 1, doors.approve(right, requests[right]))
        await throttled(willing[1:], lambda id: doors.approve(id, requests[id]))
        await throttled(willing, lambda id: until_stage(doors, id, "invited"))

        once_each(fleet.outbox.letters("first"), ids)
        once_each(fleet.outbox.letters("follow_up"), ids)
        once_each(fleet.outbox.letters("proposal"), willing)
        once_each(fleet.outbox.letters("invitation"), willing)
        print(f"killed when {amid} letters were out, {amid} follow-ups, an invitation, and amid nothing")


async def all_drafted(fleet: Fleet, count: int) -> bool:
    return len(list((fleet.settings.data_dir / "recruiting").glob("*/letters.md"))) == count


async def is_out(fleet: Fleet, kind: str, count: int) -> bool:
    return len({each.key for each in fleet.outbox.letters(kind)}) >= count


async def until_stage(doors: Doors, id: str, stage: str) -> None:
    async def reached() -> bool:
        return await doors.stage(id) == stage

    await eventually(reached)

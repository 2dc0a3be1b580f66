"""Compares what witnesses saw with what agents report, and with what was acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from bench.peers.chaos.agents import Case
from bench.peers.chaos.outside import Outside
from bench.peers.chaos.people import People
from common.agent_objects import PREFIX
from common.agents.kinds import KINDS
from common.agents.states import RunStatus
from common.client.client import AgentClient
from common.client.view import AgentView
from common.mail import UNMATCHED
from common.notices.types import COURIER, DeliveryLog
from common.object_store import FolderStore, ObjectStore
from tests.support.mail.dovecot import Dovecot

WRONGS = ("lost", "duplicated", "missing", "forbidden", "failed", "needing_human")
OTHERS = ("effects", "set_aside", "unknown_letters", "notices", "notices_under_way")
PATIENCE = timedelta(seconds=60)
# Many, since a worker on a busy machine misses many queries.
VIEWS = 90
# Within this many seconds of any fault, somebody listens to the mailbox again.
LISTENS_WITHIN = 90.0


@dataclass(frozen=True)
class Witnesses:
    """Access to what was seen outside, what people remember, and the agents; `data` is the data folder."""

    people: People
    client: Client
    agent_client: AgentClient
    outside: Outside
    data: Path

    async def compare(
        self, cases: Sequence[Case], still_open: Collection[Case], off: Collection[int]
    ) -> dict[str, Any]:
        """The figures; `why` explains what is wrong.

        Args:
            cases: all agents that people started, as cases.
            still_open: those that have not ended.
            off: process ids of workers whose clocks were off.
        """
        found = Counter[str](dict.fromkeys((*WRONGS, *OTHERS), 0))
        why: list[str] = []

        def note(who: str, seen: Counter[str], words: str = "") -> None:
            found.update(seen)
            if wrong := {name: seen[name] for name in (*WRONGS, "set_aside") if seen[name]}:
                why.append(f"{who}: {wrong} {words}".rstrip())

        for case in cases:
            note(case.id, *await self._of(case, case in still_open))
        note("the journals of fixes", _written_twice(FolderStore(self.data / "objects")))
        note("the web site", Counter(duplicated=self.outside.web.put_twice))
        note("notices in Slack", await _posted(self.client, self.outside))
        if self.outside.imap:
            note("the mailbox", Counter(lost=await _not_handed_on(self.outside.imap)))
        found["needing_human"] += found.pop("set_aside")
        tasks = sum([await _tasks_of(self.client, case.id, off) for case in cases])
        kinds = ", ".join(f"'{kind}'" for kind in KINDS)
        agents = (await self.client.count_workflows(f"WorkflowType IN ({kinds})")).count
        return {"agents": agents, **found, "tasks_with_clock_off": tasks, "why": why}

    async def _of(self, case: Case, is_open: bool) -> tuple[Counter[str], str]:
        """What is wrong with one agent, and details that help to see why."""
        if is_open:
            view = await self.agent_client.view(case.id)
            words = f"still {view.state} at {view.node}: {_last(view)}"
            return Counter(needing_human=1), f"{words}; {await _pending(self.agent_client, case.id)}"
        view = await _view(self.agent_client, case.id)
        if view.status is not RunStatus.COMPLETED:
            return Counter(failed=1), f"{view.status}: {view.failure}"
        seen = case.witnessed(view.result)
        for id in {case.id, *case.asking}:
            seen.update(await _lost(self.people, self.agent_client, id))
        return seen, _last(view)


async def _view(agent_client: AgentClient, id: str) -> AgentView:
    """The view answered by a worker; without one, the agent's own knowledge would be missing."""
    for _ in range(VIEWS):
        view = await agent_client.view(id)
        if view.live:
            return view
        await asyncio.sleep(1)
    raise RuntimeError(f"no worker answers for {id}")


def _last(view: AgentView) -> str:
    """Its last notebook lines, and items of a batch that were set aside, with the reasons."""
    aside = view.batch.set_aside if view.batch else ()
    return "; ".join(
        [
            *(f"{line.node}: {line.text}" for line in view.notebook[-4:]),
            *(f"{each.key}: {each.reason}" for each in aside),
        ]
    )


async def _pending(agent_client: AgentClient, id: str) -> str:
    """The activities that an agent waits for, with their failures."""
    pending = (await agent_client.describe(id)).raw_description.pending_activities
    return "; ".join(
        f"{each.activity_type.name}, attempt {each.attempt}: {each.last_failure.message[:200]}"
        for each in pending
    )


async def _lost(people: People, agent_client: AgentClient, id: str) -> Counter[str]:
    """Count acknowledged decisions and messages that the agent does not know of."""
    lost = 0
    if decisions := people.decisions.get(id):
        view = await _view(agent_client, id)
        lost += len(decisions - {each.decision.id for each in view.decisions})
    for receipt in people.receipts.get(id, ()):
        lost += await agent_client.receipt(id, receipt, PATIENCE) is None
    return Counter(lost=lost)


def _written_twice(objects: ObjectStore) -> Counter[str]:
    written = Counter(
        each.key.partition(".done-")[0]
        for each in objects.list(PREFIX)
        if "/work/apply/" in each.key and ".done-" in each.key
    )
    return Counter(duplicated=sum(written.values()) - len(written))


async def _not_handed_on(mailbox: Dovecot) -> int:
    """Mails that no agent got, after the listener has had time to come back."""
    for _ in range(round(LISTENS_WITHIN)):
        if not mailbox.holds():
            break
        await asyncio.sleep(1)
    return len(mailbox.holds()) + len(mailbox.holds(UNMATCHED))


async def _posted(client: Client, outside: Outside) -> Counter[str]:
    """Check that each delivered notice is in Slack exactly once; one in progress may be."""
    posted = outside.notices()
    seen = Counter(
        effects=len(posted), notices=len(posted), duplicated=sum(count - 1 for count in posted.values())
    )
    async for courier in client.list_workflows(f"WorkflowType = '{COURIER}'"):
        if courier.status is not WorkflowExecutionStatus.COMPLETED:
            seen["notices_under_way" if courier.status is WorkflowExecutionStatus.RUNNING else "failed"] += 1
            continue
        log: DeliveryLog = await client.get_workflow_handle(courier.id, result_type=DeliveryLog).result()
        told = any(each.delivered and each.way == "slack" for each in log.receipts)
        seen["missing"] += told and not posted[courier.id.removeprefix("notice:")]
        seen["missing"] += any(each.failed for each in log.receipts)
    return seen


async def _tasks_of(client: Client, id: str, workers: Collection[int]) -> int:
    """How many of an agent's activities these workers started."""
    count = 0
    try:
        async for event in client.get_workflow_handle(id).fetch_history_events():
            if event.HasField("activity_task_started_event_attributes"):
                identity = event.activity_task_started_event_attributes.identity
                count += any(identity.startswith(f"{pid}@") for pid in workers)
    except RPCError:
        pass
    return count

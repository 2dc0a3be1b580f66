"""Records histories of agents: `python -m tests.replay.record [KIND|STORY …]`. Renew them only on purpose.

Each is an agent as people use it: approved, looked at, revised, rejected, changed in between, failed, and one
that sleeps at its approval, as agents do when new code comes; and one in histories that start afresh, a file
for each (`buyer-afresh@2`), which begins with what the one before has carried over.
`tests/support/worlds.py` is where they live.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHistory

from activities.quotes.csv_feed import seek_replay
from activities.recruiting.memory import CandidatesView
from cli.archive import archive_run
from cli.forgetting import forget
from common.agents.batch import PAGE, BatchCommand, BatchItem, page_prefix
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.approval.types import Verdict
from common.archive.layout import ARCHIVIST, ERASER
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.view import AgentView
from common.digest import digest_bytes
from common.mail import MAILROOM, IncomingMail, MailKind, MailroomRequest
from common.notices.types import COURIER
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.replay.fingerprints import NEWEST
from tests.support.limits import QUICK_TASKS, short_histories
from tests.support.stack import Stack
from tests.support.worlds import (
    FOLDER,
    AuditWorld,
    BatchWorld,
    ContractReaderWorld,
    ContractWorld,
    IndexWorld,
    MailWorld,
    MarketWorld,
    ServedWorld,
    SiteWorld,
    World,
)

# Of a recorded batch.
ITEMS = ("one", "two")


async def asked(agents: AgentClient, id: str, after: str = "") -> AgentView:
    async def find() -> AgentView | None:
        view = await agents.view(id)
        return view if view.approval and view.approval.id != after else None

    return await eventually(find)


async def decide(agents: AgentClient, id: str, verdict: Verdict = Verdict.APPROVE, **more: Any) -> None:
    await agents.decide(id, verdict, by="local", through="cli", **more)


async def approved(agents: AgentClient, id: str, world: World) -> None:
    await asked(agents, id)
    await decide(agents, id)


async def kept(agents: AgentClient, id: str, world: World) -> None:
    """As `approved`, by code that keeps what it found: the other audits were recorded before it did."""
    await approved(agents, id, world)


async def looked(agents: AgentClient, id: str, world: World) -> None:
    view = await asked(agents, id)
    assert view.approval
    assert await agents.refresh_premises(id, view.approval.id, timedelta(minutes=1))
    await decide(agents, id)


async def revised(agents: AgentClient, id: str, world: World) -> None:
    await asked(agents, id)
    await agents.tell(id, "leave the mail alone")
    await agents.pause(id)
    await decide(agents, id, Verdict.REVISE, edits={"skip": ["shop/mail.py"]})
    await agents.resume(id)


async def rejected(agents: AgentClient, id: str, world: World) -> None:
    await asked(agents, id)
    await decide(agents, id, Verdict.REJECT, note="not now")


async def changed(agents: AgentClient, id: str, world: World) -> None:
    first = await asked(agents, id)
    world.change(id)
    await decide(agents, id)
    assert first.approval
    await asked(agents, id, after=first.approval.id)
    await decide(agents, id)


async def drifted(agents: AgentClient, id: str, world: World) -> None:
    await changed(agents, id, world)


async def within(agents: AgentClient, id: str, world: World) -> None:
    """The price moves meanwhile, by less than the plan tolerates."""
    await asked(agents, id)
    seek_replay(FOLDER / "data" / "quotes.db", datetime(2008, 11, 4, tzinfo=UTC), datetime.now(UTC))
    await decide(agents, id)


async def asleep(agents: AgentClient, id: str, world: World) -> None:
    await asked(agents, id)


async def failed(agents: AgentClient, id: str, world: World) -> None:
    pass  # its folder was never made


async def completed(agents: AgentClient, id: str, world: World) -> None:
    pass  # it asks nobody


async def connected() -> Client:
    return await connect(Settings.read({"HIBERNAUT_DATA_DIR": str(FOLDER / "data")}))


async def writes(id: str, thread: str, text: str) -> None:
    """Mail comes in, as the mailbox hands it on."""
    mail = IncomingMail(
        message_id=f"<{thread}-{digest_bytes(text.encode())[:8]}@example.com>",
        thread=thread,
        kind=MailKind.ANSWER,
        sender=f"{thread}@example.com",
        subject="Re: Keeper of tides",
        text=text,
        received_at=datetime.now(UTC),
    )
    await (await connected()).get_workflow_handle(id).signal("mail", mail)


async def staged(id: str, candidate: str, stage: str) -> None:
    handle = (await connected()).get_workflow_handle(id)

    async def find() -> bool:
        view = await handle.query("candidates", result_type=CandidatesView)
        return view.courses[candidate].stage == stage

    await eventually(find)


async def waiting(agents: AgentClient, id: str, world: World) -> None:
    await approved(agents, id, world)
    await staged(id, "c2", "asked")


async def answered(agents: AgentClient, id: str, world: World) -> None:
    first = await asked(agents, id)
    await decide(agents, id)
    await staged(id, "c2", "asked")
    await writes(id, "c1", "Yes, I am interested.")
    await writes(id, "c2", "What does it pay?")
    await staged(id, "c1", "slots_proposed")
    assert first.approval
    reply = await asked(agents, id, after=first.approval.id)
    await decide(agents, id, Verdict.REVISE, edits={"text": "It pays well."})
    await staged(id, "c2", "asked")
    await writes(id, "c1", "Number 2 works for me.")
    assert reply.approval
    await asked(agents, id, after=reply.approval.id)
    await decide(agents, id)
    await staged(id, "c1", "invited")
    await writes(id, "c2", "No thank you, I have accepted another offer.")
    await writes(id, "c1", "I have to withdraw, sorry.")


async def gathered(agents: AgentClient, id: str, world: World) -> None:
    """One item of a batch is approved and the other rejected; meanwhile a pause, and another width."""
    await dormant(agents, id, world)
    await agents.pause(id)
    command = BatchCommand(at_once=1, more=(BatchItem(key="one", argument={}),))
    await (await connected()).get_workflow_handle(id).signal("batch", command)
    await decide(agents, f"{id}.one")
    await decide(agents, f"{id}.two", Verdict.REJECT, note="too dear")
    await agents.resume(id)


async def dormant(agents: AgentClient, id: str, world: World) -> None:
    """Both items wait for their approval, and with them the batch."""
    for item in ITEMS:
        await item_asks(agents, f"{id}.{item}")


async def item_asks(agents: AgentClient, id: str) -> None:
    async def exists() -> bool:
        with suppress(NoSuchAgentError):
            return bool(await agents.describe(id))
        return False

    await eventually(exists)
    await asked(agents, id)


async def widened(agents: AgentClient, id: str, world: World) -> None:
    """One item after the other, until there is room for both."""
    await item_asks(agents, f"{id}.one")
    await (await connected()).get_workflow_handle(id).signal("batch", BatchCommand(at_once=2))
    for item in ITEMS:
        await item_asks(agents, f"{id}.{item}")
        await decide(agents, f"{id}.{item}")


async def paged(agents: AgentClient, id: str, world: World) -> None:
    """As `approved`, with the page of a batch whose items are no agents."""
    await approved(agents, id, world)


async def together(agents: AgentClient, id: str, world: World) -> None:
    """As `paged`, since one call does several items."""
    await approved(agents, id, world)


async def served(agents: AgentClient, id: str, world: World) -> None:
    """People are told by couriers. What else serves agents works once it has ended, see `serving`."""
    await rejected(agents, id, world)


async def serving(id: str) -> dict[str, WorkflowHistory]:
    """The histories of what serves agents: a courier of this one's, archivist, eraser, mail listener."""
    client = await connected()
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(FOLDER / "data")})

    async def history_of(id: str) -> WorkflowHistory:
        return await client.get_workflow_handle(id).fetch_history()

    async def courier() -> str | None:
        found = client.list_workflows(f"WorkflowType = '{COURIER}' AND ExecutionStatus = 'Completed'")
        return min([each.id async for each in found if each.id.find(id) >= 0], default=None)

    histories = {COURIER: await history_of(await eventually(courier))}
    await archive_run(settings, timedelta(), dry_run=False, as_json=True)
    histories[ARCHIVIST] = await history_of(ARCHIVIST)
    await forget(settings, "local", dry_run=False, yes=True)
    histories[ERASER] = await history_of(ARCHIVIST)
    signed = sign_start(MAILROOM, MailroomRequest(), Signer.load(settings))
    listener = await client.start_workflow(MAILROOM, signed, id=MAILROOM, task_queue=settings.task_queue)
    with suppress(WorkflowFailureError):  # there is no mailbox to listen at
        await listener.result()
    histories[MAILROOM] = await history_of(MAILROOM)
    return histories


async def parts_of(id: str, items: Sequence[str] = ITEMS) -> dict[str, str]:
    """The workflows of a batch by the names of their files. Those of agents are their ids."""
    described = (await (await connected()).get_workflow_handle(id).describe()).raw_description
    page = page_prefix(id, described.workflow_execution_info.first_run_id) + "1"
    return {f"{PAGE}-{id.rpartition('-')[2]}": page} | {f"{id}.{item}": f"{id}.{item}" for item in items}


async def told(agents: AgentClient, id: str, world: World) -> None:
    await watching(agents, id, world)
    for words in ("for 3 days more", "buy low", "change above 5 to below 50 alert", "report now"):
        await agents.tell(id, words)
    await asked(agents, id)
    await agents.pause(id)
    await agents.resume(id)
    await agents.tell(id, "finish now")


async def watching(agents: AgentClient, id: str, world: World) -> None:
    async def find() -> bool:
        return (await agents.view(id)).waiting_for == "the next price"

    await eventually(find)


async def moved(agents: AgentClient, id: str, world: World) -> None:
    """The end of its sleep is moved, and it is paused, over histories that start afresh."""
    await watching(agents, id, world)
    await agents.wake(id, datetime.now(UTC) + timedelta(days=2))
    await agents.pause(id)
    paused_in = await talked_into_another(agents, id)
    await agents.resume(id)
    assert await talked_into_another(agents, id) != paused_in
    await agents.tell(id, "finish now")


async def talked_into_another(agents: AgentClient, id: str) -> str:
    """Have an agent's history start afresh by talking to it; the run that began."""
    before = (await agents.describe(id)).run_id
    for number in range(SHORT):
        await agents.tell(id, f"every {5 + number} minutes")

        async def heard(number: int = number) -> bool:
            return any(
                f"every {5 + number} minutes" in each.text for each in (await agents.view(id)).notebook
            )

        await eventually(heard)
        if (now := (await agents.describe(id)).run_id) != before:
            return now or ""
    raise AssertionError("its history was never started afresh")


async def afresh(agents: AgentClient, id: str, world: World) -> None:
    """The richest story of its kind, in histories that start afresh again and again."""
    await AFRESH[type(world)](agents, id, world)


Story = Callable[[AgentClient, str, World], Awaitable[None]]
STORIES: dict[type[World], tuple[Story, ...]] = {
    AuditWorld: (approved, kept, looked, revised, rejected, changed, asleep, failed, afresh),
    MarketWorld: (approved, looked, rejected, drifted, asleep, within, afresh),
    BatchWorld: (gathered, dormant, widened, afresh),
    IndexWorld: (approved, rejected, told, watching, afresh, moved),
    ContractWorld: (approved, paged, together, rejected, changed, asleep, afresh),
    ContractReaderWorld: (completed,),
    SiteWorld: (approved, looked, rejected, changed, asleep, afresh),
    MailWorld: (answered, rejected, asleep, waiting, afresh),
    ServedWorld: (served,),
}
AFRESH: dict[type[World], Story] = {
    AuditWorld: changed,
    MarketWorld: drifted,
    BatchWorld: gathered,
    IndexWorld: told,
    ContractWorld: changed,
    SiteWorld: changed,
    MailWorld: answered,
}
# A fresh history is suggested after so many events; that of an agent as short as these never is otherwise.
SHORT = 25
IN_SHORT_HISTORIES = (afresh, moved)


async def record(world: World, stories: Sequence[Story]) -> None:
    """Play stories of a kind and write their histories."""
    limits = QUICK_TASKS | (short_histories(SHORT) if {*stories} & {*IN_SHORT_HISTORIES} else {})
    shutil.rmtree(FOLDER, ignore_errors=True)
    async with Stack(FOLDER / "data", limits) as stack:
        agents = await stack.agents()
        client = await connect(stack.settings)
        for story in stories:
            # The file's name is the agent's id: what an agent does depends on its id.
            name = f"{world.kind}-{story.__name__}"
            input = world.prepare(name, exists=story is not failed)
            await agents.start(world.kind, input, id=name, owner="local")
            await story(agents, name, world)
            if story not in (asleep, waiting, dormant, watching):
                try:
                    await client.get_workflow_handle(name).result()
                except WorkflowFailureError:
                    assert story is failed
            if story in IN_SHORT_HISTORIES:
                await write_runs(client, name)
                continue
            parts = await parts_of(name) if isinstance(world, BatchWorld) else {}
            if story in (paged, together):
                parts = await parts_of(name, ())
            for part, id in {name: name, **parts}.items():
                write(part, await client.get_workflow_handle(id).fetch_history())
            if story is served:
                for part, history in (await serving(name)).items():
                    write(f"{part}-served", history)
    shutil.rmtree(FOLDER)


async def write_runs(client: Client, name: str) -> None:
    """Keep the history of every run of an agent."""
    for old in (NEWEST).glob(f"{name}@*"):
        old.unlink()
    described = (await client.get_workflow_handle(name).describe()).raw_description
    run_id, number = described.workflow_execution_info.first_run_id, 0
    while run_id:
        number += 1
        history = await client.get_workflow_handle(name, run_id=run_id).fetch_history()
        write(f"{name}@{number}", history)
        last = history.events[-1].workflow_execution_continued_as_new_event_attributes
        run_id = last.new_execution_run_id
    assert number > 1, "it was never started afresh"


def write(name: str, history: WorkflowHistory) -> None:
    """Keep a history, without what tells where it was recorded."""
    text = re.sub(r'"identity": "[^"]*"', '"identity": "recorder"', history.to_json())
    text = re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', text)
    text = text.replace(os.uname().nodename, "recorder")
    file = NEWEST / f"{name}.json"
    file.write_text(json.dumps(json.loads(text), indent=1) + "\n")
    print(file.name, len(history.events), "events")


async def main(words: list[str]) -> None:
    """Record the kinds and stories named, or all."""
    for made, stories in STORIES.items():
        wanted = [each for each in stories if not words or {made.kind, each.__name__} & {*words}]
        # Those in short histories have a server of their own.
        for short in (False, True):
            part = [each for each in wanted if (each in IN_SHORT_HISTORIES) is short]
            if part:
                with made() as world:
                    await record(world, part)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

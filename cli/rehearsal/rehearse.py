"""`starter.py rehearse`: shows in minutes what an agent would do in weeks, without doing it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.common import SearchAttributePair, TypedSearchAttributes

from cli.inputs import kind_named, read_input
from cli.output import CommandError, ExitCode, print_document, say
from cli.rehearsal.answers import AnswerScript, read_script
from cli.rehearsal.director import Director
from cli.rehearsal.page import page_of
from cli.rehearsal.show import lines_of
from cli.rehearsal.story import EndState, Rehearsed, Story, machine_independent, to_minute
from cli.rehearsal.world import World, world
from common.agents.agent import AgentInput
from common.agents.kinds import Kind
from common.agents.states import RunStatus
from common.approval.floors import Floors
from common.approval.groups import Directory
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.client.view import AgentView
from common.files import write_atomically
from common.grammar import rounded
from common.notices.routes import Routes
from common.notices.types import Notice, NoticeEvent
from common.settings import Settings, SettingsError
from common.temporal import search_attributes
from common.temporal.connect import connect

TELLS_EVERY = 10.0


@dataclass(frozen=True)
class Wanted:
    """What to rehearse.

    Attributes:
        kind: the kind of agent, and its `input`.
        script: what people answer.
        owner: whom the agent works for.
        lasts: its longest life, in its own time.
        begins: when it starts, in its own time; None means now.
        within: time limit of the rehearsal, in real time.
    """

    kind: Kind
    input: AgentInput
    script: AnswerScript
    owner: str
    lasts: timedelta
    begins: datetime | None
    within: timedelta


async def rehearse(
    settings: Settings,
    kind_name: str,
    source: str | None,
    words: Sequence[str],
    answers: str,
    owner: str,
    lasts: timedelta,
    begins: datetime | None,
    within: timedelta,
    page: Path | None,
    *,
    as_json: bool,
) -> ExitCode:
    """Rehearse an agent and print what it would do; see also `Wanted`.

    Args:
        settings: the user's own; nothing of theirs is touched.
        kind_name: the kind of agent.
        source: its input, as for `start`.
        words: `name=value` each, as for `start`.
        answers: what people answer, or a file that says so.
        owner: whom the agent works for.
        lasts: its longest life, in its own time.
        begins: when it starts.
        within: time limit of the rehearsal, in real time.
        page: where to write the page; None for no page.
        as_json: print a document.

    Raises:
        CommandError: the input or the answers cannot be used, or nothing can be rehearsed here.
    """
    kind = kind_named(kind_name)
    input, script = read_input(kind, source, words), read_script(answers)
    if begins is not None and begins < datetime.now(UTC):
        raise CommandError(f"--from {begins:%Y-%m-%dT%H:%M}: has passed; time goes forward in a rehearsal.")
    if page is not None and not page.parent.is_dir():
        raise CommandError(f"--html {page}: there is no such folder.")
    wanted = Wanted(kind, input, script, owner, lasts, begins, within)
    rehearsed = await _until_asked_to_end(_rehearsed(settings, wanted))
    if page is not None:
        write_atomically(page, page_of(rehearsed).encode())
        say(f"page: {page}")
    if as_json:
        print_document(rehearsed)
    else:
        print("\n".join(lines_of(rehearsed)), flush=True)
    good = rehearsed.failure is None and rehearsed.status in (RunStatus.COMPLETED, RunStatus.RUNNING)
    return ExitCode.DONE if good else ExitCode.AGENT_FAILED


async def _until_asked_to_end(rehearsal: Coroutine[Any, Any, Rehearsed]) -> Rehearsed:
    """End on SIGTERM and SIGHUP as on Ctrl-C: together with everything it has started."""
    task, loop = asyncio.ensure_future(rehearsal), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _rehearsed(settings: Settings, wanted: Wanted) -> Rehearsed:
    began = time.monotonic()
    say("rehearsing: nothing outside is touched; a server and a worker of its own are started …")
    async with world(settings, wanted.script.activities) as stage:
        rehearsed = await rehearse_in(stage, settings, wanted)
    return rehearsed.model_copy(update={"seconds": round(time.monotonic() - began, 1)})


async def rehearse_in(stage: World, settings: Settings, wanted: Wanted, id: str = "") -> Rehearsed:
    """Rehearse an agent in an existing world.

    Args:
        stage: the world.
        settings: the user's own.
        wanted: what to rehearse.
        id: the agent's id; `KIND-rehearsed` if not given.

    Raises:
        AgentClientError: this agent may not be started.
        UnusableValueError: likewise.
    """
    began, id, own = time.monotonic(), id or f"{wanted.kind.name}-rehearsed", stage.settings
    client, signer, directory = await connect(own), Signer.load(own), Directory.load(own)
    agents, story = AgentClient(client, own, signer), Story(_routes(settings), Floors.load(own))
    director = Director(client, id, wanted.script, story, signer, directory, stage)
    await agents.check_start(wanted.kind.name, wanted.input, wanted.owner)
    now = datetime.now(UTC)
    begins = wanted.begins or now
    await client.start_workflow(
        wanted.kind.name,
        wanted.input,
        id=id,
        task_queue=own.task_queue,
        start_delay=begins - now if begins > now else None,
        search_attributes=TypedSearchAttributes([SearchAttributePair(search_attributes.OWNER, wanted.owner)]),
    )
    telling = asyncio.create_task(_tell_how_far(director, begins))
    try:
        async with asyncio.timeout(wanted.within.total_seconds()):
            ended = await director.lead(begins, begins + wanted.lasts)
    except TimeoutError:
        ended = EndState.REAL
    finally:
        telling.cancel()
    view = await agents.view(id)
    until = to_minute(_end(view, story) or director.agent.now)
    rehearsed = Rehearsed(
        kind=view.kind,
        agent=view.id,
        owner=view.owner,
        started_at=to_minute(begins),
        until=until,
        simulated=until - to_minute(begins),
        seconds=round(time.monotonic() - began, 1),
        ended=ended,
        status=view.status,
        waiting_for=view.waiting_for,
        wakes=story.wakes,
        timeline=story.timeline,
        stand_ins=story.stand_ins,
        run=story.run,
        cost=view.cost,
        result=view.result,
        failure=view.failure or director.flaw or None,
        notebook=view.notebook,
    )
    return machine_independent(rehearsed, own.data_dir, settings.data_dir)


async def _tell_how_far(director: Director, begins: datetime) -> None:
    while True:
        await asyncio.sleep(TELLS_EVERY)
        say(f"… {rounded(max(director.agent.now - begins, timedelta()))} so far")


def _end(view: AgentView, story: Story) -> datetime | None:
    """When the agent ended; adds the notice people would get. None if it has not ended."""
    if view.running:
        return None
    done = view.status is RunStatus.COMPLETED
    event = NoticeEvent.FINISHED if done else NoticeEvent.FAILED
    at = story.ends.get(view.id)
    if at is not None and not story.has_told(view.id, event):
        # An agent reports its end by itself only on the terminal.
        words = "ended: done" if done else f"failed: {view.failure}"
        fields = {"id": "", "agent": view.id, "kind": view.kind, "owner": view.owner}
        story.tell(Notice(**fields, event=event, text=words), at)
    return at


def _routes(settings: Settings) -> Routes | None:
    try:
        return Routes.load(settings)
    except SettingsError as error:
        say(f"warning: whom it would tell is not known: {error}")
        return None

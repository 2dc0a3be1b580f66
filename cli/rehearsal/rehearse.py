"""`starter.py rehearse`: what an agent would do in weeks, in minutes, and without doing anything."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.common import SearchAttributePair, TypedSearchAttributes

from cli.inputs import kind_named, read_input
from cli.output import CommandError, ExitCode, print_document, say
from cli.rehearsal.answers import Script, read_script
from cli.rehearsal.director import Director
from cli.rehearsal.page import page_of
from cli.rehearsal.show import lines_of
from cli.rehearsal.story import Ended, Rehearsed, Story, as_at_home, to_minute
from cli.rehearsal.world import World, world
from common.agents.agent import AgentInput
from common.agents.kinds import Kind
from common.approval.floors import Floors
from common.approval.groups import Directory
from common.approval.signing import Signer
from common.artifacts import write_atomically
from common.client.client import AgentClient
from common.client.view import AgentView, RunStatus
from common.notices.routes import Routes
from common.notices.types import Notice, NoticeEvent
from common.settings import Settings, SettingsError
from common.temporal import search_attributes
from common.temporal.connect import connect


async def rehearse(
    settings: Settings,
    kind_name: str,
    source: str | None,
    words: Sequence[str],
    answers: str,
    owner: str,
    simulated: timedelta,
    begins: datetime | None,
    real: timedelta,
    page: Path | None,
    *,
    as_json: bool,
) -> ExitCode:
    """Rehearse an agent and print what it would do.

    Args:
        settings: the user's own, of which nothing is touched.
        kind_name: the kind of agent.
        source: its input as for `start`, and `words` likewise.
        words: `name=value` each.
        answers: what people answer, or the file that says it.
        owner: whom the agent works for.
        simulated: how long it lives at most, in its own time.
        begins: when it starts, in its own time; None is now.
        real: how long that may take at most.
        page: where the page goes; None for none.
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
    rehearsed = await _until_asked_to_end(
        _rehearsed(settings, kind, input, script, owner, simulated, begins, real)
    )
    if page is not None:
        write_atomically(page, page_of(rehearsed).encode())
        say(f"page: {page}")
    if as_json:
        print_document(rehearsed)
    else:
        print("\n".join(lines_of(rehearsed)), flush=True)
    good = rehearsed.status in (RunStatus.COMPLETED, RunStatus.RUNNING)
    return ExitCode.DONE if good else ExitCode.AGENT_FAILED


async def _until_asked_to_end(rehearsal: Coroutine[Any, Any, Rehearsed]) -> Rehearsed:
    """Let SIGTERM and SIGHUP end it as Ctrl-C does: with everything it has started."""
    task, loop = asyncio.ensure_future(rehearsal), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _rehearsed(
    settings: Settings,
    kind: Kind,
    input: AgentInput,
    script: Script,
    owner: str,
    simulated: timedelta,
    begins: datetime | None,
    real: timedelta,
) -> Rehearsed:
    began = time.monotonic()
    say("rehearsing: nothing outside is touched; a server and a worker of its own are started …")
    async with world(settings, script.activities) as stage:
        client = await connect(stage.settings)
        signer, id = Signer.load(stage.settings), f"{kind.name}-rehearsed"
        agents = AgentClient(client, stage.settings, signer)
        await agents.check_start(kind.name, input, owner)
        now = datetime.now(UTC)
        begins = begins or now
        await client.start_workflow(
            kind.name,
            input,
            id=id,
            task_queue=stage.settings.task_queue,
            start_delay=begins - now if begins > now else None,
            search_attributes=TypedSearchAttributes([SearchAttributePair(search_attributes.OWNER, owner)]),
        )
        story = Story(_routes(settings), Floors.load(stage.settings))
        director = Director(client, id, script, story, signer, Directory.load(stage.settings), stage.calls)
        try:
            async with asyncio.timeout(real.total_seconds()):
                ended = await director.lead(begins, begins + simulated)
        except TimeoutError:
            ended = Ended.REAL
        view = await agents.view(id)
        return _told(view, story, director, stage, begins, ended, time.monotonic() - began, settings.data_dir)


def _told(
    view: AgentView,
    story: Story,
    director: Director,
    stage: World,
    begins: datetime,
    ended: Ended,
    seconds: float,
    home: Path,
) -> Rehearsed:
    now = director.agent.now
    if not view.running:
        end = NoticeEvent.FINISHED if view.status is RunStatus.COMPLETED else NoticeEvent.FAILED
        words = "ended: done" if view.status is RunStatus.COMPLETED else f"failed: {view.failure}"
        fields = {"id": "", "agent": view.id, "kind": view.kind, "owner": view.owner}
        now = story.ended_at or now
        if not story.has_told(view.id, end):
            # On the terminal alone an agent says that itself.
            story.tell(Notice(**fields, event=end, text=words), now)
    rehearsed = Rehearsed(
        kind=view.kind,
        agent=view.id,
        owner=view.owner,
        started=to_minute(begins),
        until=to_minute(now),
        simulated=to_minute(now) - to_minute(begins),
        seconds=round(seconds, 1),
        ended=ended,
        status=view.status,
        waiting_for=view.waiting_for,
        wakes=story.wakes,
        timeline=story.timeline,
        stand_ins=story.stand_ins,
        run=story.run,
        cost=view.cost,
        estimated=bool(view.cost.input_tokens),
        result=view.result,
        failure=view.failure,
        notebook=view.notebook,
    )
    return as_at_home(rehearsed, stage.settings.data_dir, home)


def _routes(settings: Settings) -> Routes | None:
    try:
        return Routes.load(settings)
    except SettingsError as error:
        say(f"warning: whom it would tell is not known: {error}")
        return None

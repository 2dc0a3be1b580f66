"""Watches an agent until it closes, through restarts of worker and server."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol, TextIO

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from temporalio.service import RPCError, RPCStatusCode

from cli.clients import open_agents
from cli.deciders import DeciderOf, decider_lookup
from cli.format import approval_lines, headline, notebook_line, progress, summary
from cli.format_batch import SIGNS, bar_parts, batch_lines
from cli.output import ExitCode, print_document
from cli.screens import InPlace, Lines
from common.agents.batch import BatchStatus
from common.agents.states import RunStatus
from common.client.batches import counts, percent
from common.client.client import AgentClient
from common.client.view import AgentView
from common.settings import Settings

# Short, so that an outage shows at once; the loop below outlasts it.
PATIENCE = timedelta(seconds=1)
SHORTEST = 0.5
LONGEST = 3.0  # an agent that sleeps for days need not be polled twice a second
PROGRESS_EVERY = 5.0
LINES_SHOWN = 15
# Number of batch items to show: of those longest in flight, and of those set aside.
IN_FLIGHT_SHOWN = 5
# Colours of the parts of its bar: done, quarantined, in flight, waiting.
COLOURS = ("green", "red", "cyan", "dim")


class Screen(AbstractContextManager["Screen"], Protocol):
    """Where a watched agent is drawn."""

    def draw(self, view: AgentView) -> None:
        """Show the agent as it is now."""

    def outage(self) -> None:
        """Show that Temporal is out of reach and that the watch continues."""


async def watch(settings: Settings, id: str, *, as_json: bool) -> ExitCode:
    """Draw the agent until it has closed; Ctrl-C ends the watch, not the agent."""
    agents = await open_agents(settings, PATIENCE)
    out = sys.stderr if as_json else sys.stdout
    view: AgentView | None = None
    decider_of = decider_lookup(settings)
    with LiveScreen(decider_of) if out.isatty() else PlainScreen(out, decider_of) as screen:
        async for view in views(agents, id, screen):
            screen.draw(view)
    if as_json:
        print_document(view)
    good = view is not None and view.status is RunStatus.COMPLETED
    return ExitCode.DONE if good else ExitCode.AGENT_FAILED


async def views(agents: AgentClient, id: str, screen: Screen) -> AsyncIterator[AgentView]:
    """Yield the agent's view each time it changes, the last one closed."""
    last: AgentView | None = None
    pause = SHORTEST
    while last is None or last.running:
        try:
            view = await agents.view(id)
        except RPCError as error:
            if error.status not in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
                raise
            screen.outage()
            await asyncio.sleep(SHORTEST)
            continue
        if view != last:
            yield view
            pause = SHORTEST
        last = view
        if view.running:
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, LONGEST)


class PlainScreen(Lines):
    """Prints an agent as lines: what is new since the last drawing."""

    def __init__(self, out: TextIO, decider_of: DeciderOf | None = None) -> None:
        super().__init__(out)
        self._decider_of = decider_of
        self._told = 0
        self._headline = ""
        self._asked: set[str] = set()
        self._progress = ""
        self._progress_at = 0.0
        self._out_of_reach = False

    def draw(self, view: AgentView) -> None:
        """Print new notebook lines, a changed state, progress now and then, and an open question once."""
        self._out_of_reach = False
        total = view.dropped + len(view.notebook)
        for entry in view.notebook[max(0, self._told - view.dropped) :]:
            self._print(notebook_line(entry))
        self._told = max(self._told, total)
        if (words := headline(view)) != self._headline:
            self._headline = words
            self._print(words)
        for request in view.requests:
            if request.id not in self._asked:
                self._asked.add(request.id)
                self._print(
                    "\n".join(approval_lines(view.id, view.kind, request, decider_of=self._decider_of))
                )
        counted = f"{percent(batch)}, {counts(batch)}" if (batch := view.batch) else progress(view.progress)
        if counted != self._progress and time.monotonic() - self._progress_at > PROGRESS_EVERY:
            self._progress, self._progress_at = counted, time.monotonic()
            self._print(f"progress: {counted}")

    def outage(self) -> None:
        """Print it once for each outage."""
        if not self._out_of_reach:
            self._out_of_reach = True
            self._print("reconnecting…")


class LiveScreen(InPlace):
    """Shows an agent on a terminal, drawn in place."""

    def __init__(self, decider_of: DeciderOf | None = None) -> None:
        super().__init__()
        self._decider_of = decider_of
        self._last: RenderableType = Text("")

    def draw(self, view: AgentView) -> None:
        """Draw the agent in place of the last drawing."""
        grid = Table.grid(padding=(0, 2))
        for name, value in summary(view):
            is_bar = view.batch is not None and name == "progress"
            grid.add_row(Text(name, style="dim"), _bar(view.batch) if is_bar else Text(value))
        parts: list[RenderableType] = [grid]
        if view.batch:
            parts += [Text(line, no_wrap=True) for line in batch_lines(view.batch, IN_FLIGHT_SHOWN)]
        elif view.progress.total:
            parts.append(ProgressBar(total=view.progress.total, completed=view.progress.done, width=60))
        if not view.live:
            parts.append(Text("no worker answers now; this is what Temporal itself knows", style="yellow"))
        if view.notebook:
            parts.append(Text(""))
        parts += [Text(notebook_line(entry), no_wrap=True) for entry in view.notebook[-LINES_SHOWN:]]
        parts += [
            Panel(Text("\n".join(approval_lines(view.id, view.kind, request, decider_of=self._decider_of))))
            for request in view.requests
        ]
        self._last = Group(*parts)
        self._live.update(self._last, refresh=True)

    def outage(self) -> None:
        """Draw the last known state with a line below it."""
        self._live.update(Group(self._last, Text("reconnecting…", style="yellow")), refresh=True)


def _bar(batch: BatchStatus | None) -> Text:
    """A batch's bar, each part in its own colour."""
    if batch is None or not batch.items:
        return Text("no items")
    parts = zip(SIGNS, bar_parts(batch), COLOURS, strict=True)
    return Text.assemble(*((sign * part, colour) for sign, part, colour in parts), f" {percent(batch)}")

"""Watches all agents that match a filter, until none is running."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.text import Text
from temporalio.service import RPCError, RPCStatusCode

from cli.clients import open_agents
from cli.format import ROW_COLUMNS, headline, row_cells
from cli.inputs import kind_named
from cli.output import CommandError, ExitCode, print_document, say
from cli.screens import InPlace, Lines
from cli.table import table_lines
from cli.watch import PATIENCE
from common.agents.states import RunStatus
from common.client.client import AgentClient
from common.client.filters import AgentFilter
from common.client.rows import AgentRow
from common.settings import Settings

EVERY = 2.0  # seconds; visibility lags by about one
MAX_AGENTS = 1000
MAX_DIAGNOSED = 20  # how many possibly troubled agents to diagnose each time


async def watch_many(settings: Settings, wanted: AgentFilter, *, as_json: bool) -> ExitCode:
    """Show the agents until none is running; Ctrl-C ends the watch, not them.

    Raises:
        CommandError: the filter is empty, or nothing matches.
    """
    if wanted == AgentFilter():
        raise CommandError("say what to watch: the ID of an agent, or --kind, --owner or --batch.")
    agents = await open_agents(settings, PATIENCE)
    rows = await _rows_of(agents, wanted)
    if not rows:
        if wanted.kind:
            kind_named(wanted.kind)  # it may be misspelt
        raise CommandError("no agent matches.", ExitCode.NO_SUCH_AGENT)
    out = sys.stderr if as_json else sys.stdout
    with LiveTable() if out.isatty() else ChangedRows(out) as screen:
        screen.draw(rows)
        while any(row.running for row in rows):
            await asyncio.sleep(EVERY)
            try:
                rows = await _rows_of(agents, wanted)
            except RPCError as error:
                if error.status not in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
                    raise
                say("reconnecting…")
            else:
                screen.draw(rows)
    if as_json:
        print_document(rows)
    say(_counted(rows))
    good = all(row.status is RunStatus.COMPLETED for row in rows)
    return ExitCode.DONE if good else ExitCode.AGENT_FAILED


async def _rows_of(agents: AgentClient, wanted: AgentFilter) -> list[AgentRow]:
    """The agents that match, a few of them diagnosed for trouble."""
    rows = await agents.list_agents(wanted, MAX_AGENTS)
    await agents.diagnosis.look(rows, datetime.now(UTC), most=MAX_DIAGNOSED, patience=PATIENCE)
    return rows


class ChangedRows(Lines):
    """Prints a line for each agent whose state or node has changed."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._told: dict[str, str] = {}

    def draw(self, rows: Sequence[AgentRow]) -> None:
        """Print what has changed."""
        for row in reversed(rows):
            line = headline(row)
            if self._told.get(row.run_id) != line:
                self._told[row.run_id] = line
                self._print(line)


class LiveTable(InPlace):
    """A table on a terminal, drawn in place: running agents first, as many as fit."""

    def draw(self, rows: Sequence[AgentRow]) -> None:
        """Draw the agents in place of the last drawing."""
        width, height = self._live.console.size
        first = sorted(rows, key=lambda row: not row.running)
        # Leave out the subject: it does not change, and is not looked up each time.
        cells = [row_cells(row)[:-1] for row in first]
        lines, _ = table_lines(ROW_COLUMNS[:-1], cells, width)
        shown = lines[: max(height - 3, 2)]
        self._live.update(Text("\n".join([*shown, _counted(rows)]), no_wrap=True), refresh=True)


def _counted(rows: Sequence[AgentRow]) -> str:
    """How many agents are in which state."""
    states = Counter(row.state.replace("_", " ") for row in rows)
    return f"{len(rows)} agents: " + ", ".join(f"{count} {state}" for state, count in states.items())

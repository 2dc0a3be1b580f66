"""`starter.py find`: finds agents by their past, in Temporal and in the archive."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from datetime import UTC, datetime

from cli.clients import PATIENCE
from cli.draw import moment
from cli.output import clean, print_document, say
from cli.table import print_table
from common.archive.reader import ArchivedAgents
from common.archive.search import AgentSearch, FoundAgent
from common.client.filters import AgentFilter
from common.settings import Settings
from common.temporal.connect import connect

# In a batch: the agent whose batch it is, then whoever needs somebody, then all others.
_URGENT = {state: place for place, state in enumerate(("stuck", "failed", "awaiting_approval", "paused"))}
COLUMNS = ("id", "kind", "owner", "state", "node", "stuck at", "started", "closed", "where")


async def find(
    settings: Settings,
    wanted: AgentFilter,
    limit: int | None,
    *,
    count: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print the agents that match; stderr says what could not be searched."""
    now = datetime.now(UTC)
    search = AgentSearch(await connect(settings, patience=PATIENCE), ArchivedAgents.open(settings))
    found = await search.find(wanted, now, limit)
    for gap in found.gaps:
        say(gap)
    if count:
        print(len(found.agents))
    elif as_json:
        print_document(found.agents)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([COLUMNS, *(map(_inert, _cells(row)) for row in found.agents)])
    elif found.agents:
        rows = found.agents
        if wanted.batch is not None:
            rows = sorted(rows, key=lambda row: (bool(row.item_of), _URGENT.get(row.state, len(_URGENT))))
            states = Counter(row.state.replace("_", " ") for row in rows)
            words = ", ".join(f"{number} {state}" for state, number in states.items())
            say(f"{len(rows)} agents of batch {wanted.batch}: {words}.")
        print_table([name.upper() for name in COLUMNS], map(_cells, rows))
    else:
        say("no agents match.")


def _cells(row: FoundAgent) -> list[str]:
    where = "archive" if row.archived else "temporal"
    stuck = ", ".join(row.stuck_at)
    times = [moment(row.started_at), moment(row.closed_at)]
    return [row.id, row.kind, row.owner, row.state, row.node, stuck, *times, where]


def _inert(cell: str) -> str:
    """A cell that a spreadsheet takes as text, not as a formula."""
    cell = clean(cell)
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell

"""`starter.py find`: finds agents by their past, in Temporal and in the archive."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio.client import Client

from cli.clients import open_client
from cli.format import moment, trouble_in_words
from cli.inputs import kind_named
from cli.output import clean, print_document, say
from cli.table import print_table
from common.approval.groups import Directory
from common.archive.reader import ArchivedAgents
from common.archive.search import AgentSearch, FoundAgent
from common.client.diagnosis import Diagnosis
from common.client.filters import AgentFilter
from common.settings import Settings

# Order within a batch: the batch's own agent, then those that need somebody, then all others.
_URGENT = {state: place for place, state in enumerate(("stuck", "failed", "awaiting_approval", "paused"))}
TROUBLED = ("id", "kind", "owner", "state", "node", "trouble", "about")
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
    wanted = AgentFilter.model_validate(dict(wanted))  # validate again: `where` was set after parsing
    now = datetime.now(UTC)
    found = await agent_search(await open_client(settings), settings).find(wanted, now, limit)
    if wanted.kind and not found.agents:
        kind_named(wanted.kind)  # it may be misspelt
    for gap in found.gaps:
        say(gap)
    if count:
        print(len(found.agents))
    elif as_json:
        print_document(found.agents)
    elif as_csv:
        columns = (*COLUMNS, "trouble", "about")
        cells = (map(_inert, _cells(row, columns)) for row in found.agents)
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *cells])
    elif found.agents:
        rows = found.agents
        if wanted.batch is not None:
            rows = sorted(rows, key=lambda row: (bool(row.item_of), _URGENT.get(row.state, len(_URGENT))))
            states = Counter(row.state.replace("_", " ") for row in rows)
            words = ", ".join(f"{number} {state}" for state, number in states.items())
            say(f"{len(rows)} agents of batch {wanted.batch}: {words}.")
        shown = TROUBLED if wanted.troubled else (*COLUMNS, "about")
        print_table([name.upper() for name in shown], (_cells(row, shown) for row in rows))
        if wanted.troubled:
            for fix in dict.fromkeys(each.fix for row in rows for each in row.trouble):
                say(f"to do: {fix}.")
    else:
        say("no agent is in trouble." if wanted.troubled else "no agents match.")


def agent_search(client: Client, settings: Settings) -> AgentSearch:
    """A search of the namespace and of its archive."""
    diagnosis = Diagnosis(client, Directory.load(settings), settings.task_queue)
    return AgentSearch(client, ArchivedAgents.open(settings), diagnosis)


def _cells(row: FoundAgent, columns: Sequence[str]) -> list[str]:
    cells = {
        "id": row.id,
        "kind": row.kind,
        "owner": row.owner,
        "state": row.state,
        "node": row.node,
        "stuck at": ", ".join(row.stuck_at),
        "started": moment(row.started_at),
        "closed": moment(row.closed_at),
        "where": "archive" if row.archived else "temporal",
        "trouble": trouble_in_words(row),
        "about": row.subject,
    }
    return [cells[column] for column in columns]


def _inert(cell: str) -> str:
    """A cell that a spreadsheet takes as text, not as a formula."""
    cell = clean(cell)
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell

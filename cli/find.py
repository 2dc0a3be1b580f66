"""`starter.py find`: agents by their past, in Temporal and in the archive, in one answer."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from cli.clients import PATIENCE
from cli.draw import moment
from cli.output import CommandError, clean, print_document, say
from cli.table import print_table
from common.archive.reader import ArchivedAgents
from common.archive.search import AgentQuery, AgentSearch, FoundAgent
from common.client.view import RunStatus
from common.grammar import parse_moment, zone_named
from common.settings import Settings
from common.temporal.connect import connect

COLUMNS = ("id", "kind", "owner", "state", "node", "stuck at", "started", "closed", "where")


@dataclass(frozen=True)
class FindOptions:
    """The options as they were typed."""

    node: str | None
    stuck: bool
    since: str | None
    until: str | None
    zone: str | None
    kind: str | None
    status: str | None
    owner: str | None
    batch: str | None
    text: str | None
    live: bool
    archived: bool

    def query(self, now: datetime) -> AgentQuery:
        """What they ask for.

        Raises:
            UnreadableTimeError: a time cannot be read.
            CommandError: a status that there is not.
        """
        zone = zone_named(self.zone) if self.zone else None
        if self.status is not None and self.status not in list(RunStatus):
            raise CommandError(f"--status {self.status}: say one of {', '.join(RunStatus)}.")
        return AgentQuery(
            node=self.node,
            stuck=self.stuck,
            since=parse_moment(self.since, now, zone) if self.since else None,
            until=parse_moment(self.until, now, zone) if self.until else None,
            kind=self.kind,
            status=RunStatus(self.status) if self.status else None,
            owner=self.owner,
            batch=self.batch,
            text=self.text,
            live=self.live or not self.archived,
            archived=self.archived or not self.live,
        )


async def find(
    settings: Settings,
    options: FindOptions,
    limit: int | None,
    *,
    count: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print who fits; what could not be looked at is said on stderr."""
    now = datetime.now(UTC)
    query = options.query(now)
    search = AgentSearch(await connect(settings, patience=PATIENCE), ArchivedAgents.open(settings))
    found = await search.find(query, now, limit)
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
        print_table([name.upper() for name in COLUMNS], map(_cells, found.agents))
    else:
        say("no agents fit.")


def _cells(row: FoundAgent) -> list[str]:
    where = "archive" if row.archived else "temporal"
    stuck = ", ".join(row.stuck_at)
    times = [moment(row.started_at), moment(row.closed_at)]
    return [row.id, row.kind, row.owner, row.state, row.node, stuck, *times, where]


def _inert(cell: str) -> str:
    """A cell that a spreadsheet takes for words and not for a formula."""
    cell = clean(cell)
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell

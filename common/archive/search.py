"""Finds agents, live and archived, by their past: in Temporal by its visibility, in the archive by its index.

Temporal is asked first. An agent that is being archived is in the index before it leaves Temporal, so it is
in at least one of the answers; if it is in both, it counts once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import Field, JsonValue
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from common.agents.batch import BatchStatus
from common.agents.states import RunStatus
from common.archive.chain import ArchiveDamagedError
from common.archive.index import IndexQuery
from common.archive.layout import IndexRow, utc_days
from common.archive.reader import ArchivedAgents
from common.client.diagnosis import Diagnosis
from common.client.filters import AgentFilter
from common.client.pollers import Pollers
from common.client.rows import AgentRow, row_of
from common.client.subjects import name_subjects
from common.client.view import AgentView, patient_view_of
from common.client.visibility import IN_VISIBILITY, exactly, in_trouble, is_exactly, quote
from common.object_store import ObjectMissingError
from common.temporal import search_attributes

# Days that go into one query as entries `Login@2026-11-22`; over more, entries are compared here.
MAX_DAYS = 62
# A text is searched in agents' answers and in archived views, one by one.
TEXT_LIVE, TEXT_ARCHIVED, TEXT_AT_ONCE = 200, 5000, 4
TEXT_SECONDS = 20.0
# How many running agents are examined for trouble that they do not show, and for how long.
TROUBLED_LOOKS, TROUBLED_PATIENCE = 500, timedelta(seconds=5)


class FoundAgent(AgentRow):
    """An agent that matches, whether it is only in the archive, and how a batch of its stands, if asked."""

    archived: bool = False
    batch: BatchStatus | None = Field(None, exclude_if=lambda batch: batch is None)


@dataclass
class Findings:
    """Agents that match, newest first, and in words what could not be searched."""

    agents: list[FoundAgent]
    gaps: list[str] = field(default_factory=list)


class AgentSearch:
    """Searches Temporal and the archive together.

    Args:
        client: a client of the namespace.
        archived: its archive.
        diagnosis: says what trouble agents are in.
    """

    def __init__(self, client: Client, archived: ArchivedAgents, diagnosis: Diagnosis) -> None:
        self._client, self._archived, self._diagnosis = client, archived, diagnosis

    async def find(self, query: AgentFilter, now: datetime, limit: int | None = None) -> Findings:
        """The newest ``limit`` agents that match; all of them without a limit.

        Raises:
            UnusableValueError: a value that cannot be searched for.
            RPCError, StoreUnavailableError: Temporal or the store cannot be reached.
        """
        gaps: list[str] = []
        enough = None if query.text is not None or query.troubled else limit
        found: dict[tuple[str, str], FoundAgent] = {}
        if query.live:
            rows = [row async for row in self._live(query, now, enough)]
            if query.text is not None:
                rows = await self._saying(rows, query.text, gaps)
            if query.troubled:
                rows = await self._in_trouble(rows, query, now, gaps)
            else:
                await self._diagnosis.look(rows, now)
            await name_subjects(self._client, rows)
            found = {(row.id, row.run_id): row for row in rows}
        if query.archived:
            # This many of them may already be in the first answer.
            most = None if enough is None else enough + len(found)
            wanted = _in_index(query, now, most)
            kept = await asyncio.to_thread(self._archived.index.find, wanted)
            fresh = [
                row for row in kept if (row.id, row.run_id) not in found and _is_stuck_in(row, query, now)
            ]
            if query.text is not None:
                fresh = await self._having(fresh, query.text, gaps)
            found.update(((row.id, row.run_id), _found(row)) for row in fresh)
        agents = sorted(found.values(), key=_newest_first)
        return Findings(agents if limit is None else agents[:limit], gaps)

    async def _live(self, query: AgentFilter, now: datetime, limit: int | None) -> AsyncIterator[FoundAgent]:
        count = 0
        workers = await self._diagnosis.workers() if query.troubled else None
        async for execution in self._client.list_workflows(" AND ".join(_conditions(query, now, workers))):
            row = _live_row(execution)
            if (
                not is_exactly(row, query)
                or not _is_stuck_in(row, query, now)
                or not await self._began_in_time(execution, query)
            ):
                continue
            yield row
            count += 1
            if count == limit:
                return

    async def _in_trouble(
        self, rows: list[FoundAgent], query: AgentFilter, now: datetime, gaps: list[str]
    ) -> list[FoundAgent]:
        """Those of `rows` that are in trouble, and others found by a close look at running agents."""
        others = query.model_copy(update={"troubled": False, "status": RunStatus.RUNNING})
        running = (await self._client.count_workflows(" AND ".join(_conditions(others, now)))).count
        if room := max(0, TROUBLED_LOOKS - len(rows)):
            # These show no trouble, but may have a long history, or a task that no worker takes.
            known = {(row.id, row.run_id) for row in rows}
            more = [row async for row in self._live(others, now, TROUBLED_LOOKS)]
            rows = rows + [row for row in more if (row.id, row.run_id) not in known][:room]
        looked = await self._diagnosis.look(
            rows, now, most=TROUBLED_LOOKS, patience=TROUBLED_PATIENCE, quiet=True
        )
        if running > looked:
            gaps.append(f"{running - looked} of {running} running agents were not looked at closely")
        return [row for row in rows if row.trouble]

    async def _began_in_time(self, execution: WorkflowExecution, query: AgentFilter) -> bool:
        """Whether the agent, and not just its latest run, began before the query's end."""
        if query.until is None or query.stuck or execution.start_time < query.until:
            return True
        try:
            handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
            first = (await handle.describe()).raw_description.workflow_execution_info.first_run_id
            if first == execution.run_id:
                return False
            handle = self._client.get_workflow_handle(execution.id, run_id=first)
            return (await handle.describe()).start_time < query.until
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return True  # Temporal has forgotten the first run, so it is older than all it knows

    async def _saying(self, rows: list[FoundAgent], text: str, gaps: list[str]) -> list[FoundAgent]:
        """The rows whose agents hold the text, among as many as there is time to ask."""

        async def says(row: FoundAgent) -> bool | None:
            try:
                described = await self._client.get_workflow_handle(row.id, run_id=row.run_id).describe()
                view = await patient_view_of(self._client, described)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False  # it has been archived; the index has it
                raise
            found = has_text(view, text)
            return found if found or view.live else None

        return await _filtered(rows, says, TEXT_LIVE, "agents in Temporal", gaps)

    async def _having(self, rows: list[IndexRow], text: str, gaps: list[str]) -> list[IndexRow]:
        async def has(row: IndexRow) -> bool | None:
            try:
                return has_text(await self._archived.view(await self._archived.read(row)), text)
            except ObjectMissingError:
                return False  # it is being erased
            except ArchiveDamagedError:
                return None

        return await _filtered(rows, has, TEXT_ARCHIVED, "archived agents", gaps)


def has_text(view: AgentView, text: str) -> bool:
    """Whether the agent's notebook, questions, decisions, failure or result hold the text, ignoring case."""
    wanted = text.casefold()
    return any(wanted in each.casefold() for each in _texts_of(view))


def _texts_of(view: AgentView) -> Iterator[str]:
    for entry in view.notebook:
        yield entry.text
        yield from _strings(entry.facts)
    for request in view.requests:
        yield request.question
        yield from _strings(request.plan)
    for record in view.decisions:
        yield record.decision.note
    yield view.failure or ""
    yield from _strings(view.result)


def _strings(value: JsonValue | Any) -> Iterator[str]:
    """Every scalar in a JSON value as text, and the names of fields."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif value is not None:
        yield str(value)


async def _filtered(rows: list[Any], fits: Any, most: int, what: str, gaps: list[str]) -> list[Any]:
    """The rows that match, of the first ``most``, within the time allowed; ``gaps`` counts the others."""
    slots, end = asyncio.Semaphore(TEXT_AT_ONCE), time.monotonic() + TEXT_SECONDS

    async def look(row: Any) -> bool | None:
        async with slots:
            return await fits(row) if time.monotonic() < end else None

    answers = await asyncio.gather(*(look(row) for row in rows[:most]))
    unknown = len(rows) - len(answers) + answers.count(None)
    if unknown:
        gaps.append(f"{unknown} of {len(rows)} {what} could not be searched for the text")
    return [row for row, answer in zip(rows, answers, strict=False) if answer]


def _conditions(query: AgentFilter, now: datetime, workers: Pollers | None = None) -> list[str]:
    """The query as conditions for visibility, which let more through if they cannot express all of it.

    To find agents in trouble, it needs the `workers`.
    """
    stuck_at = search_attributes.STUCK_AT.name
    found = exactly(query)
    if workers is not None:
        found += [f"ExecutionStatus = '{IN_VISIBILITY[RunStatus.RUNNING]}'", in_trouble(now, workers)]
    if query.node is not None and not query.stuck:
        found.append(f"{search_attributes.NODE.name} = {quote(query.node)}")
    if query.stuck:
        entries = _entries(query, now)
        found.append(
            f"{stuck_at} IN ({', '.join(map(quote, entries))})" if entries else f"{stuck_at} IS NOT NULL"
        )
    if query.since is not None:
        since = query.since.astimezone(UTC).isoformat()
        found.append(f"(ExecutionStatus = 'Running' OR CloseTime >= '{since}')")
    return found


def _in_index(query: AgentFilter, now: datetime, limit: int | None) -> IndexQuery:
    entries = _entries(query, now) if query.stuck else []
    compares_here = query.stuck and not entries and _days(query, now) is not None
    return IndexQuery(
        since=query.since,
        until=query.until,
        node=None if query.stuck else query.node,
        stuck=tuple(entries),
        ever_stuck=query.stuck and not entries,
        kind=query.kind,
        status=query.status,
        owner=query.owner,
        batch=query.batch,
        limit=None if compares_here else limit,
    )


def _days(query: AgentFilter, now: datetime) -> list[date] | None:
    """The days on which it may have got stuck; None for any day."""
    if query.since is None and query.until is None:
        return None
    until = query.until or now + timedelta(microseconds=1)
    since = query.since or datetime(2000, 1, 1, tzinfo=UTC)
    return utc_days(since, until) if since < until else []


def _entries(query: AgentFilter, now: datetime) -> list[str]:
    """The entries of `AgentStuckAt`, of which a matching agent has one; empty if there are too many."""
    days = _days(query, now)
    if query.node is None or days is None or len(days) > MAX_DAYS:
        return []
    return [f"{query.node}@{day.isoformat()}" for day in days]


def _is_stuck_in(row: FoundAgent | IndexRow, query: AgentFilter, now: datetime) -> bool:
    """Whether the agent got stuck at the node and on the days that are asked for."""
    if not query.stuck:
        return True
    days = _days(query, now)
    wanted = None if days is None else {day.isoformat() for day in days}
    for entry in row.stuck_at:
        node, _, day = entry.rpartition("@")
        if (query.node is None or node == query.node) and (wanted is None or day in wanted):
            return True
    return False


def _live_row(execution: WorkflowExecution) -> FoundAgent:
    return FoundAgent(**dict(row_of(execution)))


def _found(row: IndexRow) -> FoundAgent:
    return FoundAgent(
        id=row.id,
        run_id=row.run_id,
        kind=row.kind,
        owner=row.owner,
        status=row.status,
        state=row.status,
        node=row.node,
        waiting_for=None,
        wake_at=None,
        started_at=row.started,
        closed_at=row.closed,
        stuck_at=row.stuck_at,
        batch_id=row.batch,
        archived=True,
    )


def _newest_first(row: FoundAgent) -> tuple[bool, float, str]:
    """Running agents first, by their start, then closed ones by their close, as visibility orders them."""
    return row.closed_at is not None, -(row.closed_at or row.started_at).timestamp(), row.id

"""A person's agents at a glance, counted in visibility: it never looks at thousands one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from common.agents.states import AgentState, RunStatus
from common.client.filters import AgentFilter
from common.client.inbox import OpenQuestion
from common.client.rows import AgentRow, InboxRow
from common.client.subjects import name_subjects
from common.client.visibility import ASKING, exactly, in_trouble, is_exactly, quote, rows_of, waking
from common.database import DatabaseLostError
from common.model_calls import Spent
from common.temporal import search_attributes
from gateway.auth.authentication import Subject
from gateway.counts import RUNNING, age_of_oldest, count_of
from gateway.services import Gateway

# Days in the calendar, and how many of the next agents to wake are named.
DAYS, NEXT = 14, 5
# How many agents in possible trouble are diagnosed, for how long, and how many are named.
MAX_DIAGNOSED, DIAGNOSIS_TIMEOUT, MAX_TROUBLED = 50, timedelta(seconds=1), 5
QUESTION_PATIENCE = timedelta(seconds=1)
# How many of the first waking day's agents to fetch and sort; visibility does not sort.
SORTED = 200


@dataclass(frozen=True)
class Day:
    """A day of the calendar, and how many agents wake on it."""

    date: date
    count: int


@dataclass(frozen=True)
class Calendar:
    """How many agents wake on each day, are overdue, or wake later; and the `next` ones to wake."""

    days: list[Day]
    overdue: int
    later: int
    next: list[AgentRow]


@dataclass(frozen=True)
class Waiting:
    """What waits for people.

    `mine` counts what waits for the visitor's decision; `oldest` is the oldest of it, and `question` its
    text. `asking` counts agents that ask anybody, the first of them since `since`.
    """

    mine: int
    oldest: InboxRow | None
    question: OpenQuestion | None
    asking: int
    since: datetime


@dataclass(frozen=True)
class Overview:
    """What the front page shows.

    `ended` counts agents that ended in the last day, by status. `spent` is the cost of models today and in
    the last seven days, or None if it is not recorded here.
    """

    states: dict[AgentState, int]
    ended: dict[RunStatus, int]
    waiting: Waiting
    calendar: Calendar
    troubled: list[AgentRow]
    spent: tuple[Spent, Spent] | None

    @property
    def running(self) -> int:
        """How many agents run."""
        return sum(self.states.values())


async def overview_of(
    parts: Gateway, subject: Subject, owner: str | None, now: datetime, zone: ZoneInfo
) -> Overview:
    """The overview of `owner`'s agents, or of everybody's, for a subject; days are days in `zone`."""
    mine = AgentFilter(owner=owner)
    running = [*RUNNING, *_owned(owner)]
    return Overview(
        *await asyncio.gather(
            _states(parts, owner),
            _ended(parts, owner, now),
            _waiting(parts, subject, running, now),
            _calendar(parts, mine, running, now.astimezone(zone)),
            _troubled(parts, mine, running, now),
            asyncio.to_thread(_spent, parts, owner, now),
        )
    )


async def _states(parts: Gateway, owner: str | None) -> dict[AgentState, int]:
    counts = await asyncio.gather(
        *(count_of(parts.client, exactly(AgentFilter(owner=owner, state=state))) for state in AgentState)
    )
    return dict(zip(AgentState, counts, strict=True))


async def _ended(parts: Gateway, owner: str | None, now: datetime) -> dict[RunStatus, int]:
    lately = f"CloseTime >= '{(now - timedelta(days=1)).isoformat()}'"
    closed = [each for each in RunStatus if each is not RunStatus.RUNNING]
    counts = await asyncio.gather(
        *(
            count_of(parts.client, [*exactly(AgentFilter(owner=owner, status=each)), lately])
            for each in closed
        )
    )
    return {status: count for status, count in zip(closed, counts, strict=True) if count}


async def _waiting(parts: Gateway, subject: Subject, running: Sequence[str], now: datetime) -> Waiting:
    rows = await parts.agents.inbox(subject.id)
    oldest = min(rows, key=lambda row: row.started_at, default=None)
    questions = await parts.agents.questions([oldest], QUESTION_PATIENCE) if oldest else {}
    return Waiting(
        mine=sum(row.count for row in rows),
        oldest=oldest,
        question=questions.get((oldest.id, oldest.request_id)) if oldest else None,
        asking=await count_of(parts.client, [*running, ASKING]),
        since=now - timedelta(seconds=await age_of_oldest(parts.client, [*running, ASKING], now)),
    )


async def _calendar(parts: Gateway, mine: AgentFilter, running: Sequence[str], now: datetime) -> Calendar:
    """The calendar, in days of the zone of `now`."""
    zone = now.tzinfo
    begins = [begin_of(now.date() + timedelta(days=number), zone) for number in range(DAYS + 1)]
    spans = [(None, now), *pairwise([now, *begins[1:]]), (begins[-1], None)]
    overdue, *counts, later = await asyncio.gather(
        *(count_of(parts.client, [*running, waking(since, until)]) for since, until in spans)
    )
    days = [Day(at.date(), count) for at, count in zip(begins, counts, strict=False)]
    return Calendar(days, overdue, later, await _next(parts, mine, running, days, zone))


async def _next(
    parts: Gateway, mine: AgentFilter, running: Sequence[str], days: Sequence[Day], zone: tzinfo | None
) -> list[AgentRow]:
    """The agents that wake first, on the first day on which any does."""
    first = next((day.date for day in days if day.count), None)
    if first is None:
        return []
    rows = await rows_of(parts.client, [*running, waking(*span_of(first, zone))], SORTED)
    soonest = sorted((row for row in rows if is_exactly(row, mine)), key=wakes_at)[:NEXT]
    await name_subjects(parts.client, soonest)
    return soonest


def wakes_at(row: AgentRow) -> datetime:
    """Sort key: when it wakes."""
    return row.wake_at or datetime.max.replace(tzinfo=UTC)


def begin_of(day: date, zone: tzinfo | None) -> datetime:
    """When a day begins in a zone."""
    return datetime.combine(day, time(), zone)


def span_of(day: date, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """The beginning and end of a day in a zone; it may last 23 or 25 hours."""
    return begin_of(day, zone), begin_of(day + timedelta(days=1), zone)


async def _troubled(
    parts: Gateway, mine: AgentFilter, running: Sequence[str], now: datetime
) -> list[AgentRow]:
    maybe = in_trouble(now, await parts.agents.diagnosis.workers())
    rows = await rows_of(parts.client, [*running, maybe], MAX_DIAGNOSED)
    rows = [row for row in rows if is_exactly(row, mine)]
    await parts.agents.diagnosis.look(rows, now, most=MAX_DIAGNOSED, patience=DIAGNOSIS_TIMEOUT)
    troubled = [row for row in rows if row.trouble][:MAX_TROUBLED]
    await name_subjects(parts.client, troubled)
    return troubled


def _spent(parts: Gateway, owner: str | None, now: datetime) -> tuple[Spent, Spent] | None:
    days = [now.date() - timedelta(days=back) for back in range(7)]
    try:
        today, week = parts.costs.on(days[:1], owner), parts.costs.on(days, owner)
    except DatabaseLostError:
        return None
    return (today, week) if today and week else None


def _owned(owner: str | None) -> list[str]:
    return [] if owner is None else [f"{search_attributes.OWNER.name} = {quote(owner)}"]

"""Renders a rehearsal as a page: its figures, a strip of events, and the story day by day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from activities.html.render import render
from cli.rehearsal.show import (
    cost_in_words,
    headline,
    plan_in_words,
    stand_ins_in_words,
    waits_for,
)
from cli.rehearsal.story import EndState, Entry, EntryKind, Rehearsed
from common.grammar import rounded

# The strip, in its own units: where lanes begin, their width, and their distance.
LEFT, WIDTH, LANE = 64, 620, 22
# From top to bottom: what the agent does by itself, then what people do.
LANES = (EntryKind.WAKES, EntryKind.TELLS, EntryKind.ASKS, EntryKind.HEARS, EntryKind.ACTS)
TICKS = 7


@dataclass(frozen=True)
class Mark:
    """Something on the strip that happens at `x`, or lasts until `x + width`."""

    x: float
    y: int
    width: float
    what: EntryKind
    title: str


@dataclass(frozen=True)
class Tick:
    """A day on the strip."""

    x: float
    label: str


def page_of(rehearsed: Rehearsed) -> str:
    """The page of a rehearsal."""
    return render(
        "rehearsal/page.html",
        title=f"What the {rehearsed.kind} would do",
        eyebrow="Rehearsal, nothing was done",
        rehearsed=rehearsed,
        headline=headline(rehearsed),
        waits=waits_for(rehearsed) if rehearsed.ended is not EndState.AGENT else "",
        figures=_figures(rehearsed),
        lanes=[(what, y) for y, what in enumerate(LANES)],
        marks=list(_marks(rehearsed)),
        ticks=list(_ticks(rehearsed)),
        days=[(day, list(entries)) for day, entries in groupby(rehearsed.timeline, _day)],
        several=len({each.agent for each in rehearsed.timeline}) > 1,
        plan_of=plan_in_words,
        cost=cost_in_words(rehearsed),
        stand_ins=list(stand_ins_in_words(rehearsed)),
        result=json.dumps(rehearsed.result, indent=2, ensure_ascii=False),
        left=LEFT,
        width=WIDTH,
        lane=LANE,
    )


def _day(entry: Entry) -> date:
    return entry.at.date()


def _figures(rehearsed: Rehearsed) -> list[tuple[str, str]]:
    counts = [
        (what, str(len(rehearsed.of(what)))) for what in (EntryKind.ASKS, EntryKind.TELLS, EntryKind.ACTS)
    ]
    return [("lives", rounded(rehearsed.simulated)), ("wakes", str(rehearsed.wakes)), *counts]


def _marks(rehearsed: Rehearsed) -> Iterator[Mark]:
    for entry in rehearsed.timeline:
        if entry.what in LANES:
            x = _x(rehearsed, entry.at)
            until = _x(rehearsed, entry.until or entry.at)
            yield Mark(x, LANES.index(entry.what), round(until - x, 1), entry.what, _title(entry))


def _title(entry: Entry) -> str:
    return f"{entry.at:%a %d %b %H:%M} {entry.what}: {entry.words}"[:200]


def _ticks(rehearsed: Rehearsed) -> Iterator[Tick]:
    """Days to label, no more than there is room for."""
    days = (rehearsed.until.date() - rehearsed.started_at.date()).days
    step = max(1, -(-days // TICKS))
    for number in range(step, days + 1, step):
        day = rehearsed.started_at.date() + timedelta(days=number)
        yield Tick(_x(rehearsed, _midnight(day, rehearsed.started_at)), f"{day.day} {day:%b}")


def _midnight(day: date, like: datetime) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=like.tzinfo)


def _x(rehearsed: Rehearsed, at: datetime) -> float:
    whole = max(rehearsed.simulated, timedelta(minutes=1))
    return round(LEFT + WIDTH * min(max((at - rehearsed.started_at) / whole, 0.0), 1.0), 1)

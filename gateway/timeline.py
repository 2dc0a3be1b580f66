"""An agent's notebook as a timeline: the nodes it visited, when, and how its time was spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from common.agents.agent import NotebookEntry
from common.agents.states import AgentState
from common.client.view import AgentView
from common.grammar import rounded

# How a stretch of time was spent, and the words for it.
KINDS = {
    "work": "at work",
    "sleep": "asleep, or waiting for something",
    "people": "waiting for people",
    "stuck": "stuck",
    "paused": "paused",
}
WAITS = {
    AgentState.SLEEPING: "sleep",
    AgentState.AWAITING_EVENT: "sleep",
    AgentState.AWAITING_APPROVAL: "people",
    AgentState.STUCK: "stuck",
    AgentState.PAUSED: "paused",
}
# Further nodes share the last lane. Heights are in pixels, positions on the axis in percent.
LANES, LANE_HEIGHT, AXIS_HEIGHT = 12, 34, 22
NARROWEST = 0.4
MOST_TICKS = 5
# Labels past the edge end at it, and need that much room to stay clear of the one before on a phone.
EDGE, ROOM = 95, 25
STEPS = [
    *(timedelta(seconds=each) for each in (1, 5, 15, 30)),
    *(timedelta(minutes=each) for each in (1, 5, 15, 30)),
    *(timedelta(hours=each) for each in (1, 3, 6, 12)),
    *(timedelta(days=each) for each in (1, 2, 7, 14, 30, 90, 365)),
]


@dataclass
class NodeVisit:
    """A stay at a node: the times of its first and last notebook lines, and the last line's text."""

    node: str
    first: datetime
    last: datetime
    outcome: str

    @property
    def took(self) -> str:
        """How long it has lasted, in words; empty under a second."""
        stay = self.last - self.first
        return rounded(stay) if stay >= timedelta(seconds=1) else ""


@dataclass
class Stretch:
    """A stretch of time at a node, spent on one of `KINDS`."""

    node: str
    kind: str
    begin: datetime
    end: datetime

    @property
    def words(self) -> str:
        """A description for people."""
        return f"{self.node}: {KINDS[self.kind]}, {rounded(self.end - self.begin)}"


@dataclass(frozen=True)
class Bar:
    """A stretch as drawn: its start `x` and its width, in percent."""

    stretch: Stretch
    x: float
    width: float


@dataclass(frozen=True)
class Tick:
    """A labelled time on the axis; the label is just the day for daily ticks."""

    at: datetime
    x: float
    words: str
    daily: bool


@dataclass(frozen=True)
class Drawing:
    """The timeline to scale: a lane for each node, and an axis of days or hours."""

    lanes: list[tuple[str, list[Bar]]]
    ticks: list[Tick]

    @property
    def height(self) -> int:
        """The total height, in pixels."""
        return len(self.lanes) * LANE_HEIGHT + AXIS_HEIGHT

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds of time drawn, for the legend."""
        drawn = {bar.stretch.kind for _, bars in self.lanes for bar in bars}
        return {kind: words for kind, words in KINDS.items() if kind in drawn}


def node_visits(entries: Iterable[NotebookEntry]) -> list[NodeVisit]:
    """The visits recorded in a notebook, oldest first."""
    visits: list[NodeVisit] = []
    for entry in entries:
        if not entry.node:
            continue
        if not visits or visits[-1].node != entry.node:
            visits.append(NodeVisit(entry.node, entry.at, entry.at, entry.text))
        visits[-1].last, visits[-1].outcome = entry.at, entry.text
    return visits


def stretches(view: AgentView, now: datetime) -> list[Stretch]:
    """How an agent spent its time, from its first remaining line until its end, or now."""
    found: list[Stretch] = []
    asking = dict[str, str]()
    stuck = paused = False
    end = NotebookEntry(at=view.closed_at or now, node="", text="")
    for entry, following in pairwise([*view.notebook, end]):
        request, text = str(entry.facts.get("request", "")), entry.text
        if text.startswith("asks: "):
            asking[request] = text.removeprefix("asks: ")
        elif request in asking and text.startswith((f"{request}: ", asking[request])):
            del asking[request]
        stuck = text.startswith(("stuck: ", "stuck at ")) or (
            stuck and not text.startswith("no longer stuck: ")
        )
        paused = text == "paused" or (paused and text != "resumed")
        kind = "paused" if paused else "stuck" if stuck else "people" if asking else "work"
        if kind == "work" and following.text.startswith("woke: "):
            kind = "sleep"
        if following is end and view.running:
            kind = WAITS.get(AgentState(view.state), kind)
        if not entry.node or following.at <= entry.at:
            continue
        if found and (found[-1].node, found[-1].kind, found[-1].end) == (entry.node, kind, entry.at):
            found[-1].end = following.at
        else:
            found.append(Stretch(entry.node, kind, entry.at, following.at))
    return found


def drawing_of(view: AgentView, now: datetime, zone: ZoneInfo) -> Drawing | None:
    """The timeline to scale, with its axis in `zone`; None if there is nothing to see yet."""
    found = stretches(view, now)
    if not found:
        return None
    begin, end = found[0].begin, max(found[-1].end, found[0].begin + timedelta(seconds=1))
    total = (end - begin) / timedelta(seconds=1)

    def place(at: datetime) -> float:
        return round(100 * (at - begin).total_seconds() / total, 3)

    nodes = list(dict.fromkeys(each.node for each in found))
    lane_of = {node: node if number < LANES else "others" for number, node in enumerate(nodes)}
    lanes: dict[str, list[Bar]] = {lane: [] for lane in lane_of.values()}
    for each in found:
        width = max(place(each.end) - place(each.begin), NARROWEST)
        lanes[lane_of[each.node]].append(Bar(each, min(place(each.begin), 100 - width), round(width, 3)))
    return Drawing(list(lanes.items()), _ticks(begin, end, place, zone))


def _ticks(begin: datetime, end: datetime, place: Callable[[datetime], float], zone: ZoneInfo) -> list[Tick]:
    """Round local times between two instants, few enough to be readable."""
    step = next((each for each in STEPS if (end - begin) / each <= MOST_TICKS), STEPS[-1])
    daily = step >= timedelta(days=1)
    form = "%-d %b" if daily else "%H:%M" if step >= timedelta(minutes=1) else "%H:%M:%S"
    # Step in local time: days are not all equally long.
    origin = datetime(1970, 1, 1)
    clock = origin + ((begin.astimezone(zone).replace(tzinfo=None) - origin) // step + 1) * step
    found: list[Tick] = []
    while (at := clock.replace(tzinfo=zone).astimezone(UTC)) < end:
        x = place(at)
        crowded = x > EDGE and found and x - found[-1].x < ROOM
        found.append(Tick(at, x, "" if crowded else clock.strftime(form), daily))
        clock += step
    return found

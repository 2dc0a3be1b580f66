"""The story of a rehearsal: when the agent woke, whom it told, what it asked and would have done."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, Field, JsonValue
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from activities.rehearsal.interceptor import CallOutcome, RehearsedCall
from cli.rehearsal.histories import Tracked
from common.agents.agent import Cost, NotebookEntry
from common.agents.kinds import KINDS
from common.agents.states import AgentState, RunStatus
from common.approval.floors import Floors
from common.approval.types import ApprovalRequest
from common.notices.routes import Routes
from common.notices.types import ASKS, Notice, NoticeEvent, masked
from common.settings import SettingsError
from common.temporal import search_attributes

# States in which an agent sleeps until something happens.
ASLEEP = (AgentState.SLEEPING, AgentState.AWAITING_EVENT, AgentState.AWAITING_APPROVAL, AgentState.PAUSED)
NOTIFY = "notify"
A_TERMINAL = "the terminal of a worker"
_RUN_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Seconds of a time in JSON: they depend on the speed of this machine.
_SECONDS = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d(?:\.\d+)?(?=Z|[+-]\d\d:\d\d)")


class EntryKind(StrEnum):
    """Kinds of entries."""

    STARTS = "starts"
    WAKES = "wakes"
    TELLS = "tells"
    ASKS = "asks"
    HEARS = "hears"
    ACTS = "acts"
    ENDS = "ends"


class Entry(BaseModel):
    """Something that happens in a rehearsal. To the minute, so that equal rehearsals print the same.

    `to`: those who would be told, or may decide. `plan`: what is asked about, or would be done. `also`: the
    activity's other arguments. A repeated event is one entry: it happens `times` times, the last at `until`.
    """

    at: AwareDatetime
    agent: str
    what: EntryKind
    words: str
    to: tuple[str, ...] = ()
    plan: dict[str, JsonValue] | None = None
    also: dict[str, JsonValue] | None = None
    times: int = 1
    until: AwareDatetime | None = None


class StoodIn(BaseModel, frozen=True):
    """An activity that was not run: how often, and why."""

    activity: str
    times: int
    how: CallOutcome
    why: str


class EndState(StrEnum):
    """Why a rehearsal ended."""

    AGENT = "agent_ended"
    WAITS = "waits_for_ever"
    SIMULATED = "simulated_time_over"
    REAL = "real_time_over"
    BROKEN = "code_fails"

    @property
    def in_words(self) -> str:
        """The reason, for people."""
        return {
            EndState.AGENT: "the agent ended",
            EndState.WAITS: "nothing more would wake the agent",
            EndState.SIMULATED: "the simulated time was over",
            EndState.REAL: "the real time was over",
            EndState.BROKEN: "its code fails again and again",
        }[self]


class Rehearsed(BaseModel):
    """The result of a rehearsal.

    Attributes:
        ended: why it ended; `status` and `waiting_for` are the agent's at that point.
        simulated: the agent's time that passed; `seconds` is the real time it took.
        wakes: how often the agent would wake.
        stand_ins: activities that were not run.
        run: activities that were run, and how often each.
        cost: what language models would cost, estimated: none was asked.
    """

    kind: str
    agent: str
    owner: str
    started_at: AwareDatetime
    until: AwareDatetime
    simulated: timedelta
    seconds: float
    ended: EndState
    status: RunStatus
    waiting_for: str | None = None
    wakes: int = 0
    timeline: list[Entry] = Field(default_factory=list)
    stand_ins: list[StoodIn] = Field(default_factory=list)
    run: dict[str, int] = Field(default_factory=dict)
    cost: Cost = Field(default_factory=Cost)
    result: JsonValue = None
    failure: str | None = None
    notebook: list[NotebookEntry] = Field(default_factory=list)

    def of(self, what: EntryKind) -> list[Entry]:
        """The entries of one kind."""
        return [each for each in self.timeline if each.what is what]


class Story:
    """Collects the entries of a rehearsal as its workflows do things.

    Args:
        routes: the user's own, by which people would be told; None if they cannot be used.
        floors: the operator's policy, which decides who is asked.
    """

    def __init__(self, routes: Routes | None, floors: Floors) -> None:
        self._routes, self._floors = routes, floors
        self._entries: list[Entry] = []
        self._calls: list[RehearsedCall] = []
        self.wakes = 0
        self.ends: dict[str, datetime] = {}
        self._started: set[str] = set()

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        self._entries.append(entry)

    def take(self, tracked: Tracked, event: HistoryEvent) -> None:
        """Record an event of a workflow's history."""
        if tracked.kind not in KINDS:
            return
        at = event.event_time.ToDatetime(UTC)
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED if tracked.id not in self._started:
                # Earlier events carry this machine's clock, not the agent's.
                self._started.add(tracked.id)
                self.add(Entry(at=at, agent=tracked.id, what=EntryKind.STARTS, words=tracked.kind))
            case EventType.EVENT_TYPE_TIMER_FIRED:
                self._wake(tracked, at, "")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                self._wake(tracked, at, event.workflow_execution_signaled_event_attributes.signal_name)
            case _ if (ended := _ENDS.get(event.event_type)) is not None:
                self.ends[tracked.id] = at
                self.add(Entry(at=at, agent=tracked.id, what=EntryKind.ENDS, words=ended))

    def _wake(self, tracked: Tracked, at: datetime, signal: str) -> None:
        if tracked.shown.get(search_attributes.STATE.name) not in ASLEEP:
            return
        self.wakes += 1
        asks = search_attributes.parse_waiting_for_approvals(tracked.waiting_for)
        waited = "an approval" if asks else tracked.waiting_for or "time"
        by = f"by the signal {signal}" if signal else "by time"
        self.add(Entry(at=at, agent=tracked.id, what=EntryKind.WAKES, words=f"{by}; it waited for {waited}"))

    def call(self, call: RehearsedCall) -> None:
        """Record a call of an activity."""
        if call.how is CallOutcome.STARTED:
            return
        self._calls.append(call)
        if call.activity == NOTIFY and call.argument is not None:
            self.tell(Notice.model_validate(call.argument), call.at)
        elif call.how is CallOutcome.NOT_DONE and isinstance(call.argument, dict):
            plan = call.argument.get("plan")
            known = {"plan", "authorization"} if isinstance(plan, dict) else {"authorization"}
            also = {
                name: value
                for name, value in call.argument.items()
                if name not in known and not (isinstance(value, str) and _RUN_ID.fullmatch(value))
            }
            self.add(
                Entry(
                    at=call.at,
                    agent=call.agent,
                    what=EntryKind.ACTS,
                    words=f"{call.activity}, which is not done",
                    plan=plan if isinstance(plan, dict) else None,
                    also=also or None,
                )
            )

    def ask(self, agent: str, request: ApprovalRequest) -> None:
        """Record a question as the people who may decide see it."""
        words = request.asked
        if request.expires_at:
            words += f" (until {request.expires_at:%Y-%m-%d %H:%M} UTC)"
        to = request.deciders
        self.add(
            Entry(
                at=request.asked_at, agent=agent, what=EntryKind.ASKS, words=words, to=to, plan=request.plan
            )
        )

    def tell(self, notice: Notice, at: datetime) -> None:
        """Record a notice: whom it would reach, and how."""
        if notice.gathered:
            return  # its batch sends one notice for all
        request = notice.request
        if request is not None and notice.event in ASKS:
            policy = self._floors.raised(request.policy, notice.kind, notice.owner)
            notice = notice.model_copy(update={"request": request.under(policy)})
        to = self._reached(notice)
        if notice.event is NoticeEvent.DECIDED and not to:
            return
        words = notice.text if notice.text.startswith(notice.event) else f"{notice.event}: {notice.text}"
        self.add(Entry(at=at, agent=notice.agent, what=EntryKind.TELLS, words=words, to=to))

    def has_told(self, agent: str, event: NoticeEvent) -> bool:
        """Whether an agent has told people of that event."""
        told = (call.argument for call in self._calls if (call.agent, call.activity) == (agent, NOTIFY))
        return any(isinstance(each, dict) and each.get("event") == event for each in told)

    def _reached(self, notice: Notice) -> tuple[str, ...]:
        if self._routes is None:
            return () if notice.event is NoticeEvent.DECIDED else (A_TERMINAL,)
        try:
            outlets = self._routes.outlets(notice)
        except SettingsError as error:
            return (f"nobody: {error}",)
        places = [
            f"{place.person + ' ' if place.person else ''}{place.way} {masked(place.way, place.address)}"
            for place in outlets.places
        ]
        return (*places, *([A_TERMINAL] if outlets.terminal else []))

    @property
    def timeline(self) -> list[Entry]:
        """All entries by time; consecutive wake-ups that are alike become one."""
        ordered = sorted(self._entries, key=lambda entry: entry.at)
        return list(_gathered(each.model_copy(update={"at": to_minute(each.at)}) for each in ordered))

    @property
    def stand_ins(self) -> list[StoodIn]:
        """The activities that were not run."""
        counts = Counter(
            (call.activity, call.how, call.why)
            for call in self._calls
            if call.how in (CallOutcome.NOT_DONE, CallOutcome.STAND_IN)
        )
        return [
            StoodIn(activity=activity, times=times, how=how, why=why)
            for (activity, how, why), times in sorted(counts.items())
        ]

    @property
    def run(self) -> dict[str, int]:
        """The activities that were run, how often each."""
        names = Counter(
            call.activity for call in self._calls if call.how in (CallOutcome.RUN, CallOutcome.FAILED)
        )
        return dict(sorted(names.items()))


def machine_independent(rehearsed: Rehearsed, folder: Path, home: Path) -> Rehearsed:
    """The rehearsal with paths of the user's data folder, `home`, and independent of this machine's speed.

    Its times are rounded to the minute, and nodes have no durations.
    """
    for entry in rehearsed.notebook:
        entry.facts.pop("seconds", None)
    text = rehearsed.model_dump_json()
    text = text.replace(json.dumps(str(folder))[1:-1], json.dumps(str(home))[1:-1])
    return Rehearsed.model_validate_json(_SECONDS.sub(r"\1:00", text))


def to_minute(at: datetime) -> datetime:
    """Round a time down to the minute."""
    # A skipped clock may stop just short of the minute it was moved to.
    return (at + timedelta(seconds=1)).replace(second=0, microsecond=0)


def _gathered(entries: Iterable[Entry]) -> Iterable[Entry]:
    last: Entry | None = None
    for entry in entries:
        alike = last is not None and entry.what is EntryKind.WAKES and _is_same(last, entry)
        if last is not None and alike:
            last = last.model_copy(update={"times": last.times + 1, "until": entry.at})
            continue
        if last is not None:
            yield last
        last = entry
    if last is not None:
        yield last


def _is_same(one: Entry, other: Entry) -> bool:
    return (one.agent, one.what, one.words) == (other.agent, other.what, other.words)


_ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "done",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed out",
}

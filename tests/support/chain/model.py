"""The rules of approval reimplemented in plain Python, from what the documentation promises.

It imports nothing from the kit, so that the two cannot share a bug. Time is a duration since the agent began;
a decision counts from the moment it was sent, even if no worker was running.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

ENVELOPE = timedelta(days=14)
# Real time passes while a script is played; the order of events this close together is uncertain.
SLACK = timedelta(minutes=2)


class UncertainOrderError(Exception):
    """Two events are so close together that either may come first."""


@dataclass(frozen=True)
class Rules:
    """A policy's rules; durations count from the question."""

    approvers: tuple[str, ...]
    quorum: int = 1
    requester_may: bool = False
    editable: tuple[str, ...] = ()
    reminders: tuple[timedelta, ...] = ()
    others: tuple[str, ...] = ()
    escalate_after: timedelta | None = None
    expires_after: timedelta | None = None
    on_expiry: str = "give_up"


@dataclass(frozen=True)
class Word:
    """A decision as sent. `flaw` names what is wrong with its envelope."""

    id: str
    request: str
    digest: str
    verdict: str
    edits: dict[str, object]
    by: str
    at: timedelta
    flaw: str = ""


@dataclass
class Ask:
    """An open request."""

    id: str
    what: str
    plan: dict[str, object]
    opened: timedelta
    votes: list[Word] = field(default_factory=list)
    escalated: bool = False
    reminded: int = 0

    @property
    def digest(self) -> str:
        plain = json.dumps(self.plan, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(plain.encode()).hexdigest()


@dataclass
class Model:
    """The state the agent should be in."""

    rules: dict[str, Rules]
    requester: str
    groups: dict[str, set[str]]
    value: int
    clock: timedelta = timedelta()
    paused: bool = False
    reachable: bool = True
    absent: bool = False
    asked: int = 0
    open: dict[str, Ask] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    waiting: list[Word] = field(default_factory=list)
    # Each judged decision: its id, and the acceptable reasons; none if it counted.
    judged: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    orders: list[tuple[str, int]] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    opened_now: list[str] = field(default_factory=list)
    _held: list[tuple[Ask, str]] = field(default_factory=list)
    _arrived: list[Word] = field(default_factory=list)

    def begin(self) -> None:
        """The agent has fetched the fact, and asks everything."""
        for what in self.rules:
            self._ask(what, {"what": what, "value": self.value})

    @property
    def done(self) -> bool:
        """Whether nothing is left to ask or do."""
        return len(self.ended) == len(self.rules)

    def hear(self, word: Word) -> None:
        """A decision arrives; it is judged once a worker runs."""
        self._arrived.append(word)
        if not self.absent:
            self._take_arrived()

    def leave(self) -> None:
        """The worker stops."""
        self.absent = True

    def come_back(self) -> None:
        """A worker runs again: first what fell due, then what was said after it."""
        self.absent = False
        for at, ask, step in self._due_by(self.clock):
            # What was said earlier still counts.
            self._take_arrived(before=at)
            if self.open.get(ask.id) is ask:
                self._fire(ask, step)
        self._take_arrived()
        if not self.paused:
            self._let_go()

    def pause(self) -> None:
        """Hold every next step."""
        self.paused = True

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        if not self.absent:
            self._let_go()

    def reach(self, duration: timedelta) -> timedelta:
        """The nearest longer duration that does not end close to an event."""
        while any(abs(at - self.clock - duration) <= SLACK for at in self._all_dues()):
            duration += SLACK
        return duration

    def pass_time(self, duration: timedelta) -> None:
        """Let time pass; without a worker it stops where something falls due."""
        target = self.clock + duration
        while due := self._next_due(target):
            at, ask, step = due
            self.clock = max(self.clock, at)
            if self.absent:
                return
            self._fire(ask, step)
        self.clock = target

    def adopt(self, ids: dict[str, str]) -> None:
        """Adopt the agent's order of two questions asked at the same moment, which nothing promises."""
        twins = [self.open[id] for id in self.opened_now if id in self.open]
        if len(twins) != 2 or twins[0].opened != twins[1].opened or twins[0].what == twins[1].what:
            return
        first, second = twins
        if (ids.get(first.what), ids.get(second.what)) == (second.id, first.id):
            first.id, second.id = second.id, first.id
            self.open.update({first.id: first, second.id: second})

    def next_due(self, by: timedelta) -> timedelta | None:
        """When something next falls due, no later than `by`."""
        due = self._next_due(by)
        return due[0] if due else None

    def _all_dues(self) -> Iterator[timedelta]:
        """Every relevant moment at which something can fall due, also for questions yet to come."""
        for ask in self.open.values():
            rules = self.rules[ask.what]
            rounds = range(8) if rules.expires_after and rules.on_expiry != "give_up" else range(1)
            for number in rounds:
                start = ask.opened + number * (rules.expires_after or timedelta())
                yield from (start + each for each in _durations(rules))

    def _steps(self, ask: Ask) -> Iterator[tuple[timedelta, Ask, str]]:
        rules = self.rules[ask.what]
        if rules.expires_after:
            yield ask.opened + rules.expires_after, ask, "expire"
        if rules.escalate_after and not ask.escalated:
            yield ask.opened + rules.escalate_after, ask, "escalate"
        for each in sorted(rules.reminders)[ask.reminded :]:
            yield ask.opened + each, ask, "remind"

    def _next_due(self, by: timedelta) -> tuple[timedelta, Ask, str] | None:
        steps = [each for ask in self.open.values() for each in self._steps(ask) if each[0] <= by]
        steps.sort(key=lambda each: each[0])
        if len(steps) > 1 and steps[0][1] is not steps[1][1] and steps[1][0] - steps[0][0] < SLACK:
            raise UncertainOrderError
        return steps[0] if steps else None

    def _due_by(self, by: timedelta) -> Iterator[tuple[timedelta, Ask, str]]:
        while due := self._next_due(by):
            yield due

    def _fire(self, ask: Ask, step: str) -> None:
        rules = self.rules[ask.what]
        if step == "remind":
            ask.reminded += 1
        elif step == "escalate":
            ask.escalated = True
        else:
            self._close(ask, "expired")
            if rules.on_expiry == "ask_again":
                self._ask(ask.what, ask.plan, escalated=ask.escalated)
            elif rules.on_expiry == "escalate" and not ask.escalated:
                self._ask(ask.what, ask.plan, escalated=True)
            else:
                self._end(ask, "expired")

    def _ask(self, what: str, plan: dict[str, object], escalated: bool = False, *votes: Word) -> None:
        self.asked += 1
        ask = Ask(f"desk-{self.asked}", what, dict(plan), self.clock, list(votes), escalated)
        self.open[ask.id] = ask
        self.opened_now.append(ask.id)
        early = [word for word in self.waiting if word.request == ask.id]
        if early and len(self.opened_now) > 1:
            raise UncertainOrderError
        self.waiting = [word for word in self.waiting if word.request != ask.id]
        for word in early:
            self._judge(word)

    def _close(self, ask: Ask, how: str) -> None:
        del self.open[ask.id]
        self.closed[ask.id] = how

    def _take_arrived(self, before: timedelta | None = None) -> None:
        while self._arrived and (before is None or self._arrived[0].at < before):
            word = self._arrived.pop(0)
            known = {id for id, _ in self.judged} | {each.id for each in self.waiting}
            if word.id in known:
                self.judged.append((word.id, frozenset({"duplicate"})))
            elif word.request not in self.open and word.request not in self.closed:
                self.waiting.append(word)
            else:
                self._judge(word)

    def _judge(self, word: Word) -> None:
        ask = self.open.get(word.request)
        if ask is None:
            # A decision that arrived just as the request ended may also be told what else is wrong with it.
            reasons = {"closed"} | ({word.flaw} if word.flaw else set())
            if self.closed[word.request] == "expired":
                reasons |= {"expired", "stale", "stranger", "requester", "edits", "again"}
            self.judged.append((word.id, frozenset(reasons)))
            return
        reasons = set(self._reasons(word, ask))
        self.judged.append((word.id, frozenset(reasons)))
        if reasons:
            return
        rules = self.rules[ask.what]
        edited = {**ask.plan, **word.edits}
        if word.verdict == "reject":
            self._close(ask, "rejected")
            self._end(ask, f"rejected by {word.by}")
        elif word.verdict == "revise" and rules.quorum > 1:
            self._close(ask, "revised")
            self._ask(ask.what, edited, ask.escalated, word)
        else:
            ask.votes = [*ask.votes, word] if word.verdict == "approve" else [word]
            if len({each.by for each in ask.votes}) >= rules.quorum:
                self._close(ask, "approved")
                self._end(replace(ask, plan=edited), "approved")

    def _reasons(self, word: Word, ask: Ask) -> Iterator[str]:
        rules = self.rules[ask.what]
        if word.flaw:
            yield word.flaw
        # A decision may have arrived long before its question was asked.
        left = word.at + ENVELOPE - self.clock
        if abs(left) <= SLACK:
            raise UncertainOrderError
        if left < timedelta():
            yield "outdated"
        if word.digest != ask.digest:
            yield "stale"
        if rules.expires_after and word.at >= ask.opened + rules.expires_after:
            yield "expired"
        may = rules.approvers + (rules.others if ask.escalated else ())
        people = {who for each in may for who in self.groups.get(each.removeprefix("@"), {each})}
        if word.by not in people:
            yield "stranger"
        if word.by == self.requester and not rules.requester_may:
            yield "requester"
        right_type = all(isinstance(each, str) for each in word.edits.values())
        allowed = set(word.edits) <= set(rules.editable)
        if bool(word.edits) != (word.verdict == "revise") or not right_type or not allowed:
            yield "edits"
        if word.verdict == "approve" and word.by in {each.by for each in ask.votes}:
            yield "again"

    def _end(self, ask: Ask, how: str) -> None:
        if self.paused:
            self._held.append((ask, how))
        elif how != "approved":
            self.ended[ask.what] = how
        elif self._still_holds(ask):
            self.orders.append((ask.digest, self.value))
            self.ended[ask.what] = f"approved by {', '.join(each.by for each in ask.votes)}"
        else:
            self._ask(ask.what, {**ask.plan, "value": self.value if self.reachable else ask.plan["value"]})

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for ask, how in held:
            self._end(ask, how)

    def _still_holds(self, ask: Ask) -> bool:
        in_time = all(word.at + ENVELOPE > self.clock for word in ask.votes)
        return in_time and self.reachable and self.value == ask.plan["value"]


def _durations(rules: Rules) -> Iterator[timedelta]:
    yield from rules.reminders
    yield from (each for each in (rules.escalate_after, rules.expires_after) if each)

"""What people see of an agent: its nodes, its notebook, its declared waits, its search attributes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, is_cancelled_exception

from common.agents.agent import AgentInput, AgentState, AgentStatus, Carried, Notebook
from common.temporal import search_attributes
from workflows.core import notebook
from workflows.core.watchdog import OpenCall, Watchdog, is_collected


@dataclass(eq=False)
class Wait:
    """A declared wait: what for, until when, and who can end it."""

    state: AgentState
    waiting_for: str
    until: datetime | None
    approvers: Sequence[str] = ()


class Visible:
    """The part of an agent that keeps what people see true."""

    def __init__(self, input: AgentInput) -> None:
        self._input = input
        self._kept = input.carried or Carried(started_at=workflow.now())
        self._watchdog = Watchdog(self._now_stuck, self._got_through)
        self._waits: list[Wait] = []
        self._node = ""
        self._node_since = workflow.now()
        self._shows_wait = False
        # After a carry-over the server still shows what the run before wrote.
        self._shown = {each.key.name: each.value for each in workflow.info().typed_search_attributes}

    @contextmanager
    def node(self, name: str) -> Iterator[None]:
        """A stage of the agent: its commands are grouped under `name`, its outcome and duration are noted."""
        outer, outer_since = self._node, self._node_since
        self._node, self._node_since = name, workflow.now()
        self.note("entered")
        try:
            with workflow.create_event_group(name).scope():
                yield
        except (Exception, asyncio.CancelledError) as error:
            self._note_end("cancelled" if is_cancelled_exception(error) else f"failed: {cause_of(error)}")
            if not is_cancelled_exception(error):
                self._show({search_attributes.FAILURE: search_attributes.fit(cause_type_of(error))})
            raise
        else:
            self._note_end("done")
        finally:
            self._node, self._node_since = outer, outer_since

    def note(self, text: str, **facts: Any) -> None:
        """Write a line in the notebook; `facts` are JSON values."""
        notebook.write(self._kept.notebook, workflow.now(), self._node, text, facts)
        self._show_details()

    def progress(self, done: int, total: int) -> None:
        """Say how much of the work is done, in units of the agent's own."""
        self._kept.progress.done, self._kept.progress.total = done, total

    @property
    def owner(self) -> str:
        """Who the agent works for, an opaque id; empty where nobody said."""
        return workflow.info().typed_search_attributes.get(search_attributes.OWNER) or ""

    @property
    def instructions(self) -> Sequence[str]:
        """What people told the agent in words, oldest first. Untrusted text."""
        return self._kept.told

    @contextmanager
    def _waiting(self, wait: Wait) -> Iterator[None]:
        self._waits.append(wait)
        self._watchdog.rest()
        self._shows_wait = True
        self._show_all()
        try:
            yield
        finally:
            self._waits.remove(wait)
            # Nothing else would tell that one of several waits is over.
            if self._waits and not is_collected():
                self._show_all()

    async def _while_paused(self) -> None:
        # A cancelled agent tidies up, paused or not; it would hold what is outside for ever otherwise.
        if self._kept.paused and workflow.cancellation_reason() is None:
            with self._waiting(Wait(AgentState.PAUSED, "the signal resume", None)):
                await workflow.wait_condition(lambda: not self._kept.paused)

    @workflow.query
    def status(self) -> AgentStatus:
        """What the agent is doing now."""
        return AgentStatus(
            owner=self.owner,
            state=self._state(),
            node=self._node,
            waiting_for=self._waiting_for(),
            wake_at=self._wake_at(),
            started_at=self._kept.started_at,
            progress=self._kept.progress,
            cost=self._kept.cost,
            approval=next(iter(self._kept.approvals.open.values()), None),
            stuck_at=self._kept.stuck_at,
        )

    @workflow.query
    def notebook(self) -> Notebook:
        """The newest lines of the notebook."""
        return self._kept.notebook

    async def _now_stuck(self, call: OpenCall) -> None:
        entry = f"{call.node}@{workflow.now():%Y-%m-%d}"
        if entry not in self._kept.stuck_at:
            self._kept.stuck_at.append(entry)
        self.note(f"stuck: {call.name} has not got through since {call.since:%Y-%m-%d %H:%M} UTC; it goes on")
        self._show_all()

    def _got_through(self, call: OpenCall) -> None:
        self.note(f"no longer stuck: {call.name} ended")
        self._show_all()

    def _state(self) -> AgentState:
        if self._kept.paused:
            return AgentState.PAUSED
        if self._watchdog.stuck:
            return AgentState.STUCK
        return self._waits[0].state if self._waits else AgentState.WORKING

    def _show_details(self) -> None:
        headline = f"{self._state()} at {self._node or 'the start'}"
        if self._waits:
            until = f", until {at:%Y-%m-%d %H:%M} UTC" if (at := self._wake_at()) else ""
            headline += f": waits for {self._waiting_for()}{until}"
        questions = [
            f"{each.id} asks {', '.join(each.deciders) or 'nobody'}: {each.question} {each.standing}"
            for each in self._kept.approvals.open.values()
        ]
        workflow.set_current_details(notebook.as_markdown(self._kept.notebook, headline, questions))

    def _waiting_for(self) -> str | None:
        return search_attributes.SEPARATOR.join(wait.waiting_for for wait in self._waits) or None

    def _wake_at(self) -> datetime | None:
        return min((wait.until for wait in self._waits if wait.until), default=None)

    def _approvers(self) -> list[str]:
        return list(dict.fromkeys(name for wait in self._waits for name in wait.approvers))

    def _note_end(self, outcome: str) -> None:
        seconds = (workflow.now() - self._node_since).total_seconds()
        self.note(outcome, seconds=round(seconds, 3))

    def _show_all(self) -> None:
        """Bring the search attributes up to date; only what changed is written."""
        self._show_details()
        self._shows_wait = bool(self._waits)
        stuck = self._watchdog.stuck
        node, since = (stuck.node, stuck.since) if stuck else (self._node, self._node_since)
        approvers = search_attributes.fit_list(self._approvers())
        self._show(
            {
                search_attributes.NODE: search_attributes.fit(node),
                search_attributes.NODE_SINCE: since.replace(microsecond=0),
                search_attributes.STATE: str(self._state()),
                search_attributes.WAITING_FOR: search_attributes.fit(self._waiting_for() or ""),
                search_attributes.WAKE_AT: self._wake_at(),
                search_attributes.STUCK_AT: search_attributes.fit_list(self._kept.stuck_at),
                # Left as it is while nobody is asked: what it waits for says whether it means anything.
                **({search_attributes.APPROVERS: approvers} if approvers else {}),
            }
        )

    def _show(self, values: dict[SearchAttributeKey[Any], Any]) -> None:
        updates = []
        for key, value in values.items():
            value = value or None
            if self._shown.get(key.name) != value:
                self._shown[key.name] = value
                updates.append(key.value_unset() if value is None else key.value_set(value))
        if updates:
            workflow.upsert_search_attributes(updates)


def cause_of(error: BaseException) -> str:
    """What an error says, without the layers Temporal wraps it in."""
    return str(error.cause if isinstance(error, ActivityError) and error.cause else error)[:500]


def cause_type_of(error: BaseException) -> str:
    """The type of an error as the activity that raised it named it."""
    cause = error.cause if isinstance(error, ActivityError) and error.cause else error
    return str(getattr(cause, "type", None) or type(cause).__name__)

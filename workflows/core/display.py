"""What people see of an agent: its nodes, its notebook, its declared waits, its search attributes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, is_cancelled_exception

from common.agents.agent import AgentState, AgentStatus, Carried
from common.temporal import search_attributes
from workflows.core import notebook
from workflows.core.watchdog import OpenCall, Watchdog, is_evicted

_Values = dict[SearchAttributeKey[Any], Any]


@dataclass(eq=False, slots=True)
class Wait:
    """A declared wait: what for, until when, and who can end it; `sleeps` if the signal `wake` ends it."""

    state: AgentState
    waiting_for: str
    until: datetime | None
    approvers: Sequence[str] = ()
    sleeps: bool = False


# The name of the running task's node, empty if it is in none: tasks side by side may be in different ones.
_NODE: ContextVar[str] = ContextVar("node", default="")


class Display:
    """Keeps what people see of an agent up to date.

    Search attributes cost the server time, so only changes are written, and only at a wait or at a call that
    may last (`show`).
    """

    def __init__(self, carried: Carried, on_stuck: Callable[[OpenCall], Awaitable[None]]) -> None:
        self.watchdog = Watchdog(self._now_stuck, self._got_through)
        self._carried = carried
        self._on_stuck = on_stuck
        # The nodes that the agent is in, and since when; the one entered last at the end.
        self._nodes = [("", workflow.now())]
        self._waits: list[Wait] = []
        self._soon: asyncio.Handle | None = None
        # Whether the search attributes show a wait that may be over by now.
        self._shows_wait = False
        # In a fresh history, the server still shows what the previous run wrote.
        self._shown = {each.key.name: each.value for each in workflow.info().typed_search_attributes}

    @contextmanager
    def node(self, name: str) -> Iterator[None]:
        """See `Agent.node`."""
        outer, node = _NODE.get(), (search_attributes.fit_name(name), workflow.now())
        self._nodes.append(node)
        _NODE.set(node[0])
        self.note("entered")
        try:
            with workflow.create_event_group(node[0]).scope():
                yield
        except (Exception, asyncio.CancelledError) as error:
            cancelled = is_cancelled_exception(error)
            self._note_end(node, "cancelled" if cancelled else f"failed: {cause_of(error)}")
            if not cancelled:
                self._write({search_attributes.FAILURE: search_attributes.fit(cause_type_of(error))})
            raise
        else:
            self._note_end(node, "done")
        finally:
            self._nodes.remove(node)
            _NODE.set(outer)

    @property
    def node_name(self) -> str:
        """The name of the node that the running task is in; for a task in none, the one entered last."""
        return _NODE.get() or self._nodes[-1][0]

    def note(self, text: str, **facts: Any) -> None:
        """See `Agent.note`."""
        notebook.write(self._carried.notebook, workflow.now(), self.node_name, text, facts)

    @contextmanager
    def waiting(self, wait: Wait) -> Iterator[None]:
        """Declare a wait for the duration of the block."""
        self._waits.append(wait)
        self.watchdog.rest()
        self.show()
        try:
            yield
        finally:
            self._waits.remove(wait)
            # After the last wait, the next call or wait updates the attributes; after others, nothing would.
            if self._waits and not is_evicted():
                self.show()

    @property
    def is_asleep(self) -> bool:
        """Whether the signal `wake` would end a wait."""
        return any(wait.sleeps for wait in self._waits)

    @property
    def is_paused(self) -> bool:
        """Whether nothing may begin. A cancelled agent cleans up, paused or not."""
        return self._carried.paused and workflow.cancellation_reason() is None

    async def while_paused(
        self, wait: Callable[[Callable[[], bool]], Awaitable[Any]] = workflow.wait_condition
    ) -> None:
        """Wait until the agent is not paused; `wait` is the function that waits for a condition."""
        if self.is_paused:
            with self.waiting(Wait(AgentState.PAUSED, "the signal resume", None)):
                await wait(lambda: not self._carried.paused)

    def status(self) -> AgentStatus:
        """The answer to the query `status`."""
        carried = self._carried
        return AgentStatus(
            owner=owner(),
            state=self._state(),
            node=self._nodes[-1][0],
            waiting_for=self._waiting_for(),
            wake_at=self._wake_at(),
            started_at=carried.started_at,
            progress=carried.progress,
            cost=carried.cost,
            approval=next(iter(carried.approvals.open.values()), None),
            stuck_at=carried.stuck_at,
        )

    def show_after_wait(self) -> None:
        """Update the search attributes if they may show a wait that is over."""
        if self._shows_wait:
            self.show()

    def show(self) -> None:
        """Update the search attributes."""
        self._shows_wait = bool(self._waits)
        stuck = self.watchdog.stuck
        node, since = (stuck.node, stuck.since) if stuck else self._nodes[-1]
        approvers = search_attributes.fit_names(self._approvers())
        asked = [each.asked_at for each in self._carried.approvals.open.values() if each.asked_at < since]
        self._write(
            {
                search_attributes.NODE: search_attributes.fit(node),
                search_attributes.NODE_SINCE: since.replace(microsecond=0),
                search_attributes.STATE: str(self._state()),
                search_attributes.WAITING_FOR: search_attributes.fit(self._waiting_for() or ""),
                search_attributes.WAKE_AT: self._wake_at(),
                search_attributes.STUCK_AT: search_attributes.fit_list(self._carried.stuck_at),
                # Left as it is while nobody is asked: `AgentWaitingFor` says whether it still applies.
                **({search_attributes.APPROVERS: approvers} if approvers else {}),
            },
            # If the agent has moved on, or its history started afresh, since it asked: the inbox compares
            # this time with the policy's last change, after which other people may have to decide.
            {search_attributes.NODE_SINCE: min(asked).replace(microsecond=0)} if asked else {},
        )

    def show_soon(self) -> None:
        """Call `show` once for all signals that arrive at the same time."""
        if not self._soon:
            self._soon = asyncio.get_running_loop().call_soon(self._show_now)

    def _show_now(self) -> None:
        self._soon = None
        self.show()

    async def _now_stuck(self, call: OpenCall) -> None:
        self.mark_stuck(call.node)
        self.note(f"stuck: {call.name} has not got through since {call.since:%Y-%m-%d %H:%M} UTC; it goes on")
        self.show()
        await self._on_stuck(call)

    def mark_stuck(self, node: str) -> None:
        """Record permanently that the agent got stuck at `node`, once a day."""
        entry = f"{node}@{workflow.now():%Y-%m-%d}"
        if entry not in self._carried.stuck_at:
            self._carried.stuck_at.append(entry)

    def _got_through(self, call: OpenCall) -> None:
        self.note(f"no longer stuck: {call.name} ended")
        self.show()

    def _state(self) -> AgentState:
        if self._carried.paused:
            return AgentState.PAUSED
        if self.watchdog.stuck or any(wait.state is AgentState.STUCK for wait in self._waits):
            return AgentState.STUCK
        return self._waits[0].state if self._waits else AgentState.WORKING

    def details(self) -> str:
        """What the Web UI shows of the agent, in Markdown."""
        headline = f"{self._state()} at {self._nodes[-1][0] or 'the start'}"
        if self._waits:
            until = f", until {at:%Y-%m-%d %H:%M} UTC" if (at := self._wake_at()) else ""
            headline += f": waits for {self._waiting_for()}{until}"
        questions = [
            f"{each.id} asks {', '.join(each.deciders) or 'nobody'}: {each.question} {each.standing}"
            for each in self._carried.approvals.open.values()
        ]
        return notebook.as_markdown(self._carried.notebook, headline, questions)

    def _waiting_for(self) -> str | None:
        # Approvals first: the inbox searches for the start of this value.
        waits = sorted(self._waits, key=lambda wait: wait.state is not AgentState.AWAITING_APPROVAL)
        words = (search_attributes.fit(each.waiting_for) for each in waits)
        return search_attributes.SEPARATOR.join(words) or None

    def _wake_at(self) -> datetime | None:
        return min((wait.until for wait in self._waits if wait.until), default=None)

    def _approvers(self) -> list[str]:
        return list(dict.fromkeys(name for wait in self._waits for name in wait.approvers))

    def _note_end(self, node: tuple[str, datetime], outcome: str) -> None:
        self.note(outcome, seconds=round((workflow.now() - node[1]).total_seconds(), 3))

    def _write(self, values: _Values, instead: _Values | None = None) -> None:
        """Write what has changed; `instead` overrides values in that write, but never causes one."""
        changed = {key: value or None for key, value in values.items()}
        changed = {key: value for key, value in changed.items() if self._shown.get(key.name) != value}
        self._shown |= {key.name: value for key, value in changed.items()}
        if changed:
            told = (changed | (instead or {})).items()
            workflow.upsert_search_attributes([k.value_set(v) if v else k.value_unset() for k, v in told])


def owner() -> str:
    """Who the agent works for, as an opaque id; empty if no owner was given."""
    return workflow.info().typed_search_attributes.get(search_attributes.OWNER) or ""


def cause_of(error: BaseException) -> str:
    """The message of an error, without the layers that Temporal wraps it in."""
    return str(error.cause if isinstance(error, ActivityError) and error.cause else error)[:500]


def cause_type_of(error: BaseException) -> str:
    """The type of an error, as named by the activity that raised it."""
    cause = error.cause if isinstance(error, ActivityError) and error.cause else error
    return str(getattr(cause, "type", None) or type(cause).__name__)

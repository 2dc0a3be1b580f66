"""Starts a new agent from the final state of an archived one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import PrivateAttr
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter, WorkflowSerializationContext

from common.agents.agent import AgentInput, Approvals, Carried, Notebook, NotebookEntry
from common.agents.fork import Fork
from common.archive.layout import ArchiveRecord
from common.archive.reader import ArchivedAgents
from common.client.view import AgentView

MAX_TOLD = 50


class RevivedInput(AgentInput, extra="allow"):
    """An input of any kind: its own fields unchanged, and the state to continue from."""

    _subject: str = PrivateAttr("")

    @property
    def subject(self) -> str:
        """What the archived agent was about."""
        return self._subject


class NotRevivableError(Exception):
    """The archived agent's input or state cannot be read; the message says why."""


async def revived_input(
    archived: ArchivedAgents, converter: DataConverter, record: ArchiveRecord, now: datetime
) -> RevivedInput:
    """The input for an agent that continues where the archived one ended.

    It has the input of the last run and the memory carried into that run; notebook, decisions, instructions,
    cost and stuck marks are the final ones. Open questions are asked anew: an approval for one agent does not
    count for another.

    Raises:
        NotRevivableError: the input cannot be read.
        ArchiveDamagedError, StoreUnavailableError: the archive lacks it, or is out of reach.
    """
    view = await archived.view(record)
    text = await archived.history(record, record.runs[-1])
    events = WorkflowHistory.from_json(record.id, text).events
    context = WorkflowSerializationContext(namespace=record.namespace, workflow_id=record.id)
    reader = converter.with_context(context)
    payloads = events[0].workflow_execution_started_event_attributes.input.payloads
    try:
        [given] = await reader.decode(payloads, [RevivedInput])
        told = [each for payload in _told_in(events) for each in await reader.decode([payload], [str])]
    except Exception as error:
        raise NotRevivableError(f"the input of {record.id} cannot be read: {error}") from error
    if not isinstance(given, RevivedInput):
        raise NotRevivableError(f"the input of {record.id} is no agent's")
    carried = given.carried or Carried(started_at=view.started_at)
    revived = given.model_copy(update={"carried": _ended(carried, view, told, record, now)})
    revived._subject = view.subject
    return revived


def _ended(
    carried: Carried, view: AgentView, told: list[str], record: ArchiveRecord, now: datetime
) -> Carried:
    """The state the last run began with, brought up to its end."""
    asked = [_number(each.decision.request_id) for each in view.decisions]
    ended = carried.model_copy(
        update={
            "notebook": Notebook(entries=view.notebook, dropped=view.dropped),
            "approvals": Approvals(asked=max([carried.approvals.asked, *asked]), records=view.decisions),
            "told": [*carried.told, *told][-MAX_TOLD:],
            "sleeps": [],
            "stuck_at": view.stuck_at,
            "progress": view.progress,
            "cost": view.cost,
        }
    )
    # Effects held for the archived agent stay held for the new one.
    return fresh_state(ended, f"revived from {record.id}, run {record.run_id}", now, view.fork)


def fresh_state(state: Carried, words: str, now: datetime, fork: Fork | None) -> Carried:
    """A state for a new agent to continue from; `words` go into its notebook and say where it comes from.

    Nothing is open, and no caller waits for an answer. Open questions are asked again: an approval for one
    agent does not count for another.
    """
    entries = [*state.notebook.entries, NotebookEntry(at=now, node="", text=words)]
    return state.model_copy(
        update={
            "notebook": Notebook(entries=entries, dropped=state.notebook.dropped),
            "approvals": Approvals(asked=state.approvals.asked, records=state.approvals.records),
            "answers": [],
            "couriers": {},
            "paused": False,
            "fork": fork,
        }
    )


def _told_in(events: Iterable[HistoryEvent]) -> list[Payload]:
    signals = (event.workflow_execution_signaled_event_attributes for event in events)
    return [each.input.payloads[0] for each in signals if each.signal_name == "tell" and each.input.payloads]


def _number(request_id: str) -> int:
    number = request_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0

"""What agents look like now, asked of Temporal, or of the archive, once however many people look.

A view takes a look at Temporal and three questions to a worker. Where Temporal's look shows that nothing has
happened since, the questions are not asked again; and whoever asks meanwhile gets the same answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from temporalio.client import WorkflowExecutionDescription

from common.archive.reader import ArchivedAgents
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.view import AgentRow, AgentView, row_of
from common.digest import digest_bytes

FRESH = 0.3  # seconds that an answer is given again; a person does not see the difference
MAX_KEPT = 1_000  # agents; a view is some 100 KB at most

Key = TypeVar("Key")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Document:
    """A view as JSON, and a tag that is another as soon as anything in it is."""

    body: bytes
    tag: str


@dataclass(frozen=True)
class _Known:
    version: tuple[object, ...]
    view: AgentView


class ArchivedView(AgentView):
    """The view of an agent that Temporal does not know any more, as it was in the end."""


class Views:
    """Agents as they are now, at most ``FRESH`` seconds old; archived ones as they were in the end."""

    def __init__(
        self, agents: AgentClient, archived: ArchivedAgents, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._agents, self._archived = agents, archived
        self._looks: _Shared[WorkflowExecutionDescription] = _Shared(clock)
        self._answers: _Shared[AgentView] = _Shared(clock)
        self._readings: _Shared[ArchivedView] = _Shared(clock)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._documents: OrderedDict[str, tuple[AgentView, Document]] = OrderedDict()

    async def row(self, id: str) -> AgentRow:
        """What Temporal itself knows of the agent, or of an archived one the whole view.

        Raises:
            NoSuchAgentError: there is no agent of that id, here or there.
            ArchiveDamagedError, StoreUnavailableError: Temporal has none, and the archive cannot tell.
        """
        try:
            return row_of(await self._look(id))
        except NoSuchAgentError:
            return await self._read(id)

    async def view(self, id: str) -> AgentView:
        """Everything there is to show of the agent; raises as ``row`` does."""
        try:
            described = await self._look(id)
        except NoSuchAgentError:
            return await self._read(id)
        version = version_of(described)
        known = self._known.get(id)
        if known and known.version == version:
            self._known.move_to_end(id)
            return known.view
        view = await self._answers.get(id, lambda: self._agents.view(id, described))
        if view.live:
            # What could not be asked for the want of a worker is asked again.
            self._known[id] = _Known(version, view)
            while len(self._known) > MAX_KEPT:
                self._known.popitem(last=False)
        return view

    def document(self, view: AgentView) -> Document:
        """The view as JSON, written once however many ask for it."""
        known, document = self._documents.get(view.id, (None, None))
        if known is not view or document is None:
            body = view.model_dump_json().encode()
            document = Document(body, digest_bytes(body)[:32])
            self._documents.pop(view.id, None)
            self._documents[view.id] = view, document
            while len(self._documents) > MAX_KEPT:
                self._documents.popitem(last=False)
        return document

    def forget(self, id: str) -> None:
        """Look again, for something was just done to the agent."""
        self._looks.forget(id)
        self._answers.forget(id)
        self._readings.forget(id)
        self._known.pop(id, None)

    async def _look(self, id: str) -> WorkflowExecutionDescription:
        return await self._looks.get(id, lambda: self._agents.describe(id))

    async def _read(self, id: str) -> ArchivedView:
        return await self._readings.get(id, lambda: self._from_archive(id))

    async def _from_archive(self, id: str) -> ArchivedView:
        record = await self._archived.find(id)
        if record is None:
            raise NoSuchAgentError(id)
        return ArchivedView(**dict(await self._archived.view(record)))


def version_of(described: WorkflowExecutionDescription) -> tuple[object, ...]:
    """What is another as soon as anything has happened to an agent: its history, or a running activity."""
    under_way = [
        each.SerializeToString(deterministic=True) for each in described.raw_description.pending_activities
    ]
    return described.run_id, described.status, described.history_length, digest_bytes(b"\0".join(under_way))


class _Shared(Generic[Found]):
    """Asks once for all who want the same at the same time, and a moment later still."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: OrderedDict[str, tuple[float, asyncio.Task[Found]]] = OrderedDict()

    async def get(self, key: str, ask: Callable[[], Awaitable[Found]]) -> Found:
        now = self._clock()
        while self._asked:
            at, task = next(iter(self._asked.values()))
            if now - at < FRESH or not task.done():
                break
            self._asked.popitem(last=False)
        asked = self._asked.get(key)
        if asked is None or (asked[1].done() and now - asked[0] >= FRESH):
            asked = now, asyncio.ensure_future(_called(ask))
            asked[1].add_done_callback(_heard)
            self._asked.pop(key, None)
            self._asked[key] = asked
        # Shielded: one who goes away does not take the answer from the others.
        return await asyncio.shield(asked[1])

    def forget(self, key: str) -> None:
        self._asked.pop(key, None)


async def _called(ask: Callable[[], Awaitable[Found]]) -> Found:
    return await ask()


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # all who asked may have gone; it is nobody's warning then

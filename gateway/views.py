"""Views of agents, from Temporal or the archive, fetched once however many people ask.

A view takes one description from Temporal and three queries to a worker. The queries are skipped if the
description shows that nothing has happened since. Concurrent callers share one answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio.client import WorkflowExecutionDescription

from common.agents.kinds import shown_as
from common.approval.plan_view import without_paths
from common.archive.reader import ArchivedAgents
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.rows import AgentRow, row_of
from common.client.view import QUERY_PATIENCE, AgentView
from common.digest import digest_bytes

FRESH_SECONDS = 0.3  # how long an answer is shared; a person does not see the difference
# A page shows within a second even if no worker answers, and updates itself if one does later.
PAGE_PATIENCE = timedelta(seconds=1)
MAX_CACHED = 1_000  # agents; a view has about 100 KB at most

Key = TypeVar("Key")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Document:
    """A view as JSON, and a tag that changes with its content."""

    body: bytes
    tag: str


@dataclass(frozen=True)
class _Read:
    """A view, and the agent's version as described before the view was read."""

    version: tuple[object, ...]
    view: AgentView


class ArchivedView(AgentView):
    """The final view of an agent that has been moved from Temporal to the archive."""


class Views:
    """Agents as they are now, at most ``FRESH_SECONDS`` old; archived ones in their final state."""

    def __init__(
        self, agents: AgentClient, archived: ArchivedAgents, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._agents, self._archived = agents, archived
        self._descriptions: _Shared[WorkflowExecutionDescription] = _Shared(clock)
        self._views: _Shared[_Read] = _Shared(clock)
        self._archived_views: _Shared[ArchivedView] = _Shared(clock)
        self._cached: OrderedDict[str, _Read] = OrderedDict()
        self._documents: OrderedDict[str, tuple[AgentView, Document]] = OrderedDict()

    async def row(self, id: str) -> AgentRow:
        """What Temporal itself knows of the agent; for an archived one, the whole view.

        Raises:
            NoSuchAgentError: neither Temporal nor the archive has an agent with that id.
            ArchiveDamagedError, StoreUnavailableError: Temporal has none, and the archive cannot be read.
        """
        try:
            return row_of(await self._describe(id))
        except NoSuchAgentError:
            return await self._from_archive(id)

    async def view(self, id: str, patience: timedelta = QUERY_PATIENCE) -> AgentView:
        """The whole view of the agent, as far as it answers in time; raises like ``row``."""
        try:
            description = await self._describe(id)
        except NoSuchAgentError:
            return await self._from_archive(id)
        version = (*version_of(description), self._agents.floors.changed_at())
        cached = self._cached.get(id)
        if cached and cached.version == version:
            self._cached.move_to_end(id)
            return cached.view

        async def read() -> _Read:
            return _Read(version, _without_paths(await self._agents.view(id, description, patience)))

        # A shared answer may be older than this version; it is cached under its own version.
        found = await self._views.get(f"{patience} {id}", read)
        if found.view.live and not found.view.trouble:
            # Do not cache incomplete views, or trouble, which may end without a trace in the agent.
            self._cached[id] = found
            while len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
        return found.view

    def document(self, view: AgentView) -> Document:
        """The view as JSON, serialized once however many ask."""
        cached, document = self._documents.get(view.id, (None, None))
        if cached is not view or document is None:
            body = view.model_dump_json().encode()
            document = Document(body, digest_bytes(body)[:32])
            self._documents.pop(view.id, None)
            self._documents[view.id] = view, document
            while len(self._documents) > MAX_CACHED:
                self._documents.popitem(last=False)
        return document

    def forget(self, id: str) -> None:
        """Drop the cache entries of an agent to which something was just sent."""
        self._descriptions.forget(id)
        for patience in (QUERY_PATIENCE, PAGE_PATIENCE):
            self._views.forget(f"{patience} {id}")
        self._archived_views.forget(id)
        self._cached.pop(id, None)

    async def _describe(self, id: str) -> WorkflowExecutionDescription:
        return await self._descriptions.get(id, lambda: self._agents.describe(id))

    async def _from_archive(self, id: str) -> ArchivedView:
        return await self._archived_views.get(id, lambda: self._read_archive(id))

    async def _read_archive(self, id: str) -> ArchivedView:
        record = await self._archived.find(id)
        if record is None:
            raise NoSuchAgentError(id)
        return ArchivedView(**dict(_without_paths(await self._archived.view(record))))


def _without_paths(view: AgentView) -> AgentView:
    """The view with names of the agent's files instead of their paths on a worker."""
    kind = shown_as(view.kind, view.result)
    return view.model_copy(update={"result": without_paths(view.result, kind)}) if kind else view


def version_of(described: WorkflowExecutionDescription) -> tuple[object, ...]:
    """A value that changes whenever an agent's history or one of its running activities does."""
    under_way = [
        each.SerializeToString(deterministic=True) for each in described.raw_description.pending_activities
    ]
    return described.run_id, described.status, described.history_length, digest_bytes(b"\0".join(under_way))


class _Shared(Generic[Found]):
    """Fetches a key once for everyone who asks at the same time, or up to ``FRESH_SECONDS`` later."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: OrderedDict[str, tuple[float, asyncio.Task[Found]]] = OrderedDict()

    async def get(self, key: str, ask: Callable[[], Awaitable[Found]]) -> Found:
        now = self._clock()
        while self._asked:
            at, task = next(iter(self._asked.values()))
            if now - at < FRESH_SECONDS or not task.done():
                break
            self._asked.popitem(last=False)
        asked = self._asked.get(key)
        if asked is None or (asked[1].done() and now - asked[0] >= FRESH_SECONDS):
            asked = now, asyncio.ensure_future(_call(ask))
            asked[1].add_done_callback(_retrieve_exception)
            self._asked.pop(key, None)
            self._asked[key] = asked
        # Shield it: one client that disconnects must not cancel the answer for others.
        return await asyncio.shield(asked[1])

    def forget(self, key: str) -> None:
        self._asked.pop(key, None)


async def _call(ask: Callable[[], Awaitable[Found]]) -> Found:
    return await ask()


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from warning about an exception that nobody waits for any more."""
    if not task.cancelled():
        task.exception()

"""Histories of agents, wherever they are: in Temporal, or in the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter, WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from common.archive.layout import ArchiveRecord
from common.archive.reader import ArchivedAgents
from common.client.errors import NoSuchAgentError, for_agent
from common.client.rows import row_of_info
from common.settings import Settings

Input = TypeVar("Input", bound=BaseModel)


@dataclass(frozen=True)
class AgentRuns:
    """An agent's runs that still have a history, oldest first.

    `whole`: the first of them is the agent's first. `archived` is its record, if it is archived.
    """

    id: str
    kind: str
    owner: str
    runs: list[str]
    whole: bool = True
    archived: ArchiveRecord | None = None


class Histories:
    """Reads histories as they were written, encrypted or not.

    Every method may raise ``RPCError``; those of archived agents raise what ``ArchivedAgents`` raises.
    """

    def __init__(self, client: Client, archived: ArchivedAgents) -> None:
        self._client, self._archived = client, archived

    @classmethod
    def open(cls, client: Client, settings: Settings) -> Histories:
        """The histories in the client's namespace and in the archive of these settings."""
        return cls(client, ArchivedAgents.open(settings))

    def reader(self, id: str) -> DataConverter:
        """The converter that decodes the payloads of an agent's history."""
        context = WorkflowSerializationContext(namespace=self._client.namespace, workflow_id=id)
        return self._client.data_converter.with_context(context)

    async def runs(self, id: str) -> AgentRuns:
        """The agent's runs.

        Raises:
            NoSuchAgentError: there is no agent with that id, in Temporal or archived.
        """
        try:
            async with for_agent(id):
                described = await self._client.get_workflow_handle(id).describe()
        except NoSuchAgentError:
            return await self._archived_runs(id)
        row = row_of_info(described.raw_info)
        runs, whole, run = list[str](), True, row.run_id
        while run:
            try:
                first = await self._first_event(id, run)
            except RPCError as error:
                # The server deletes the runs of a chain one by one, the oldest first.
                if error.status is not RPCStatusCode.NOT_FOUND or not runs:
                    raise
                whole = False
                break
            runs.insert(0, run)
            run = first.workflow_execution_started_event_attributes.continued_execution_run_id
        return AgentRuns(id, row.kind, row.owner, runs, whole)

    async def history(self, agent: AgentRuns, run_id: str) -> WorkflowHistory:
        """The history of one of the agent's runs."""
        if agent.archived is None:
            return await self._client.get_workflow_handle(agent.id, run_id=run_id).fetch_history()
        run = next(each for each in agent.archived.runs if each.run_id == run_id)
        return WorkflowHistory.from_json(agent.id, await self._archived.history(agent.archived, run))

    async def input(self, agent: AgentRuns, type: type[Input]) -> Input:
        """What the agent was started with, without what it carried from one run to the next."""
        first = (await self.history(agent, agent.runs[0])).events[0]
        payloads = first.workflow_execution_started_event_attributes.input.payloads
        [input] = await self.reader(agent.id).decode(payloads, [type])
        found: Input = input
        return found

    async def newest_first(self, agent: AgentRuns) -> AsyncIterator[WorkflowHistory]:
        """The history of each run, one at a time."""
        for run_id in reversed(agent.runs):
            yield await self.history(agent, run_id)

    async def _archived_runs(self, id: str) -> AgentRuns:
        record = await self._archived.find(id)
        if record is None:
            raise NoSuchAgentError(
                f"there is no agent {id!r}, in Temporal or archived; `starter.py find` looks."
            )
        runs = [run.run_id for run in record.runs]
        return AgentRuns(id, record.kind, record.owner, runs, archived=record)

    async def _first_event(self, id: str, run_id: str) -> HistoryEvent:
        handle = self._client.get_workflow_handle(id, run_id=run_id)
        return await anext(handle.fetch_history_events(page_size=1))

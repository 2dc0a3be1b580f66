"""What Temporal stores for agents: events and bytes of their histories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temporalio.client import Client, WorkflowHandle

from common.agents.agent import AgentStatus
from common.agents.batch import page_prefix


@dataclass
class Kept:
    """Events and bytes of all runs of an agent and of the pages of its batch."""

    events: int = 0
    bytes: int = 0
    runs: int = 0
    pages: int = 0
    longest_page: int = 0


async def size_of(run: WorkflowHandle[Any, Any]) -> tuple[int, int]:
    """Events and bytes of a history."""
    events = (await run.fetch_history()).events
    return len(events), sum(event.ByteSize() for event in events)


async def kept_of_batch(client: Client, id: str) -> Kept:
    """What is stored for an agent whose batch has ended, assuming no retries."""
    kept, agent = Kept(), client.get_workflow_handle(id)
    first_run = str((await agent.describe()).raw_description.workflow_execution_info.first_run_id)
    run_id = first_run
    while run_id:
        history = await client.get_workflow_handle(id, run_id=run_id).fetch_history()
        kept.runs += 1
        kept.events += len(history.events)
        kept.bytes += sum(event.ByteSize() for event in history.events)
        last = history.events[-1].workflow_execution_continued_as_new_event_attributes
        run_id = last.new_execution_run_id
    status: AgentStatus = await agent.query("status", result_type=AgentStatus)
    assert status.batch
    # Without retries there is one page for each artifact of verdicts.
    for number in range(1, len(status.batch.results) + 1):
        events, size = await size_of(client.get_workflow_handle(f"{page_prefix(id, first_run)}{number}"))
        kept.pages += 1
        kept.events += events
        kept.bytes += size
        kept.longest_page = max(kept.longest_page, events)
    return kept

"""How batches stand, for lists of agents, and their verdicts, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from pydantic import BaseModel
from temporalio.client import Client

from common.agents.agent import AgentStatus
from common.agents.batch import BatchStatus, ItemResult
from common.artifacts import ArtifactStore
from common.client.rows import AgentRow
from common.client.view import QUERY_PATIENCE, answer_of

# A list shows the standing of this many batches.
MAX_BATCHES = 50


class _Verdicts(BaseModel):
    """The answer of a batch page to the query `verdicts`."""

    results: tuple[ItemResult, ...]


async def standings_of(
    client: Client, rows: Sequence[AgentRow], patience: timedelta
) -> dict[str, BatchStatus]:
    """The status of the batches that ``rows`` have under way, by id, if their agents answer in time."""

    async def of(row: AgentRow) -> BatchStatus | None:
        handle = client.get_workflow_handle(row.id, run_id=row.run_id)
        status = await answer_of(handle, "status", AgentStatus, patience)
        return None if status is None else status.batch

    asked = [row for row in rows if row.running and row.batch_id and not row.item_of][:MAX_BATCHES]
    found = await asyncio.gather(*map(of, asked))
    return {row.id: each for row, each in zip(asked, found, strict=True) if each is not None}


async def verdicts_of(
    client: Client, artifacts: ArtifactStore, batch: BatchStatus, page: int
) -> list[ItemResult] | None:
    """The verdicts of one page, counted from 0: first the pages at work, then those that have ended.

    Returns:
        None if a page at work does not answer.

    Raises:
        ApplicationError: `ArtifactMissing` or `ArtifactDamaged`.
    """
    if page < len(batch.pages):
        handle = client.get_workflow_handle(batch.pages[page])
        answer = await answer_of(handle, "verdicts", _Verdicts, QUERY_PATIENCE)
        return None if answer is None else list(answer.results)
    ref = batch.results[page - len(batch.pages)]
    lines = (await asyncio.to_thread(artifacts.get, ref)).splitlines()
    return [ItemResult.model_validate_json(line) for line in lines]


def percent(batch: BatchStatus) -> str:
    """The share of items that have ended, rounded down: 100 % only when all have."""
    return f"{100 * (batch.done + batch.quarantined) // batch.items} %" if batch.items else ""


def counts(batch: BatchStatus) -> str:
    """The counts in words; zeros are left out."""
    parts = [
        f"{batch.done} of {batch.items} done",
        f"{batch.quarantined} quarantined" if batch.quarantined else "",
        f"{batch.in_flight} in flight" if batch.in_flight else "",
        f"{batch.waiting} waiting" if batch.waiting else "",
        f"{batch.duplicates} duplicates" if batch.duplicates else "",
    ]
    return ", ".join(filter(None, parts))

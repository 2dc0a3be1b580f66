"""What waits for people: the open requests of running agents, as visibility or the agents themselves tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Set

from temporalio.client import Client

from common.approval.types import ApprovalsView
from common.client.view import QUERY_PATIENCE, AgentRow, InboxRow, answer_of
from common.client.visibility import quote, rows_of
from common.temporal import search_attributes
from common.temporal.search_attributes import MORE

# How many agents are asked at the same time.
ASKED_AT_ONCE = 20

# Requests as id and digest.
Requests = list[tuple[str, str]]


async def open_requests(client: Client, names: Set[str], limit: int) -> list[InboxRow]:
    """The open requests of the newest ``limit`` agents that ask anybody or, where given, one of ``names``.

    It is read from visibility alone: it needs no worker and is quick. Only agents that ask more, or more
    people, than their search attributes hold are asked themselves. A row whose request is `MORE` stands for
    those that such an agent has besides, if it does not answer.
    """
    conditions = [
        # Not by state: a paused agent takes decisions too.
        f"{search_attributes.WAITING_FOR.name} STARTS_WITH {quote(search_attributes.APPROVAL)}",
        "ExecutionStatus = 'Running'",
    ]
    if names:
        literals = ", ".join(map(quote, [*sorted(names), MORE]))
        conditions.append(f"{search_attributes.APPROVERS.name} IN ({literals})")
    rows = await rows_of(client, conditions, limit)
    free = asyncio.Semaphore(ASKED_AT_ONCE)

    async def requests_of(row: AgentRow) -> Requests:
        if not _holds_more(row, names):
            return _in_attributes(row, names)
        async with free:
            return await _answered(client, row, names)

    found = await asyncio.gather(*map(requests_of, rows))
    return [
        InboxRow(**row.model_dump(), request_id=request_id, digest=digest)
        for row, requests in zip(rows, found, strict=True)
        for request_id, digest in requests
    ]


def gathered(rows: Iterable[InboxRow]) -> list[InboxRow]:
    """The rows, with one for all that agents of one batch ask alike: at the same node, of the same people.

    Visibility knows no more of a question. Whoever decides them together is shown each, and they are told
    apart by their words and policies; see `common/client/asked.py`.
    """
    found = dict[tuple[object, ...], InboxRow]()
    for row in rows:
        node = row.request_id.rpartition("-")[0]
        alike = (row.batch_id, row.kind, node, *sorted(row.approvers))
        key = alike if row.item_of and row.digest else (row.run_id, row.request_id)
        first = found.setdefault(key, row)
        if first is not row:
            first.count += 1
    return list(found.values())


def _holds_more(row: AgentRow, names: Set[str]) -> bool:
    """Whether the agent alone knows all that it asks, or whether it asks one of ``names``."""
    unsure = bool(names) and MORE in row.approvers and not names & set(row.approvers)
    return unsure or search_attributes.is_cut(row.waiting_for)


def _in_attributes(row: AgentRow, names: Set[str]) -> Requests:
    if names and not names & set(row.approvers):  # some databases ignore case and accents
        return []
    requests = search_attributes.parse_waiting_for_approvals(row.waiting_for)
    return [*requests, (MORE, "")] if search_attributes.is_cut(row.waiting_for) else requests


async def _answered(client: Client, row: AgentRow, names: Set[str]) -> Requests:
    view = await answer_of(client.get_workflow_handle(row.id), "approvals", ApprovalsView, QUERY_PATIENCE)
    if view is None:
        return _in_attributes(row, names)
    if names and not any(names & set(request.deciders) for request in view.open):
        return []
    return [(request.id, request.digest) for request in view.open]

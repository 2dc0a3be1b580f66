"""What agents are about, for lists: read from their memos, which are encrypted if payloads are."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext

from common.client.rows import AgentRow
from common.temporal.converter import UNREADABLE


async def name_subjects(client: Client, rows: Iterable[AgentRow]) -> None:
    """Set the subject of each of `rows` whose memo has one that can be read."""
    for row in rows:
        if row.kept_subject and not row.subject:
            context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=row.id)
            try:
                payload = Payload.FromString(row.kept_subject)
                [row.subject] = await client.data_converter.with_context(context).decode([payload], [str])
            except UNREADABLE:
                continue

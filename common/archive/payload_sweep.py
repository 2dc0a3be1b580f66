"""Deletes payloads that nothing refers to any more, such as old copies of state that was carried over.

A run counts while it is open, and after it has closed until it is archived or gone from Temporal. A run that
continued as new does not count, because its successor carries everything; of its payloads only those are kept
that a counting run refers to, such as the successor's input.

This loses nothing: only a run writes under its own id, so once it has closed no reference to its objects can
appear, except in a copy of its history, and a copy is a run that counts. An object under no run may just have
been written for a start or a signal on its way; it is kept until it is `GRACE` old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from common.client.visibility import quote
from common.names import UnusableValueError
from common.object_store import ObjectStore, StoredObject
from common.temporal.payload_store import (
    NO_RUN,
    SEGMENTS,
    agent_prefix,
    namespace_prefix,
    referenced_key,
    workflow_id_in,
)

# Far more than the two minutes for which a client retries a start or a signal.
GRACE = timedelta(hours=1)


class ForeignStoreError(Exception):
    """The payloads belong to another Temporal service; the message names the object that says so."""


@dataclass(frozen=True)
class Swept:
    """The result of a sweep: objects and bytes deleted, objects kept."""

    deleted: int = 0
    deleted_bytes: int = 0
    kept: int = 0


def collectable(
    objects: Iterable[StoredObject],
    open_runs: Collection[str],
    referenced: Collection[str],
    before: datetime,
) -> list[StoredObject]:
    """The objects of one agent that nothing needs.

    Args:
        objects: all objects under the agent's id.
        open_runs: ids of its open runs, whose objects are kept.
        referenced: keys that the histories of its counting runs refer to.
        before: objects under no run that were written at or after this time are kept.
    """
    return [
        each
        for each in objects
        if each.key not in referenced
        and (each.written_at < before if run_of(each.key) == NO_RUN else run_of(each.key) not in open_runs)
    ]


def run_of(key: str) -> str:
    """The run id in a payload's key; `-` if it was written under no run."""
    return key.split("/")[3]


async def sweep(
    client: Client,
    objects: ObjectStore,
    now: datetime,
    *,
    grace: timedelta = GRACE,
    workflow_id: str = "",
    dry_run: bool = False,
) -> Swept:
    """Delete what nothing refers to any more. Safe at any time, also beside running agents and other sweeps.

    Args:
        client: a client of the namespace whose payloads are swept.
        objects: their store.
        now: the time by the store's clock.
        grace: how long objects under no run are kept.
        workflow_id: sweep only this agent; all agents if empty.
        dry_run: count without deleting.

    Raises:
        StoreUnavailableError, RPCError: the sweep is incomplete; sweep again.
        ForeignStoreError: the payloads were swept for another Temporal service before.
    """
    await _claim(client, objects)
    total = Swept()
    prefix = (
        agent_prefix(client.namespace, workflow_id) if workflow_id else namespace_prefix(client.namespace)
    )
    agents = _by_agent(objects, prefix)
    while found := await asyncio.to_thread(next, agents, None):
        id = workflow_id or workflow_id_in(found[0].key, client.namespace)
        going = await _collectable_of(client, id, found, now - grace)
        if not dry_run:
            await asyncio.to_thread(objects.delete, [each.key for each in going])
        total = Swept(
            deleted=total.deleted + len(going),
            deleted_bytes=total.deleted_bytes + sum(each.size for each in going),
            kept=total.kept + len(found) - len(going),
        )
    return total


async def _claim(client: Client, objects: ObjectStore) -> None:
    # A service that does not know these agents would find all of their payloads unreferenced.
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    key = f"{namespace_prefix(client.namespace)}swept-for"
    own = described.namespace_info.id.encode()
    await asyncio.to_thread(lambda: objects.head(key) or objects.put(key, own, if_absent=True))
    owner = await asyncio.to_thread(objects.get, key)
    if owner != own:
        raise ForeignStoreError(
            f"the payloads of the namespace {client.namespace} there belong to another Temporal service: "
            f"give each a HIBERNAUT_S3_PREFIX of its own, or delete {key} if that service is gone."
        )


def _by_agent(objects: ObjectStore, prefix: str) -> Iterator[list[StoredObject]]:
    listed = (each for each in objects.list(prefix) if len(each.key.split("/")) == SEGMENTS)
    for _, group in groupby(listed, key=lambda each: each.key.split("/")[2]):
        yield list(group)


async def _collectable_of(
    client: Client, workflow_id: str, found: list[StoredObject], before: datetime
) -> list[StoredObject]:
    if not workflow_id:
        # An id too long for a file name is cut in the key, so its objects are swept only by name.
        return []
    try:
        runs = await _runs_of(client, workflow_id, found)
    except UnusableValueError:
        return []  # visibility cannot find all of its runs, so any payload may be referenced
    referenced = set[str]().union(*[await references(client, workflow_id, run) for run in runs.counting])
    return collectable(found, runs.open, referenced, before)


@dataclass(frozen=True)
class _Runs:
    """The ids of an agent's counting runs, and of its open ones."""

    counting: frozenset[str]
    open: frozenset[str]


async def _runs_of(client: Client, workflow_id: str, objects: Iterable[StoredObject]) -> _Runs:
    # Each run is described by the server itself: visibility lags, and may not know the newest run yet.
    candidates = {run_of(each.key) for each in objects} - {NO_RUN} | {""}
    async for known in client.list_workflows(f"WorkflowId = {quote(workflow_id)}"):
        if known.status is not WorkflowExecutionStatus.CONTINUED_AS_NEW:
            candidates.add(known.run_id)
    counting, still_open = set(), set()
    for run_id in candidates:
        try:
            run = await client.get_workflow_handle(workflow_id, run_id=run_id or None).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                continue
            raise
        if run.close_time is None:
            still_open.add(run.run_id)
        if run.status is not WorkflowExecutionStatus.CONTINUED_AS_NEW:
            counting.add(run.run_id)
    return _Runs(frozenset(counting), frozenset(still_open))


async def references(client: Client, workflow_id: str, run_id: str) -> set[str]:
    """Keys of the payloads that the history of a run refers to; none if the run is gone."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    found: set[str] = set()
    try:
        async for event in handle.fetch_history_events():
            found.update(filter(None, (referenced_key(payload) for payload in payloads_in(event))))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    return found


def payloads_in(message: Message) -> Iterator[Payload]:
    """Every payload anywhere in a Temporal message."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is None:
            continue
        if isinstance(value, Message):
            yield from payloads_in(value)
        elif not kind.GetOptions().map_entry:
            for each in value:
                yield from payloads_in(each)
        elif kind.fields_by_name["value"].message_type is not None:
            for each in value.values():
                yield from payloads_in(each)

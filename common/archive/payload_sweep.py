"""Deletes payloads that nothing refers to any more, so that a state carried over leaves no copies behind.

A run that has continued as new is over: its successor carries everything. Of its payloads only those stay
that a run which still counts refers to, which is the input its successor started with. A run counts while it
is open, and after its end until it is archived or gone from Temporal.

Why this loses nothing: only a run writes under its own id, so once it is closed no reference to what lies
there can appear, except in a copy of its history, and copies are runs that count. What lies under no run may
just have been written for a start or a signal on its way; it is left alone until it is `GRACE` old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from urllib.parse import unquote

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from common.client.visibility import quote
from common.names import UnusableValueError
from common.object_store import ObjectStore, StoredObject
from common.temporal.payload_store import NO_RUN, SEGMENTS, agent_prefix, namespace_prefix, referenced_key

# Far above the two minutes that a client tries to get a start or a signal through.
GRACE = timedelta(hours=1)


class ForeignStoreError(Exception):
    """The payloads there are another Temporal service's; the message says which object claims them."""


@dataclass(frozen=True)
class Swept:
    """What a sweep did: objects and bytes deleted, objects kept."""

    deleted: int = 0
    deleted_bytes: int = 0
    kept: int = 0


def collectable(
    objects: Iterable[StoredObject],
    open_runs: Collection[str],
    referenced: Collection[str],
    before: datetime,
) -> list[StoredObject]:
    """Which objects of one agent nothing needs.

    Args:
        objects: all that lie under the agent's id.
        open_runs: ids of its runs that have not ended; what lies under them stays.
        referenced: keys that the histories of its runs refer to, as far as these runs count.
        before: what lies under no run and is not older than this stays.
    """
    return [
        each
        for each in objects
        if each.key not in referenced
        and (each.written_at < before if run_of(each.key) == NO_RUN else run_of(each.key) not in open_runs)
    ]


def run_of(key: str) -> str:
    """The run id in a payload's key; `-` where it was written under none."""
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
    """Delete what nothing refers to any more. Safe at any time, beside working agents and other sweeps.

    Args:
        client: of the namespace whose payloads are swept.
        objects: where they lie.
        now: the time, by the clock of the store.
        grace: how long what lies under no run is left alone.
        workflow_id: this agent alone; all agents where empty.
        dry_run: count, and delete nothing.

    Raises:
        StoreUnavailableError: what was deleted until then stays deleted; sweep again.
        RPCError: likewise.
        ForeignStoreError: the payloads there were swept for another Temporal service before.
    """
    await _claim(client, objects)
    total = Swept()
    prefix = (
        agent_prefix(client.namespace, workflow_id) if workflow_id else namespace_prefix(client.namespace)
    )
    agents = _by_agent(objects, prefix)
    while found := await asyncio.to_thread(next, agents, None):
        going = await _collectable_of(client, workflow_id or _agent_of(found[0].key), found, now - grace)
        if not dry_run:
            await asyncio.to_thread(objects.delete, [each.key for each in going])
        total = Swept(
            deleted=total.deleted + len(going),
            deleted_bytes=total.deleted_bytes + sum(each.size for each in going),
            kept=total.kept + len(found) - len(going),
        )
    return total


async def _claim(client: Client, objects: ObjectStore) -> None:
    # To a service that never heard of these agents all of their payloads would be superfluous.
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    key = f"{namespace_prefix(client.namespace)}swept-for"
    own = described.namespace_info.id.encode()
    await asyncio.to_thread(lambda: objects.head(key) or objects.put(key, own, if_absent=True))
    owner = await asyncio.to_thread(objects.get, key)
    if owner != own:
        raise ForeignStoreError(
            f"the payloads of the namespace {client.namespace} there are those of another Temporal service: "
            f"give each a HIBERNAUT_S3_PREFIX of its own, or delete {key} if that service is gone."
        )


def _by_agent(objects: ObjectStore, prefix: str) -> Iterator[list[StoredObject]]:
    listed = (each for each in objects.list(prefix) if len(each.key.split("/")) == SEGMENTS)
    for _, group in groupby(listed, key=lambda each: each.key.split("/")[2]):
        yield list(group)


def _agent_of(key: str) -> str:
    return unquote(key.split("/")[2])


async def _collectable_of(
    client: Client, workflow_id: str, found: list[StoredObject], before: datetime
) -> list[StoredObject]:
    if not found[0].key.startswith(agent_prefix(client.namespace, workflow_id)):
        # The key of an id that is too long for a file name holds a part of it: only who names it sweeps it.
        return []
    try:
        runs = await _runs_of(client, workflow_id, found)
    except UnusableValueError:
        return []  # not all of its runs can be found, so none of its payloads can be called superfluous
    referenced = set[str]().union(*[await references(client, workflow_id, run) for run in runs.counting])
    return collectable(found, runs.open, referenced, before)


@dataclass(frozen=True)
class _Runs:
    """Runs of an agent that count, and the ids of those that are open."""

    counting: frozenset[str]
    open: frozenset[str]


async def _runs_of(client: Client, workflow_id: str, objects: Iterable[StoredObject]) -> _Runs:
    # The server's own word on each run: visibility lags, and a run it does not know yet must keep its state.
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
    """Keys of the payloads that the history of one run refers to; none where it is gone."""
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
    """Every payload anywhere in a message of Temporal's."""
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

"""The archivist's schedule in Temporal, which also stores the head of the archive's chain.

A bucket cannot vouch for itself: restored to last week's state it is consistent and wrong. So the head is
kept out of reach of the bucket's owner, in the schedule's arguments, which pausing it does not change.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from common.approval.signed import is_signed_start, sign_start
from common.approval.signing import Signer
from common.approval.starts import digest_of
from common.archive.layout import ARCHIVIST, SCHEDULE, ArchiveRequest, Head
from common.settings import Settings
from common.temporal.converter import UNREADABLE


class ArchiveAnchor:
    """The schedule of a namespace's archivist. Every method may raise ``RPCError``."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client, self._settings = client, settings
        self._signer = Signer.load(settings)

    async def describe(self) -> ScheduleDescription | None:
        """The schedule; None if there is none."""
        try:
            return await self._client.get_schedule_handle(SCHEDULE).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    async def head(self) -> Head | None:
        """The head of the chain as Temporal stores it; None if it stores none."""
        found = await self.describe()
        return await self._head_in(found) if found else None

    async def is_signed(self, description: ScheduleDescription) -> bool:
        """Whether the archivist will take the schedule's starts."""
        request = await self._request_in(description)
        return request is not None and is_signed_start(
            ARCHIVIST, digest_of(request), request.signature, self._signer
        )

    async def keep(self, head: Head) -> None:
        """Have Temporal store ``head``. If there is no schedule yet, a paused one is created."""
        await self._write(head, start=False)

    async def set_up(self) -> bool:
        """Create the schedule or update it to the settings, and let it run; return whether it changed."""
        before = await self.describe()
        await self._write(None, start=True)
        after = await self.describe()
        return before is None or after is None or _settled(before) != _settled(after)

    async def service(self) -> str:
        """The id of this namespace, which identifies whose archive it is."""
        request = DescribeNamespaceRequest(namespace=self._client.namespace)
        described = await self._client.workflow_service.describe_namespace(request)
        return described.namespace_info.id

    async def _write(self, head: Head | None, *, start: bool) -> None:
        handle = self._client.get_schedule_handle(SCHEDULE)

        async def change(found: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = found.description.schedule
            kept = head or await self._head_in(found.description)
            if start:
                return ScheduleUpdate(self._schedule(kept, runs=True))
            schedule.action = self._action(kept)
            return ScheduleUpdate(schedule)

        try:
            await handle.update(change)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            try:
                await self._client.create_schedule(SCHEDULE, self._schedule(head, runs=start))
            except ScheduleAlreadyRunningError:
                await handle.update(change)

    def _schedule(self, head: Head | None, *, runs: bool) -> Schedule:
        note = (
            ""
            if runs
            else "It stores the head of the archive's chain; `starter.py archive setup` lets it run."
        )
        return Schedule(
            action=self._action(head),
            spec=ScheduleSpec(cron_expressions=[self._settings.archive.schedule]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
            state=ScheduleState(note=note or None, paused=not runs),
        )

    def _action(self, head: Head | None) -> ScheduleActionStartWorkflow:
        request = sign_start(ARCHIVIST, ArchiveRequest(anchor=head), self._signer)
        return ScheduleActionStartWorkflow(
            ARCHIVIST, request, id=ARCHIVIST, task_queue=self._settings.task_queue
        )

    async def _head_in(self, description: ScheduleDescription) -> Head | None:
        request = await self._request_in(description)
        return request.anchor if request else None

    async def _request_in(self, description: ScheduleDescription) -> ArchiveRequest | None:
        action = description.schedule.action
        arguments: Any = action.args if isinstance(action, ScheduleActionStartWorkflow) else []
        try:
            [request] = await self._client.data_converter.decode(arguments, [ArchiveRequest])
        except UNREADABLE:
            return None
        return request if isinstance(request, ArchiveRequest) else None


def _settled(description: ScheduleDescription) -> tuple[object, ...]:
    """The parts of a schedule that the settings decide; the arguments are signed anew each time."""
    schedule = description.schedule
    action: Any = schedule.action
    return schedule.spec, schedule.policy, schedule.state, action.task_queue

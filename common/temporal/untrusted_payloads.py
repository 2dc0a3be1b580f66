"""Marks payloads of signals, updates and queries while a worker decodes them: anybody may have sent them.

If the SDK cannot fetch a payload, it fails the workflow task and retries for ever. That is right for an
agent's own state, which waits until its object is restored; but a signal must not stop its agent like that.
Only the SDK's payload visitor knows which is which, and when each arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TypeVar

import temporalio.bridge.worker as bridge
from temporalio.api.common.v1 import Payload
from temporalio.bridge._visitor_functions import VisitorFunctions
from temporalio.worker._command_aware_visitor import CommandAwarePayloadVisitor

from common.temporal.codec import ARRIVED_AT
from common.temporal.converter import NOTHING
from common.temporal.payload_store import FROM_OUTSIDE

Value = TypeVar("Value")


class _UntrustedPayloadVisitor(CommandAwarePayloadVisitor):
    # The time of the workflow task, which a replay knows as well; the task's signals are at least as old.
    _task_at: datetime | None = None

    async def _visit_coresdk_workflow_activation_WorkflowActivation(
        self, fs: VisitorFunctions, o: Any
    ) -> None:
        self._task_at = o.timestamp.ToDatetime(tzinfo=UTC) if o.HasField("timestamp") else None
        await super()._visit_coresdk_workflow_activation_WorkflowActivation(fs, o)

    async def _visit_coresdk_workflow_activation_InitializeWorkflow(
        self, fs: VisitorFunctions, o: Any
    ) -> None:
        with _set(ARRIVED_AT, o.start_time.ToDatetime(tzinfo=UTC)):
            await super()._visit_coresdk_workflow_activation_InitializeWorkflow(fs, o)

    async def _visit_coresdk_workflow_activation_SignalWorkflow(self, fs: VisitorFunctions, o: Any) -> None:
        if not o.input:
            # Something for the codec to judge: a signal without a payload could have come from anybody.
            o.input.append(Payload(metadata={"encoding": NOTHING}))
        with self._from_outside():
            await super()._visit_coresdk_workflow_activation_SignalWorkflow(fs, o)

    async def _visit_coresdk_workflow_activation_DoUpdate(self, fs: VisitorFunctions, o: Any) -> None:
        with self._from_outside():
            await super()._visit_coresdk_workflow_activation_DoUpdate(fs, o)

    async def _visit_coresdk_workflow_activation_QueryWorkflow(self, fs: VisitorFunctions, o: Any) -> None:
        with self._from_outside():
            await super()._visit_coresdk_workflow_activation_QueryWorkflow(fs, o)

    @contextmanager
    def _from_outside(self) -> Iterator[None]:
        with _set(FROM_OUTSIDE, True), _set(ARRIVED_AT, self._task_at):
            yield


@contextmanager
def _set(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def mark_untrusted() -> None:
    """Have all workers of this process mark such payloads."""
    vars(bridge)["CommandAwarePayloadVisitor"] = _UntrustedPayloadVisitor

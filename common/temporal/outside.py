"""Marks payloads of signals, updates and queries while a worker decodes them: anybody may have sent them.

The SDK fails a workflow's task whose payloads it cannot fetch, and tries again for ever. That is right for an
agent's own state, which waits until its object is restored; a signal must not stop its agent like that. The
SDK's visitor of payloads is the only place that knows which is which.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import temporalio.bridge.worker as bridge
from temporalio.bridge._visitor_functions import VisitorFunctions
from temporalio.worker._command_aware_visitor import CommandAwarePayloadVisitor

from common.temporal.payload_store import FROM_OUTSIDE


class _OutsideAwareVisitor(CommandAwarePayloadVisitor):
    async def _visit_coresdk_workflow_activation_SignalWorkflow(self, fs: VisitorFunctions, o: Any) -> None:
        with _from_outside():
            await super()._visit_coresdk_workflow_activation_SignalWorkflow(fs, o)

    async def _visit_coresdk_workflow_activation_DoUpdate(self, fs: VisitorFunctions, o: Any) -> None:
        with _from_outside():
            await super()._visit_coresdk_workflow_activation_DoUpdate(fs, o)

    async def _visit_coresdk_workflow_activation_QueryWorkflow(self, fs: VisitorFunctions, o: Any) -> None:
        with _from_outside():
            await super()._visit_coresdk_workflow_activation_QueryWorkflow(fs, o)


@contextmanager
def _from_outside() -> Iterator[None]:
    token = FROM_OUTSIDE.set(True)
    try:
        yield
    finally:
        FROM_OUTSIDE.reset(token)


def mark_outside() -> None:
    """Have all workers of this process mark such payloads."""
    vars(bridge)["CommandAwarePayloadVisitor"] = _OutsideAwareVisitor

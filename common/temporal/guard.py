"""Keeps what agents pass to Temporal within its limits, and answers to queries out of the object store."""

from __future__ import annotations

from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.worker import (
    ContinueAsNewInput,
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from common.temporal import converter
from common.temporal.converter import INLINE, check_size


class PayloadGuard(Interceptor):
    """For every worker of agents: what the server would refuse fails with a reason.

    Answers to queries stay in their message, since reading an agent must not write to the store. References
    in signals that cannot be followed are refused (`untrusted_payloads.py`).
    """

    def __init__(self) -> None:
        # Imported here because only a worker needs it: it loads what a client does not need.
        from common.temporal.untrusted_payloads import mark_untrusted

        mark_untrusted()

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[_Guarded]:
        """The interceptor around each agent."""
        return _Guarded


class _Guarded(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_GuardedOutbound(outbound))

    async def handle_query(self, input: HandleQueryInput) -> Any:
        answer = await super().handle_query(input)
        [payload] = workflow.payload_converter().to_payloads([answer])
        check_size(len(payload.data), converter.MAX_INLINE_BYTES, f"the answer to {input.query}")
        payload.metadata[INLINE] = b"1"
        return RawValue(payload)


class _GuardedOutbound(WorkflowOutboundInterceptor):
    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        # Converted here, where an error fails the agent; in the SDK it would fail the workflow task for ever.
        payloads = workflow.payload_converter().to_payloads(input.args)
        input.args = [RawValue(payload) for payload in payloads]
        super().continue_as_new(input)

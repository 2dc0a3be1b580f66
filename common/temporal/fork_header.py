"""Passes a fork's mark from its memo to each of its activities, in a header."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from common.agents.fork import FORK


class ForkHeader(Interceptor):
    """For every worker of agents and every replay."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[_Marked]:
        """The interceptor around each workflow."""
        return _Marked


class _Marked(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_MarkedOutbound(outbound) if FORK in outbound.info().raw_memo else outbound)


class _MarkedOutbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        return super().start_activity(self._marked(input))

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        return super().start_local_activity(self._marked(input))

    def _marked(self, input: Any) -> Any:
        input.headers = {**input.headers, FORK: workflow.info().raw_memo[FORK]}
        return input

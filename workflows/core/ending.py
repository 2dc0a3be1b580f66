"""However an agent ends in its own time, people hear of it. A fresh history and a bug are no end.

And the Web UI is told of an agent when somebody looks, as writing it down at each step costs more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.exceptions import FailureError, is_cancelled_exception
from temporalio.worker import (
    ExecuteWorkflowInput,
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from common.notices.types import NoticeEvent
from workflows.core.agent import Agent
from workflows.core.display import cause_of


class TellEnd(Interceptor):
    """On every worker and in every replay of agents: has each agent tell of its end, and the Web UI of it."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[_TellEnd]:
        """What stands around each workflow."""
        return _TellEnd


class _TellEnd(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        agent = workflow.instance()
        if not isinstance(agent, Agent):
            return await super().execute_workflow(input)
        try:
            result = await super().execute_workflow(input)
        except (FailureError, TimeoutError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                await agent.tell_end(NoticeEvent.FINISHED, "ended: cancelled")
            else:
                await agent.tell_end(NoticeEvent.FAILED, f"failed: {cause_of(error)}")
            raise
        await agent.tell_end(NoticeEvent.FINISHED, "ended: done")
        return result

    async def handle_query(self, input: HandleQueryInput) -> Any:
        answer = await super().handle_query(input)
        if isinstance(answer, WorkflowMetadata) and isinstance(agent := workflow.instance(), Agent):
            answer.current_details = agent.details()
        return answer

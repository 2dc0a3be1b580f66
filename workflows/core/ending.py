"""However an agent ends in its own time, people hear of it. A fresh history and a bug are no end."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from common.notices.types import NoticeEvent
from workflows.core.agent import Agent
from workflows.core.display import cause_of


class TellEnd(Interceptor):
    """On every worker and in every replay of agents: has each agent tell of its end."""

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

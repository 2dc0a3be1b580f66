"""What the gateway remembers of an agent is never older than what Temporal said of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from common.agents.states import AgentState, RunStatus
from common.archive.reader import ArchivedAgents
from common.client.client import AgentClient
from common.client.view import AgentView
from gateway.views import FRESH_SECONDS, Views


class Agents:
    """An agent with one line of history after another; being described takes a while."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines = 1
        self.describing_takes = 0.1
        self.reads = 0
        self.floors = SimpleNamespace(changed_at=lambda: 0)

    async def describe(self, id: str) -> Any:
        self.now += self.describing_takes
        return SimpleNamespace(
            raw_description=DescribeWorkflowExecutionResponse(),
            run_id="run",
            status=1,
            history_length=self.lines,
        )

    async def view(self, id: str, *_: object) -> AgentView:
        self.reads += 1
        return AgentView.model_construct(  # type: ignore[call-arg]
            id=id,
            kind="",
            run_id="run",
            status=RunStatus.RUNNING,
            state=AgentState.WORKING,
            dropped=self.lines,
            live=True,
            trouble=None,
        )


async def test_a_view_of_the_version_before_is_not_kept_as_the_new_one() -> None:
    """Else an agent that then sleeps is shown for days as it was before its last step."""
    agents = Agents()
    views = Views(cast(AgentClient, agents), cast(ArchivedAgents, None), lambda: agents.now)
    assert (await views.view("one")).dropped == 1
    # The description is asked for anew, and the view that is shared a little longer is of the one before.
    agents.lines, agents.describing_takes = 2, 0.0
    agents.now = FRESH_SECONDS + 0.01
    assert (await views.view("one")).dropped == 1
    agents.now += FRESH_SECONDS
    assert (await views.view("one")).dropped == 2
    # Of a version that has been read nothing is read again.
    reads = agents.reads
    agents.now += 10 * FRESH_SECONDS
    assert (await views.view("one")).dropped == 2
    assert agents.reads == reads

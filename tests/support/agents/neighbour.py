"""A workflow that speaks to others: to its child, and to an agent, for tests of whose a payload is."""

from __future__ import annotations

from temporalio import workflow

from tests.support.agents.keepers import KeeperAgent, KeeperInput, Kept


@workflow.defn(name="neighbour")
class NeighbourWorkflow:
    """Tells an agent how the words begin, wakes it, and has a keeper of its own say them all."""

    @workflow.run
    async def run(self, words: str, agent: str) -> Kept:
        other: workflow.ExternalWorkflowHandle[KeeperAgent] = workflow.get_external_workflow_handle(agent)
        await other.signal("tell", words[:100])
        await other.signal("wake", None)
        return await workflow.execute_child_workflow(
            KeeperAgent.run, KeeperInput(say=words), id=f"{workflow.info().workflow_id}-child"
        )

"""A workflow that messages others, its child and an agent, for tests of payload ownership."""

from __future__ import annotations

from temporalio import workflow

from tests.support.agents.keepers import KeeperAgent, KeeperInput, Kept


@workflow.defn(name="neighbour")
class MessagingWorkflow:
    """Sends an agent the start of the text, wakes it, and runs a keeper as a child that says all of it."""

    @workflow.run
    async def run(self, words: str, agent: str) -> Kept:
        other: workflow.ExternalWorkflowHandle[KeeperAgent] = workflow.get_external_workflow_handle(agent)
        await other.signal("tell", words[:100])
        await other.signal("wake", None)
        return await workflow.execute_child_workflow(
            KeeperAgent.run, KeeperInput(say=words), id=f"{workflow.info().workflow_id}-child"
        )

"""An agent that gets into the requested trouble."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from tests.support.agents.brief_input import BriefInput
    from workflows.core.agent import Agent


@workflow.defn(name="troubled")
class TroubledAgent(Agent[BriefInput, None]):
    """Has a bug, calls an activity that no worker has, or just keeps going."""

    @workflow.init
    def __init__(self, input: BriefInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: BriefInput) -> str:
        with self.node(input.node):
            match input.say:
                case "bug":
                    raise KeyError("a typo")
                case "unknown activity":
                    await workflow.execute_activity("no-such", start_to_close_timeout=timedelta(seconds=9))
                case "elsewhere":
                    await workflow.execute_activity(
                        "no-such", task_queue="nobody's", start_to_close_timeout=timedelta(seconds=9)
                    )
        return "no trouble"

"""An agent that ends at once, for tests of what happens afterwards."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from common.agents.agent import Progress
    from common.approval.types import ApprovalPolicy
    from common.errors import permanent
    from tests.support.agents.brief_input import BriefInput
    from workflows.core.agent import Agent


@workflow.defn(name="brief", failure_exception_types=[ApplicationError])
class BriefAgent(Agent[BriefInput, None]):
    """Goes through one node, may get stuck there, and ends."""

    @workflow.init
    def __init__(self, input: BriefInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: BriefInput) -> str:
        if input.after:
            with self.node("wait"):
                await self.hibernate(workflow.now() + input.after)
        with self.node(input.node):
            self.note(f"says {input.say[:100]}")
            if input.stuck_for:
                watch = self._display.watchdog.watch
                with watch("step", input.node, timedelta(minutes=10), workflow.now()):
                    await workflow.sleep(input.stuck_for)
        with self.node("end"):
            if input.ending == "sleeps":
                await self.hibernate(None)
            if input.ending.startswith("asks"):
                when = f" at {workflow.now().isoformat()}" if input.ending == "asks anew" else ""
                policy = ApprovalPolicy(approvers=("ann",))
                return (await self.ask(f"Say it{when}?", Progress(total=1), policy)).words
            if input.ending == "fails":
                raise permanent("Broken", "it did not work out")
        return input.say

"""The template agent: look, sleep until there is something to do, ask, look once more, act."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from cli.new.template.activities import TemplateActivities
    from cli.new.template.inputs import (
        Deleted,
        DeleteRequest,
        FindRequest,
        TemplateInput,
        TemplateMemory,
        TemplatePlan,
    )
    from common.agents.agent import Receipt
    from workflows.core.agent import READ, Action, Agent, Premise


@workflow.defn(name="template")
class TemplateAgent(Agent[TemplateInput, TemplateMemory]):
    """Watches a folder, and deletes its old files once people have approved exactly those."""

    # It may sleep for weeks: it moves to new builds of the workers by itself.
    long_lived = True

    @workflow.init
    def __init__(self, input: TemplateInput) -> None:
        super().__init__(input, TemplateMemory)

    @workflow.run
    async def run(self, input: TemplateInput) -> str:
        """Go from node to node; begun again with its memory, it comes back to where it was."""
        memory = self.memory
        while True:
            with self.node("look"):
                if memory.plan is None:
                    find = FindRequest(path=input.path, older_than=input.older_than)
                    memory.plan = await self.call(TemplateActivities.find, find, READ)
                plan = memory.plan
            if not plan.files:
                with self.node("sleep"):
                    then = workflow.now() + input.every
                    await self.hibernate(then, wake_on=lambda: memory.look_now, waiting_for="the next look")
                memory.plan, memory.look_now = None, False
                continue
            with self.node("approval"):
                question = f"Delete the old files in {plan.path}, {len(plan.files)} in all?"
                outcome = await self.ask(question, plan, input.policy(self.owner), premises=self._premises)
            if not outcome.approved:
                return outcome.words
            with self.node("delete"):
                delete, premises = DeleteRequest(plan=outcome.plan), self._premises(outcome.plan)
                acted = await self.act(Action[Deleted](TemplateActivities.delete, delete, outcome, premises))
            if acted.result:
                return f"files deleted: {acted.result.files}"
            memory.plan = None  # the folder is no longer as people saw it: look and ask again

    def hear(self, words: str) -> Receipt:
        """Take what people tell it with `starter.py tell`."""
        if words.strip().lower() != "look now":
            return Receipt(taken=False, words="it understands only: look now")
        self.memory.look_now = True
        return Receipt(taken=True, words="it looks now, or once it next comes to sleep")

    def _premises(self, plan: TemplatePlan) -> list[Premise]:
        """What a plan rests on, fetched again right before anything is deleted: its files are unchanged."""
        find = FindRequest(path=self.input.path, older_than=self.input.older_than)
        approved = set(plan.files)

        def unchanged(now: TemplatePlan) -> list[str]:
            return [file.name for file in now.files if file in approved]

        return [Premise("old files", TemplateActivities.find, find, unchanged(plan), read=unchanged)]

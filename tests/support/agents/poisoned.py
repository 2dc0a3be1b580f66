"""An agent that gives Temporal data that is too large, too long or wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from common.approval.types import ApprovalPolicy
    from tests.support.agents.poison import Poison, PoisonInput, PoisonMemory, Poisons
from workflows.core.agent import READ, Agent


@workflow.defn(name="poisoned")
class PoisonedAgent(Agent[PoisonInput, PoisonMemory]):
    """Does one thing with data of the requested size."""

    @workflow.init
    def __init__(self, input: PoisonInput) -> None:
        super().__init__(input, PoisonMemory)

    @workflow.run
    async def run(self, input: PoisonInput) -> Any:
        size = input.size
        name = "n" * size if input.what == "node" else "it"
        with self.node(name):
            match input.what:
                case "argument":
                    return (await self.call(Poisons.take, Poison(text="a" * size), READ)).size
                case "result":
                    return len((await self.call(Poisons.give, Poison(size=size), READ)).text)
                case "activity's failure":
                    await self.call(Poisons.fail, Poison(size=size), READ)
                case "failing activity":
                    await self.call(Poisons.keep_failing, Poison(size=size), READ)
                case "activity's details":
                    await self.call(Poisons.fail_with_details, Poison(size=size), READ)
                case "failure":
                    raise ApplicationError("m" * size, type="Poisoned", non_retryable=True)
                case "details":
                    raise ApplicationError("see", "d" * size, type="Poisoned", non_retryable=True)
                case "agent's result":
                    return "r" * size
                case "state":
                    self.memory.rounds += 1
                    self.memory.text = "s" * size
                    await self.carry_over(now=self.memory.rounds == 1)
                    return len(self.memory.text)
                case "note":
                    self.note("t" * size, fact="f" * size)
                    await self.hibernate(workflow.now() + timedelta(days=9))
                case "wait":
                    await self.hibernate(workflow.now() + timedelta(days=9), waiting_for="w" * size)
                case "node":
                    await self.hibernate(workflow.now() + timedelta(days=9))
                case "question":
                    policy = ApprovalPolicy(approvers=("ann",))
                    return (await self.ask("q" * size, Poison(text="p" * size), policy)).words
                case "approvers":
                    policy = ApprovalPolicy(approvers=tuple(f"ann{each}" for each in range(size)))
                    return (await self.ask("Which?", Poison(), policy)).words
                case "input":
                    return len(input.say)
        return "nothing"

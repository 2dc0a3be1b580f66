"""An agent with much to remember, for tests of large and of secret state."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field
from temporalio import workflow

from common.agents.agent import AgentInput
from tests.support.agents.doubles import Step, World
from workflows.core.agent import READ, Agent


class KeeperInput(AgentInput):
    """The keeper's input: how often it carries its state over, how large that is, what it says."""

    rounds: int = 0
    state_bytes: int = 0
    say: str = ""
    lines: int = 0
    steps: int = 0
    fail: bool = False


class KeeperMemory(BaseModel):
    """A chat, and a state of the requested size."""

    rounds: int = 0
    state: str = ""
    chat: list[str] = Field(default_factory=list)


class Kept(BaseModel):
    """The final result."""

    rounds: int
    state_bytes: int
    chat: list[str]
    stepped: list[int] = Field(default_factory=list)
    said: str = ""


class BrokenError(Exception):
    """What the keeper fails with, if asked to."""


@workflow.defn(name="keeper", failure_exception_types=[BrokenError])
class KeeperAgent(Agent[KeeperInput, KeeperMemory]):
    """Carries a state over, sleeps until woken, and returns what it has."""

    @workflow.init
    def __init__(self, input: KeeperInput) -> None:
        super().__init__(input, KeeperMemory)
        self.memory.state = self.memory.state or "s" * input.state_bytes

    @workflow.run
    async def run(self, input: KeeperInput) -> Kept:
        memory = self.memory
        if memory.rounds < input.rounds:
            memory.rounds += 1
            memory.chat.append(f"round {memory.rounds}: {input.say}")
            await self.carry_over(now=True)
        with self.node("look"):
            for number in range(input.lines):
                self.note(f"{number}: {input.say}".ljust(2000, "."))
            stepped = [
                await self.call(World.step, Step(number=number), READ) for number in range(input.steps)
            ]
        with self.node("sleep"):
            self.note(f"sleeps: {input.say}")
            await self.hibernate(workflow.now() + timedelta(days=30))
        if input.fail:
            raise BrokenError(input.say)
        return Kept(
            rounds=memory.rounds,
            state_bytes=len(memory.state),
            chat=[*memory.chat, *self.instructions],
            stepped=[len(each.text) for each in stepped],
            said=input.say,
        )

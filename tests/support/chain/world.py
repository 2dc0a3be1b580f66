"""The world of the agent compared with the model: its input, and a market with a fact for each agent."""

from __future__ import annotations

from pydantic import BaseModel, Field
from temporalio import activity

from common.agents.agent import AgentInput
from common.approval.signing import Authority
from common.approval.types import ApprovalPolicy
from common.errors import permanent
from tests.support.agents.doubles import Confirmation, ErrandPlan, Fact, FactValue, World

START_VALUE = 10


class ChainInput(AgentInput):
    """Questions, each with its policy."""

    questions: dict[str, ApprovalPolicy]


class ChainMemory(BaseModel):
    """The current plans, and how questions ended."""

    plans: dict[str, ErrandPlan] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)


class Market(World):
    """A world in which every agent has its own fact, which may move or be out of reach."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(authority)
        self.values: dict[str, int] = {}
        self.unreachable: set[str] = set()

    @activity.defn(name="fact")
    async def fact(self, fact: Fact) -> FactValue:
        """Fetch the agent's fact."""
        agent = activity.info().workflow_id or ""
        if agent in self.unreachable:
            raise permanent("Gone", "the fact cannot be had")
        return FactValue(value=self.values.get(agent, START_VALUE))

    def orders(self, agent: str) -> list[Confirmation]:
        """The orders placed for an agent."""
        return [each for key, each in self.acted.items() if key.startswith(f"{agent}:")]

"""Input and memory of an agent that keeps an approval until it acts on it."""

from __future__ import annotations

from pydantic import BaseModel

from common.agents.agent import AgentInput
from common.approval.types import Answer
from tests.support.agents.doubles import Confirmation, ErrandPlan


class PromiseInput(AgentInput):
    plan: ErrandPlan = ErrandPlan(what="buy", value=10)


class PromiseMemory(BaseModel):
    answer: Answer | None = None
    evidence: list[str] = []


class Promised(BaseModel):
    decision: str
    confirmation: Confirmation | None

"""Input and result of the reading agent."""

from __future__ import annotations

from pydantic import BaseModel

from common.agents.agent import AgentInput


class ReadingInput(AgentInput):
    urls: list[str]
    side_by_side: bool = True


class Reading(BaseModel, frozen=True):
    titles: list[str]

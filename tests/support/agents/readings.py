"""What the reading agent takes and gives."""

from __future__ import annotations

from pydantic import BaseModel

from common.agents.agent import AgentInput


class ReadingInput(AgentInput):
    urls: list[str]
    side_by_side: bool = True


class Reading(BaseModel, frozen=True):
    titles: list[str]

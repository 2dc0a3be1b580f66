"""The brief agent's input; in its own file, since types in a workflow's file are rebuilt at every start."""

from __future__ import annotations

from datetime import timedelta

from common.agents.agent import AgentInput


class BriefInput(AgentInput):
    """Words to say, when to go to which node, whether it gets stuck there, and how it ends."""

    say: str = ""
    after: timedelta | None = None
    node: str = "look"
    stuck_for: timedelta | None = None
    ending: str = "done"

    @property
    def subject(self) -> str:
        """What it says."""
        return self.say

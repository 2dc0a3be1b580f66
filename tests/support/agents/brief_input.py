"""What the brief agent takes; apart from it, as a type in a workflow's file is built anew at every start."""

from __future__ import annotations

from datetime import timedelta

from common.agents.agent import AgentInput


class BriefInput(AgentInput):
    """What it takes: words to say, when it comes to which node, whether it gets stuck there, how it ends."""

    say: str = ""
    after: timedelta | None = None
    node: str = "look"
    stuck_for: timedelta | None = None
    ending: str = "done"

    @property
    def subject(self) -> str:
        """What it says."""
        return self.say

"""Tells people what happens to an agent. Without further settings that is the worker's terminal."""

from __future__ import annotations

import sys

from pydantic import BaseModel
from temporalio import activity


class Notice(BaseModel, frozen=True):
    """What happened, in words, to which agent."""

    agent: str
    event: str
    text: str


class Delivered(BaseModel, frozen=True):
    """By which ways a notice went out."""

    ways: list[str]


class Notices:
    """The activity that sends notices."""

    @activity.defn(name="notify")
    async def notify(self, notice: Notice) -> Delivered:
        """Write the notice to the terminal, stripped of control characters."""
        line = f"{notice.event}: {notice.agent}: {notice.text}"
        print("".join(char if char.isprintable() else " " for char in line), file=sys.stderr, flush=True)
        return Delivered(ways=["terminal"])

"""An agent's notebook as a line of stages: where it was, since when, for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from common.agents.agent import NotebookEntry


@dataclass
class Stage:
    """A stay at a node: when its first and its last line were written, and that last line."""

    node: str
    first: datetime
    last: datetime
    outcome: str

    @property
    def took(self) -> str:
        """How long it lasted so far, in words; empty where too short to tell."""
        return in_words(self.last - self.first)


def stages_of(entries: Iterable[NotebookEntry]) -> list[Stage]:
    """The stages that the lines of a notebook tell of, in their order."""
    stages: list[Stage] = []
    for entry in entries:
        if not entry.node:
            continue
        if not stages or stages[-1].node != entry.node:
            stages.append(Stage(entry.node, entry.at, entry.at, entry.text))
        stages[-1].last, stages[-1].outcome = entry.at, entry.text
    return stages


def in_words(span: timedelta) -> str:
    """A span of time in its two largest units; empty under a second."""
    seconds = int(span.total_seconds())
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])

"""An agent's notebook as a timeline: which nodes it went through, when, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from common.agents.agent import NotebookEntry


@dataclass
class NodeVisit:
    """A stay at a node: when its first and last notebook lines were written, and the last line's text."""

    node: str
    first: datetime
    last: datetime
    outcome: str

    @property
    def took(self) -> str:
        """How long it has lasted, in words; empty under a second."""
        return in_words(self.last - self.first)


def node_visits(entries: Iterable[NotebookEntry]) -> list[NodeVisit]:
    """The visits that a notebook's lines tell of, oldest first."""
    visits: list[NodeVisit] = []
    for entry in entries:
        if not entry.node:
            continue
        if not visits or visits[-1].node != entry.node:
            visits.append(NodeVisit(entry.node, entry.at, entry.at, entry.text))
        visits[-1].last, visits[-1].outcome = entry.at, entry.text
    return visits


def in_words(span: timedelta) -> str:
    """A duration in its two largest units; empty under a second."""
    seconds = int(span.total_seconds())
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])

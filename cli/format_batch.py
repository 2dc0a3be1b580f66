"""Formats a batch as lines of text: its bar, its counts, items longest in flight, and those set aside."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime

from cli.output import clean, program
from common.agents.batch import BatchStatus
from common.client.batches import counts, percent
from common.grammar import in_utc

WIDTH = 40
# The parts of a bar: done, quarantined, in flight, waiting.
SIGNS = ("█", "▒", "░", "·")


def bar_parts(batch: BatchStatus, width: int = WIDTH) -> list[int]:
    """How many of `width` characters each part gets; at least one if it is not empty."""
    counts = [batch.done, batch.quarantined, batch.in_flight]
    parts = [max(1, count * width // batch.items) if count else 0 for count in counts]
    while sum(parts) > width:
        parts[parts.index(max(parts))] -= 1
    if not batch.waiting:
        # The largest part gets what rounding left over.
        parts[parts.index(max(parts))] += width - sum(parts)
    return [*parts, width - sum(parts)]


def bar(batch: BatchStatus, width: int = WIDTH) -> str:
    """A one-line progress bar, with the percentage of items that have ended."""
    if not batch.items:
        return "no items"
    drawn = "".join(sign * part for sign, part in zip(SIGNS, bar_parts(batch, width), strict=True))
    return f"{drawn} {percent(batch)}"


def batch_pairs(batch: BatchStatus) -> list[tuple[str, str]]:
    """The facts that fit on a line each, as pairs of name and value."""
    of = f"agents of kind {batch.kind}" if batch.kind else "activities"
    pace = "" if batch.pace is None else f"{batch.pace:g} an hour"
    eta = f"done about {_minute(batch.eta)}" if batch.eta else ""
    asks = f"{batch.asking} wait for an answer: {program()} inbox --batch {shlex.quote(batch.id)}"
    return [
        ("batch", f"{batch.id}: {of}, {batch.at_once} at once"),
        ("progress", bar(batch)),
        ("items", counts(batch)),
        ("pace", ", ".join(filter(None, [pace, eta]))),
        ("questions", asks if batch.asking else ""),
    ]


def batch_lines(batch: BatchStatus, limit: int | None = None) -> list[str]:
    """The items longest in flight, with their agents' ids, and those set aside, with the reasons."""
    lines = []
    if batch.stuck:
        lines += ["", "in flight longest"]
        lines += _columns(
            (each.key, f"since {_minute(each.since)}", each.agent) for each in batch.stuck[:limit]
        )
    if batch.set_aside:
        shown = batch.set_aside[::-1][:limit]
        more = batch.quarantined - len(shown)
        lines += ["", f"quarantined, the last {len(shown)} of {batch.quarantined}" if more else "quarantined"]
        lines += _columns((each.key, each.reason) for each in shown)
    return lines


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    cleaned = [[clean(cell) for cell in row] for row in rows]
    width = min(30, max(len(row[0]) for row in cleaned))
    return [f"  {row[0]:<{width}}  {'  '.join(filter(None, row[1:]))}" for row in cleaned]


def _minute(at: datetime) -> str:
    return f"{in_utc(at):%Y-%m-%d %H:%M} UTC"

"""An agent's notebook and state as server-sent events, which resume exactly where a reader left off.

An event's id says how far its reader has got: `<lines of the notebook>-<digest of the state>`. Nothing is
kept here between events, so the id is good after any restart.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from temporalio.service import RPCError

from common.client.errors import NoSuchAgentError
from common.client.view import AgentView
from common.digest import digest
from common.object_store import StoreUnavailableError
from gateway.views import ArchivedView, Views

HEARTBEAT = 15.0  # seconds; proxies cut what is silent for a minute
SHORTEST = 0.5
LONGEST = 2.0
LONGEST_STREAM = 3600.0  # then the reader comes back with its token, which may have expired
RECONNECT_AFTER = 2000  # milliseconds

# What makes a state; the notebook has events of its own.
STATE = {
    "id", "status", "state", "node", "waiting_for", "wake_at", "closed_at", "progress", "cost", "stuck_at",
    "approvers", "failure", "live",
}  # fmt: skip


@dataclass(frozen=True)
class Cursor:
    """How far a reader has got: so many lines of the notebook, and the last state seen."""

    lines: int = 0
    state: str = ""

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """The cursor of an event's id; None where it is none."""
        found = re.fullmatch(r"([0-9]{1,9})-([0-9a-f]{0,16})", text)
        return cls(int(found[1]), found[2]) if found else None

    def __str__(self) -> str:
        return f"{self.lines}-{self.state}"


def fresh(view: AgentView, cursor: Cursor) -> tuple[list[str], Cursor]:
    """The events that a reader at ``cursor`` has not had, and the cursor after them.

    Lines dropped from the notebook before the reader saw them are one `gap` event with their number.
    """
    events: list[str] = []
    if view.live:
        first = view.dropped
        if cursor.lines < first:
            missed, cursor = first - cursor.lines, Cursor(first, cursor.state)
            events.append(_event("gap", cursor, {"lines": missed}))
        for number, entry in enumerate(view.notebook, first + 1):
            if number > cursor.lines:
                cursor = Cursor(number, cursor.state)
                events.append(_event("note", cursor, {"number": number, **entry.model_dump(mode="json")}))
    state = view.model_dump(mode="json", include=STATE)
    state["requests"] = [{"id": each.id, "digest": each.digest} for each in view.requests]
    state_digest = digest(state)[:16]
    if state_digest != cursor.state:
        cursor = Cursor(cursor.lines, state_digest)
        events.append(_event("state", cursor, state))
    return events, cursor


def is_over(view: AgentView) -> bool:
    """Whether no further event can come."""
    return not view.running and (view.live or isinstance(view, ArchivedView))


async def stream(
    views: Views, id: str, cursor: Cursor, allowed: Callable[[AgentView], bool]
) -> AsyncIterator[str]:
    """The events of an agent from ``cursor`` on, until it has closed or is not the reader's to see."""
    events: list[str]
    began = spoke = time.monotonic()
    pause = SHORTEST
    yield f"retry: {RECONNECT_AFTER}\n\n"
    while time.monotonic() - began < LONGEST_STREAM:
        try:
            view = await views.view(id)
        except (RPCError, RuntimeError, StoreUnavailableError):
            events = []  # Temporal or the archive is away; the reader need not know
        except NoSuchAgentError:
            return
        else:
            if not allowed(view):
                return
            events, cursor = fresh(view, cursor)
            for event in events:
                yield event
            if is_over(view):
                return
        if events:
            spoke, pause = time.monotonic(), SHORTEST
        elif time.monotonic() - spoke > HEARTBEAT:
            spoke = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, LONGEST)


def _event(name: str, cursor: Cursor, data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {cursor}\nevent: {name}\ndata: {text}\n\n"

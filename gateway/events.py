"""An agent's notebook and state as server-sent events that resume exactly where a reader left off.

An event's id is its reader's position: `<lines of the notebook>-<digest of the state>`. The gateway
keeps nothing between events, so an id stays valid across restarts and between gateways.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from temporalio.service import RPCError

from common.client.errors import NoSuchAgentError
from common.client.view import AgentView
from common.digest import digest
from common.object_store import StoreUnavailableError
from gateway.views import ArchivedView, Views

KEEPALIVE_SECONDS = 15.0  # proxies close connections that are silent for a minute
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.5, 2.0
MAX_STREAM_SECONDS = 300.0  # then the reader reconnects, and is authenticated again
RECONNECT_MILLISECONDS = 2000

# The fields of a `state` event; the notebook has its own events.
STATE = {
    "id", "status", "state", "node", "waiting_for", "wake_at", "closed_at", "progress", "cost", "stuck_at",
    "approvers", "failure", "live", "batch", "trouble",
}  # fmt: skip


UNWATCHED = {"results", "pages"}


@dataclass(frozen=True)
class Cursor:
    """A reader's position: the number of notebook lines and the digest of the last state."""

    lines: int = 0
    state: str = ""

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Parse an event's id; None if the text is no such id."""
        found = re.fullmatch(r"([0-9]{1,9})-([0-9a-f]{0,16})", text)
        return cls(int(found[1]), found[2]) if found else None

    def __str__(self) -> str:
        return f"{self.lines}-{self.state}"


def new_events(view: AgentView, cursor: Cursor) -> tuple[list[bytes], Cursor]:
    """The encoded events that a reader at ``cursor`` has not received, and the cursor after them.

    Lines that the notebook dropped before the reader saw them become one `gap` event with their number.
    """
    events: list[bytes] = []
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
    if state["batch"]:
        # Leave out hundreds of references that nobody watching needs.
        state["batch"] = {name: value for name, value in state["batch"].items() if name not in UNWATCHED}
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
) -> AsyncIterator[bytes]:
    """An agent's events after ``cursor``, until it has closed or ``allowed`` says no."""
    events: list[bytes]
    began = sent_at = time.monotonic()
    pause = MIN_POLL_SECONDS
    yield format_sse_event(retry=RECONNECT_MILLISECONDS)
    while time.monotonic() - began < MAX_STREAM_SECONDS:
        try:
            view = await views.view(id)
        except (RPCError, RuntimeError, StoreUnavailableError):
            events = []  # Temporal or the archive is unreachable for now; keep the stream open
        except NoSuchAgentError:
            return
        else:
            if not allowed(view):
                return
            events, cursor = new_events(view, cursor)
            for event in events:
                yield event
            if is_over(view):
                return
        if events:
            sent_at, pause = time.monotonic(), MIN_POLL_SECONDS
        elif time.monotonic() - sent_at > KEEPALIVE_SECONDS:
            sent_at = time.monotonic()
            yield KEEPALIVE_COMMENT
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, MAX_POLL_SECONDS)


def _event(name: str, cursor: Cursor, data: Any) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(id=str(cursor), event=name, data_str=text)

"""What an agent is doing, and how it ended. Its users take long to import, so it has a module of its own."""

from __future__ import annotations

from enum import StrEnum

# The update that carries signals once Temporal accepts no more of them.
PAST_LIMIT = "past_limit"


class AgentState(StrEnum):
    """What a running agent is doing."""

    WORKING = "working"
    SLEEPING = "sleeping"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_EVENT = "awaiting_event"
    STUCK = "stuck"
    PAUSED = "paused"


class RunStatus(StrEnum):
    """Whether an agent runs, or how it closed."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"

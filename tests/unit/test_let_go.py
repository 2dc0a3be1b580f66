"""What the kit does not do where a worker lets go of an agent: the collector runs amidst another agent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from common.agents.agent import AgentState
from workflows.core import watchdog
from workflows.core.display import Display, Wait
from workflows.core.watchdog import OpenCall, Watchdog

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Shown(Display):
    """Counts what would become commands."""

    def __init__(self) -> None:
        self._waits: list[Wait] = []
        self.watchdog = Watchdog(self._now_stuck, self._got_through)
        self.shown = 0

    def show(self) -> None:
        self.shown += 1

    def _got_through(self, call: OpenCall) -> None:
        self.shown += 1


def wait() -> Wait:
    return Wait(AgentState.AWAITING_APPROVAL, "approval", None)


def test_a_wait_that_is_collected_as_garbage_shows_nothing() -> None:
    """One of two waits that ends by itself is shown; one whose agent is gone is not."""
    agent = Shown()
    with agent.waiting(wait()):
        with agent.waiting(wait()):
            agent.shown = 0
        assert agent.shown == 1
        left = agent.waiting(wait())
        left.__enter__()
        agent.shown = 0
        left.gen.close()  # type: ignore[attr-defined]
        assert agent.shown == 0


def test_a_stuck_call_that_is_collected_as_garbage_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gets through is shown; one whose agent is gone is not."""
    monkeypatch.setattr(watchdog.workflow, "now", lambda: NOW)
    monkeypatch.setattr(Watchdog, "_wake_by", lambda self, due: None)
    agent = Shown()
    for gone in (False, True):
        agent.shown = 0
        left = agent.watchdog.watch("call", "node", timedelta(minutes=1), NOW)
        left.__enter__()
        agent.watchdog._calls[-1].stuck = True
        if gone:
            left.gen.close()  # type: ignore[attr-defined]
        else:
            left.__exit__(None, None, None)
        assert agent.shown == (0 if gone else 1)

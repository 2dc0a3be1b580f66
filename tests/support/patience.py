"""How long gateway and CLI wait for agents: in tests as long as a busy worker may take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from common.client.client import AgentClient
from common.client.view import QUERY_PATIENCE

LONG = timedelta(seconds=60)
# Attributes of modules, changed if they are loaded. The time limit of a single query stays the same
# everywhere: a worker that drops a run loses the queries of that moment, so waiting longer would be in vain.
PLACES: dict[str, dict[str, object]] = {
    "cli.agents": {"START_WAIT": LONG.total_seconds()},
    "common.client.batch_decisions": {"ASKING_PATIENCE": LONG, "OUTCOME_PATIENCE": LONG},
    "gateway.decisions": {"OUTCOME_PATIENCE": LONG},
    "gateway.request_view": {"PATIENCE": LONG},
    "gateway.views": {"PAGE_PATIENCE": QUERY_PATIENCE},
    "gateway.routes.approve": {"PAGE_PATIENCE": QUERY_PATIENCE},
    "gateway.routes.dashboard": {"PAGE_PATIENCE": QUERY_PATIENCE},
    "gateway.routes.files": {"PAGE_PATIENCE": QUERY_PATIENCE},
    "gateway.slack.interactions": {
        "LOOK_SECONDS": QUERY_PATIENCE.total_seconds(),
        "TAKE_SECONDS": LONG.total_seconds(),
    },
}


def wait_longer(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Set these long waiting times in this process; for tests whose agents have a worker."""
    for name, patiences in PLACES.items():
        if module := sys.modules.get(name):
            for patience, value in patiences.items():
                change(module, patience, value)
    for asks_until_told in (AgentClient.outcome, AgentClient.receipt):
        change(asks_until_told, "__defaults__", (LONG,))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test can undo this patch, when it stops the worker, to get the normal limits back."""
    wait_longer(monkeypatch.setattr)

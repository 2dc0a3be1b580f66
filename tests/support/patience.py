"""How long doors wait for agents: people a moment, tests as long as a worker on a busy machine may take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from common.client.client import AgentClient
from common.client.view import answer_of

LONG = timedelta(seconds=60)
# Of modules, where they are loaded.
PLACES = {
    "cli.agents": ("MOMENT",),
    "common.client.client": ("QUERY_PATIENCE",),
    "common.client.view": ("QUERY_PATIENCE",),
    "common.client.gathered": ("QUERY_PATIENCE", "ASKING_PATIENCE", "OUTCOME_PATIENCE"),
    "gateway.decisions": ("OUTCOME_PATIENCE",),
    "gateway.request_view": ("PATIENCE",),
    "gateway.views": ("QUERY_PATIENCE", "PAGE_PATIENCE"),
    "gateway.routes.approve": ("PAGE_PATIENCE",),
    "gateway.routes.dashboard": ("PAGE_PATIENCE",),
    "gateway.routes.files": ("PAGE_PATIENCE",),
    "gateway.slack.interactions": ("LOOK_SECONDS", "TAKE_SECONDS"),
}


def wait_longer(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Have the doors of this process wait as long; for tests whose agents have a worker."""
    for name, patiences in PLACES.items():
        if module := sys.modules.get(name):
            for each in patiences:
                usual = getattr(module, each)
                change(module, each, LONG if isinstance(usual, timedelta) else LONG.total_seconds())
    functions: list[Any] = [AgentClient.view, AgentClient.outcome, AgentClient.receipt, answer_of]
    if views := sys.modules.get("gateway.views"):
        functions.append(views.Views.view)
    for function in functions:
        usual = function.__defaults__
        longer = tuple(LONG if isinstance(each, timedelta) else each for each in usual)
        change(function, "__defaults__", longer)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its undoing, in a test that takes the worker away, gives the doors their own patience back."""
    wait_longer(monkeypatch.setattr)

"""What the sandbox shows the SDK of an agent's class."""

from __future__ import annotations

import pytest
from temporalio import workflow
from temporalio.workflow import _Definition

from common.agents.kinds import KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_sandbox_shows_every_handler_of_an_agent_and_little_else(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the class has outside, where it is checked, it has in the sandbox; the kit's other methods not."""
    agent = KINDS[kind].workflow_class()
    known = _Definition.must_from_class(agent)
    handlers = [*known.signals.values(), *known.queries.values(), *known.updates.values()]
    monkeypatch.setattr(workflow.unsafe, "in_sandbox", lambda: True)
    shown = set(dir(agent))
    assert {each.fn.__name__ for each in handlers} | {"__init__", known.run_fn.__name__} <= shown
    assert not shown & {"ask", "act", "call", "hibernate"}

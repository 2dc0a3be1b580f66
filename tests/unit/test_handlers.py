"""What the sandbox shows the SDK of an agent's class."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest
from temporalio import workflow
from temporalio.workflow import _Definition

from common.agents.agent import AgentInput
from common.agents.kinds import KINDS
from workflows.core.agent import Agent


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


def test_an_agent_may_have_other_bases_too() -> None:
    """What they define is shown as its own is, wherever they stand."""

    class Asked(ABC):
        @workflow.query
        def asked(self) -> str:
            return self.words()

        @abstractmethod
        def words(self) -> str: ...

    class Told:
        @workflow.query
        def told(self) -> str:
            return "x"

    class Both(Told, Agent[AgentInput, None], Asked):
        pass

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(workflow.unsafe, "in_sandbox", lambda: True)
        assert {"asked", "told", "on_signal"} <= set(dir(Both))

"""Events that a query brings before their task has begun do not reach an agent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion

from common.temporal.sandbox import TOO_EARLY, _Instance

BEGAN = 1_000


class Run:
    """An agent's state; counts what reaches it."""

    def __init__(self) -> None:
        self.jobs: list[str | None] = []

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        self.jobs += [job.WhichOneof("variant") for job in act.jobs]
        done = WorkflowActivationCompletion()
        done.successful.SetInParent()
        return done


def activation(length: int, size: int, began: int, *jobs: str, replaying: bool = False) -> WorkflowActivation:
    act = WorkflowActivation(history_length=length, history_size_bytes=size, is_replaying=replaying)
    act.timestamp.FromSeconds(began)
    for each in jobs:
        getattr(act.jobs.add(), each).SetInParent()
    return act


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def ended() -> list[tuple[str, str]]:
    """The ids of the runs that have ended."""
    return []


@pytest.fixture
def instance(run: Run, ended: list[tuple[str, str]]) -> _Instance:
    """An agent at the end of its first task."""
    info: Any = SimpleNamespace(workflow_id="a", run_id="r", workflow_type="errand", namespace="default")
    instance = _Instance(run, info, range(0, 2), lambda *ids: ids in ended)  # type: ignore[arg-type]
    instance.activate(activation(3, 500, BEGAN, "initialize_workflow"))
    run.jobs.clear()
    return instance


def test_events_that_come_with_a_query_wait_for_their_task(run: Run, instance: _Instance) -> None:
    """The query fails; a fresh instance, which the SDK then makes, gets them at the time of their task."""
    early = instance.activate(activation(8, 500, BEGAN, "resolve_activity"))
    assert (early.failed.failure.message, run.jobs) == (TOO_EARLY, [])
    begun = instance.activate(activation(9, 900, BEGAN + 2, "resolve_activity"))
    assert (begun.HasField("successful"), run.jobs) == (True, ["resolve_activity"])


def test_an_agent_that_was_terminated_gets_what_no_task_will_bring(
    run: Run, instance: _Instance, ended: list[tuple[str, str]]
) -> None:
    ended.append(("a", "r"))
    assert instance.activate(activation(8, 500, BEGAN, "resolve_activity")).HasField("successful")
    assert run.jobs == ["resolve_activity"]


@pytest.mark.parametrize(
    "act",
    [
        activation(9, 900, BEGAN + 2, "fire_timer"),
        activation(9, 900, BEGAN, "signal_workflow"),
        activation(9, 500, BEGAN + 2, "signal_workflow"),
        activation(3, 500, BEGAN, "resolve_activity"),
        activation(3, 500, BEGAN, "query_workflow"),
        activation(8, 500, BEGAN, "query_workflow"),
        activation(9, 500, BEGAN, "fire_timer", replaying=True),
    ],
    ids=[
        "a task that has begun",
        "after the server's clock was set back",
        "from a server that tells no size",
        "a local activity ends within the task",
        "a query",
        "a query that brought nothing for the agent",
        "a replay",
    ],
)
def test_all_else_reaches_the_agent(run: Run, instance: _Instance, act: WorkflowActivation) -> None:
    """Nothing is refused that belongs to a task."""
    assert instance.activate(act).HasField("successful")
    assert len(run.jobs) == 1

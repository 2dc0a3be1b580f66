"""Traced agents: whoever reaches Temporal writes headers, too, and harms no agent by them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from temporalio.api.common.v1 import Header, Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest

from common.settings import Settings
from common.telemetry.spans import traced
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.otlp import Collector, collecting
from tests.support.stage import Stage

FOREIGN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"traceparent": ')


@pytest.fixture
async def stage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Stage, Collector]]:
    """A stage with encryption whose worker and clients are traced."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        own = {
            "HIBERNAUT_DATA_DIR": str(settings.data_dir),
            "HIBERNAUT_TASK_QUEUE": settings.task_queue,
            "HIBERNAUT_PAYLOAD_KEYS": "k1:" + "ab" * 32,
        }
        found = Settings.read({**os.environ, **own})
        with traced(found, "worker"):
            stage = Stage(await connect(found), found)
            async with stage.at_work():
                yield stage, collector


async def test_a_foreign_trace_header_harms_no_agent(stage: tuple[Stage, Collector]) -> None:
    """With a signal that nobody can read: the agent goes on, is replayed and decided; its trace is whole."""
    desk, collector = stage
    agent = await desk.start(ErrandInput())
    request = await desk.asked(agent)
    signal = SignalWorkflowExecutionRequest(
        namespace=desk.client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=agent.id),
        signal_name="tell",
        header=Header(fields={"_tracer-data": FOREIGN}),
    )
    await desk.client.workflow_service.signal_workflow_execution(signal)
    await desk.rest()
    await desk.work()
    await desk.decide(agent, request)
    await agent.result()
    spans = ("HandleSignal:tell", "StartWorkflow:errand", "RunWorkflow:errand", "CompleteWorkflow:errand")
    await eventually(lambda: all(map(collector.named, spans)))
    [told] = collector.named("HandleSignal:tell")
    [done] = collector.named("CompleteWorkflow:errand")
    [started] = collector.named("StartWorkflow:errand")
    assert told.links == ()
    assert {told.trace, done.trace} == {started.trace}
    # Without a cache each task replays what was before it.
    assert len(collector.named("RunWorkflow:errand")) == 1

"""Traces from an entry point through its agent to each activity and model call, sent by OTLP over HTTP.

Built on Temporal's own interceptor, which reports a workflow's spans as they happen, and none in a replay: an
agent that sleeps for a month is visible all the time. Imported only if tracing is on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.api.common.v1 import Payload
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.converter import PayloadConverter
from temporalio.worker import (
    ActivityInboundInterceptor,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

# How long to go on sending remaining spans when a process ends.
LAST_SECONDS = 3
# For names that somebody else may have chosen, such as a signal's.
MAX_NAME = 100
# The headers that carry a trace. Baggage from others is not passed on.
CARRIED = ("traceparent", "tracestate")
_EXCEPTION_TYPE = "exception.type"


class Tracing:
    """The tracing of one process.

    Args:
        process: `worker`, `gateway` or `cli`; names the service if `OTEL_SERVICE_NAME` does not.
    """

    def __init__(self, process: str) -> None:
        # Do not log every failed attempt, only that a batch was given up.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: f"hibernaut-{process}"}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(RedactingExporter(OTLPSpanExporter())))
        self.tracer = self._provider.get_tracer("hibernaut")
        self._root = _Traced(self.tracer)

    @property
    def of_client(self) -> TracingInterceptor:
        """The interceptor of a client, and of the workflows of its workers."""
        return self._root

    @property
    def of_activities(self) -> Interceptor:
        """The interceptor of a worker's activities; it goes inside the one that reports outcomes."""
        return _TracedActivities(self._root)

    def close(self) -> None:
        """Send remaining spans, for a few seconds; the library itself would try for longer."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(LAST_SECONDS)


class RedactingExporter(SpanExporter):
    """Sends spans without error messages: these may quote what was read, which Temporal keeps encrypted."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send these spans; see `SpanExporter`."""
        return self._exporter.export([_without_messages(each) for each in spans])

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


def _without_messages(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name[:MAX_NAME],
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=[_type_alone(each) for each in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _type_alone(event: Event) -> Event:
    known = (event.attributes or {}).get(_EXCEPTION_TYPE)
    return Event(event.name, {} if known is None else {_EXCEPTION_TYPE: known}, event.timestamp)


class _Carriers(PayloadConverter):
    """Reads the header that carries a trace, which anyone who can reach Temporal may have written.

    A header that cannot be read carries nothing. An error would fail the workflow task again and again.
    """

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        return PayloadConverter.default.to_payloads(values)

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: list[type] | None = None
    ) -> list[dict[str, str]]:
        return [_carrier_of(each) for each in payloads]


def _carrier_of(payload: Payload) -> dict[str, str]:
    try:
        [found] = PayloadConverter.default.from_payloads([payload])
    except Exception:
        return {}
    if not isinstance(found, Mapping):
        return {}
    return {name: found[name] for name in CARRIED if isinstance(found.get(name), str)}


CARRIERS = _Carriers()
_PROPAGATOR = TraceContextTextMapPropagator()


class _Traced(TracingInterceptor):
    """For clients and workflows; activities are left to `_TracedActivities`."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__(tracer)
        self.payload_converter = CARRIERS
        self.text_map_propagator = _PROPAGATOR

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return next

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        super().workflow_interceptor_class(input)
        return _TracedWorkflow


class _TracedWorkflow(TracingWorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self.payload_converter = CARRIERS
        self.text_map_propagator = _PROPAGATOR


class _TracedActivities(Interceptor):
    def __init__(self, root: TracingInterceptor) -> None:
        self._root = root

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return TracingInterceptor.intercept_activity(self._root, next)

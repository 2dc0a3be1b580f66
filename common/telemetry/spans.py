"""Spans of this program's own. Until tracing was opened they are nothing, and OpenTelemetry is not loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from common.settings import Settings

if TYPE_CHECKING:
    from common.telemetry.tracing import Tracing

Attribute = str | int | float | bool | Sequence[str]
Kind = Literal["INTERNAL", "SERVER", "CLIENT"]


class Span(Protocol):
    """What may be said of a span while it lasts. Names and attributes hold no content: ids and numbers."""

    def set_attribute(self, key: str, value: Attribute) -> None:
        """Say one thing more."""

    def update_name(self, name: str) -> None:
        """Call it otherwise, where more is known."""


class _Nothing:
    def set_attribute(self, key: str, value: Attribute) -> None: ...

    def update_name(self, name: str) -> None: ...


_NOTHING = _Nothing()
_tracing: Tracing | None = None


@contextmanager
def traced(settings: Settings, process: str) -> Iterator[None]:
    """Trace this process meanwhile, where the settings name a place for traces.

    Args:
        settings: the process's.
        process: `worker`, `gateway` or `cli`.
    """
    global _tracing
    if _tracing or not settings.telemetry.traces:
        yield
        return
    from common.telemetry.tracing import Tracing

    _tracing = Tracing(process)
    try:
        yield
    finally:
        _tracing.close()
        _tracing = None


def client_interceptors(settings: Settings) -> list[Any]:
    """What traces the calls of a client, and the workflows of its workers; nothing where traces are off."""
    return [_tracing.of_client] if _tracing and settings.telemetry.traces else []


def activity_interceptors() -> list[Any]:
    """What traces the activities of a worker; it stands inside what reports their outcome."""
    return [_tracing.of_activities] if _tracing else []


@contextmanager
def span(
    name: str,
    kind: Kind = "INTERNAL",
    attributes: Mapping[str, Attribute] | None = None,
    carrier: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """A span around what happens inside; an exception marks it as failed, with its type alone.

    Args:
        name: of few values, as `chat gpt-5`.
        kind: as OpenTelemetry has them.
        attributes: what is known from the start.
        carrier: headers of a request from elsewhere, whose trace it continues.
    """
    if _tracing is None:
        yield _NOTHING
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None if carrier is None else TraceContextTextMapPropagator().extract(carrier)
    with _tracing.tracer.start_as_current_span(
        name,
        context,
        SpanKind[kind],
        dict(attributes or {}),
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(StatusCode.ERROR)
            current.set_attribute("error.type", getattr(error, "type", None) or type(error).__name__)
            raise

"""This program's own spans. Until tracing is on they do nothing, and OpenTelemetry is not imported."""

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
    """A span while it lasts. Names and attributes hold no content, only ids and numbers."""

    def set_attribute(self, key: str, value: Attribute) -> None:
        """Add an attribute."""

    def update_name(self, name: str) -> None:
        """Rename it, once more is known."""


class _Nothing:
    def set_attribute(self, key: str, value: Attribute) -> None: ...

    def update_name(self, name: str) -> None: ...


_NOTHING = _Nothing()
_tracing: Tracing | None = None


@contextmanager
def traced(settings: Settings, process: str) -> Iterator[None]:
    """Trace this process during the block, if the settings say where traces go.

    Args:
        settings: the process's settings.
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
    """The interceptors that trace a client's calls and its workers' workflows; none if tracing is off."""
    return [_tracing.of_client] if _tracing and settings.telemetry.traces else []


def activity_interceptors() -> list[Any]:
    """The interceptors that trace a worker's activities; they go inside the one that reports outcomes."""
    return [_tracing.of_activities] if _tracing else []


@contextmanager
def span(
    name: str,
    kind: Kind = "INTERNAL",
    attributes: Mapping[str, Attribute] | None = None,
    carrier: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """A span around the block; an exception marks it as failed, with only the exception's type.

    Args:
        name: one of few values, such as `chat gpt-5`.
        kind: OpenTelemetry's kind of span.
        attributes: what is known from the start.
        carrier: headers of an incoming request, whose trace it continues.
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

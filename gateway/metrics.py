"""The gateway's metrics in Prometheus' text format. Labels are routes and fixed words, never ids."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Metrics"]

BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

disable_created_metrics()  # type: ignore[no-untyped-call]


def method_of(text: str) -> str:
    """The method as a label: clients may invent methods, and each would be a time series of its own."""
    return text if text in METHODS else "other"


class Metrics:
    """Requests by method, route and status, their durations, open streams, and this process.

    Args:
        streams: returns the number of open event streams.
        agent_gauges: further metrics to report.
    """

    def __init__(self, streams: Callable[[], float], agent_gauges: Collector | None = None) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "hibernaut_http_requests_total",
            "Requests answered; a stream counts when it begins.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "hibernaut_http_request_seconds",
            "Seconds until the answer began.",
            ("route",),
            buckets=BUCKETS,
            registry=registry,
        )
        Gauge("hibernaut_http_streams", "Open event streams.", registry=registry).set_function(streams)
        ProcessCollector(registry=registry)
        if agent_gauges:
            registry.register(agent_gauges)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method_of(method), route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics, in the format `CONTENT_TYPE`."""
        return generate_latest(self._registry)

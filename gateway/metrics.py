"""What the gateway counts of itself, in Prometheus' text format. Routes and numbers only, no ids."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import psutil

BOUNDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests by method, route and status, and how long they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._within: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered; of a stream, its beginning."""
        self._requests[method, route, status] += 1
        self._within[route, bisect_left(BOUNDS, seconds)] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]

    def text(self, streams: int) -> str:
        """Everything counted so far; ``streams`` are open now."""
        lines = ["# TYPE hibernaut_http_requests_total counter"]
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            lines.append(f"hibernaut_http_requests_total{{{labels}}} {count}")
        lines.append("# TYPE hibernaut_http_request_seconds histogram")
        for route in sorted({route for route, _ in self._within}):
            total = 0
            for place, bound in enumerate((*BOUNDS, "+Inf")):
                total += self._within[route, place]
                lines.append(f'hibernaut_http_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}')
            lines.append(f'hibernaut_http_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'hibernaut_http_request_seconds_count{{route="{route}"}} {total}')
        memory = psutil.Process().memory_info().rss
        lines += [
            "# TYPE hibernaut_http_streams gauge",
            f"hibernaut_http_streams {streams}",
            "# TYPE process_resident_memory_bytes gauge",
            f"process_resident_memory_bytes {memory}",
        ]
        return "\n".join(lines) + "\n"

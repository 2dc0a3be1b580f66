"""The figures of a run: what is measured, what of it is reported, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Spent:
    """What one phase of one side took, over all its blocks. CPU in seconds, database in bytes."""

    agents: int = 0
    seconds: float = 0.0
    server_cpu: float = 0.0
    worker_cpu: float = 0.0
    database: int = 0


@dataclass
class Figures:
    """Everything measured on one side; wake-ups in milliseconds."""

    starting: Spent = field(default_factory=Spent)
    waking: Spent = field(default_factory=Spent)
    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    asleep: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    events: float = 0.0
    history: float = 0.0
    worker_memory: int = 0

    def summary(self) -> dict[str, Any]:
        """The figures per agent, as `--json` prints them."""
        return {
            "start_rate": round(self.starting.agents / self.starting.seconds, 2),
            "wake_ms": percentiles(self.warm),
            "cold_wake_ms": {"first": round(self.cold[0], 1), **percentiles(self.cold[1:] or self.cold)}
            if self.cold
            else None,
            "server_cpu_ms": self._each("server_cpu", 1000),
            "worker_cpu_ms": self._each("worker_cpu", 1000),
            "events": self.events,
            "history_bytes": round(self.history),
            "database_bytes": self._each("database", 1),
            "worker_mb_asleep": round(self.worker_memory / 1e6, 1),
        }

    def _each(self, name: str, factor: int) -> dict[str, float]:
        start = getattr(self.starting, name) * factor / self.starting.agents
        wake = getattr(self.waking, name) * factor / self.waking.agents
        return {"start": round(start, 2), "wake": round(wake, 2), "all": round(start + wake, 2)}


def ratios(kit: dict[str, Any], bare: dict[str, Any]) -> dict[str, float]:
    """Kit over bare, each from its `Figures.summary`; over 1 is good for a rate and bad for a cost."""

    def ratio(*path: str) -> float:
        over, under = kit, bare
        for name in path[:-1]:
            over, under = over[name], under[name]
        return round(over[path[-1]] / under[path[-1]], 3) if under[path[-1]] else 0.0

    return {
        "start_rate": ratio("start_rate"),
        "wake_p50": ratio("wake_ms", "p50"),
        "server_cpu": ratio("server_cpu_ms", "all"),
        "worker_cpu": ratio("worker_cpu_ms", "all"),
        "history_bytes": ratio("history_bytes"),
        "database_bytes": ratio("database_bytes", "all"),
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank percentiles."""
    ranked = sorted(values)
    return {f"p{p}": round(ranked[-(-len(ranked) * p // 100) - 1], 1) for p in (50, 95, 99)}


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    kind = "local" if report["local"] else "ordinary"
    lines = [
        f"{report['agents']} agents a side, {report['steps']} {kind} activities each",
        f"{'per agent':34}{'kit':>12}{'bare':>12}{'kit/bare':>10}",
    ]

    def row(title: str, *path: str) -> None:
        values: list[Any] = [report["kit"], report["bare"]]
        for name in path:
            values = [value and value[name] for value in values]
        if values[0] is not None:
            ratio = f"{values[0] / values[1]:10.2f}" if values[1] else ""
            lines.append(f"{title:34}{values[0]:12,.1f}{values[1]:12,.1f}{ratio}")

    row("started per second", "start_rate")
    for each in ("p50", "p95", "p99"):
        row(f"wake-up {each}, ms", "wake_ms", each)
    for each in ("first", "p50", "p95", "p99"):
        row(f"wake-up after a crash {each}, ms", "cold_wake_ms", each)
    for each in ("start", "wake", "all"):
        row(f"server CPU, {each}, ms", "server_cpu_ms", each)
    for each in ("start", "wake", "all"):
        row(f"worker CPU, {each}, ms", "worker_cpu_ms", each)
    row("events", "events")
    row("history, bytes", "history_bytes")
    row("database, bytes", "database_bytes", "all")
    row("worker memory, all asleep, MB", "worker_mb_asleep")
    lines.append(f"server memory, all asleep, MB: {report['server_mb_asleep']}")
    return "\n".join(lines)

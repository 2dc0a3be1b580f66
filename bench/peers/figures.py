"""The figures of a run: what is measured on a side, what is reported, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

BASE = "bare"


@dataclass
class Spent:
    """What one phase of one side used, over all its blocks. CPU in seconds, database in bytes."""

    agents: int = 0
    seconds: float = 0.0
    server_cpu: float = 0.0
    worker_cpu: float = 0.0
    database: int = 0


@dataclass
class Life:
    """Agents from start to end, all with the same number of steps."""

    starting: Spent = field(default_factory=Spent)
    waking: Spent = field(default_factory=Spent)
    history: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """CPU milliseconds and bytes per agent; history only if there is one."""
        found: dict[str, Any] = {
            "server_cpu_ms": self._each("server_cpu", 1000),
            "worker_cpu_ms": self._each("worker_cpu", 1000),
            "kept_bytes": self._each("database", 1)["all"],
        }
        if self.history:
            found["history_bytes"] = round(sum(self.history) / len(self.history))
        return found

    def _each(self, name: str, factor: int) -> dict[str, float]:
        start = getattr(self.starting, name) * factor / self.starting.agents
        wake = getattr(self.waking, name) * factor / self.waking.agents
        return {"start": round(start, 2), "wake": round(wake, 2), "all": round(start + wake, 2)}


@dataclass
class Figures:
    """Everything measured on one side; wake-ups in milliseconds, memory in bytes."""

    life: Life = field(default_factory=Life)
    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    after_kill: list[float] = field(default_factory=list)
    bulk: Spent = field(default_factory=Spent)
    worker_memory: int = 0
    server_memory: int = 0
    server_memory_before: int = 0
    longer: dict[int, Life] = field(default_factory=dict)
    kills: dict[str, int] | None = None

    def summary(self, steps: int) -> dict[str, Any]:
        """The reported figures."""
        starting = self.life.starting
        return {
            "start_rate": round(starting.agents / starting.seconds, 2),
            "wake_ms": percentiles(self.warm),
            "cold_wake_ms": percentiles(self.cold) if self.cold else None,
            "after_kill_ms": round(median(self.after_kill), 1) if self.after_kill else None,
            "bulk_rate": round(self.bulk.agents / self.bulk.seconds, 2) if self.bulk.seconds else None,
            "worker_mb": round(self.worker_memory / 1e6, 1),
            "server_mb": round(self.server_memory / 1e6, 1),
            "server_mb_before": round(self.server_memory_before / 1e6, 1),
            "by_steps": {
                str(count): life.summary() for count, life in {steps: self.life, **self.longer}.items()
            },
            "kills": self.kills,
        }


def ratios(side: dict[str, Any], base: dict[str, Any], steps: int) -> dict[str, float]:
    """Side over base, each from its `Figures.summary`; over 1 is good for a rate and bad for a cost."""

    def ratio(*path: str) -> float:
        over, under = side, base
        for name in path[:-1]:
            over, under = over[name], under[name]
        return round(over[path[-1]] / under[path[-1]], 3) if under[path[-1]] else 0.0

    at = ("by_steps", str(steps))
    found = {
        "start_rate": ratio("start_rate"),
        "wake_p50": ratio("wake_ms", "p50"),
        "server_cpu": ratio(*at, "server_cpu_ms", "all"),
        "worker_cpu": ratio(*at, "worker_cpu_ms", "all"),
        "kept_bytes": ratio(*at, "kept_bytes"),
    }
    if "history_bytes" in side["by_steps"][str(steps)]:
        found["history_bytes"] = ratio(*at, "history_bytes")
    return found


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank percentiles."""
    ranked = sorted(values)
    return {f"p{p}": round(ranked[-(-len(ranked) * p // 100) - 1], 1) for p in (50, 95, 99)}


def table(report: dict[str, Any]) -> str:
    """Format the report for people."""
    sides, steps = report["sides"], str(report["steps"])
    lines = [
        f"{report['agents']} agents a side, {report['steps']} steps each",
        f"{'':34}" + "".join(f"{name:>15}" for name in sides),
    ]

    def row(title: str, *path: str) -> None:
        values: list[Any] = list(sides.values())
        for name in path:
            values = [value and value.get(name) for value in values]
        if any(value is not None for value in values):
            cells = ("" if value is None else f"{value:,.1f}" for value in values)
            lines.append(f"{title:34}" + "".join(f"{cell:>15}" for cell in cells))

    row("started per second", "start_rate")
    row("woken per second, all at once", "bulk_rate")
    for each in ("p50", "p95", "p99"):
        row(f"wake-up {each}, ms", "wake_ms", each)
    for each in ("p50", "p95", "p99"):
        row(f"wake-up not in memory {each}, ms", "cold_wake_ms", each)
    row("killed, started and woken, ms", "after_kill_ms")
    row("worker memory, all asleep, MB", "worker_mb")
    row("server memory, all asleep, MB", "server_mb")
    for count in next(iter(sides.values()))["by_steps"]:
        for each in ("start", "wake", "all") if count == steps else ("all",):
            row(f"S={count}: server CPU, {each}, ms", "by_steps", count, "server_cpu_ms", each)
            row(f"S={count}: worker CPU, {each}, ms", "by_steps", count, "worker_cpu_ms", each)
        row(f"S={count}: kept, bytes", "by_steps", count, "kept_bytes")
        row(f"S={count}: history, bytes", "by_steps", count, "history_bytes")
    for name in next((side["kills"] for side in sides.values() if side["kills"]), {}):
        row(f"kills: {name.replace('_', ' ')}", "kills", name)
    lines += [f"{name}: left out, {why}" for name, why in report["left_out"].items()]
    lines += [f"{name} over {BASE}: {found}" for name, found in report["ratios"].items()]
    return "\n".join(lines)

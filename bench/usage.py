"""What a process has used so far."""

from __future__ import annotations

import psutil


def cpu(pid: int) -> float:
    """CPU seconds of a process and of its children so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)

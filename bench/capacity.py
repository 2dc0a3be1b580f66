"""The tables of docs/capacity.md: what so many sleeping agents need, from the costs of one.

python bench/costs.py | python bench/capacity.py keep costs    keeps what one costs
python bench/capacity.py                                       writes the page from it, simulation included
"""

from __future__ import annotations

import heapq
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.reports import RESULTS, ROOT, Report, keep_or_write, kept_report, page, source

PAGE = ROOT / "docs" / "capacity.md"
SCRIPT, COSTS = "capacity", "costs"
SIZES = (10_000, 1_000_000, 100_000_000)
DAY, HOUR = 86_400.0, 3_600.0
SEED = 7
# Larger numbers of agents are simulated as a fraction of them on the same fraction of the cores.
SIMULATED = 1_000_000


@dataclass(frozen=True)
class Cost:
    """The costs of one agent from `bench/costs.py`; CPU as (until asleep, from there to its end)."""

    server_cpu_ms: Sequence[float]
    worker_cpu_ms: Sequence[float]
    bytes_asleep: int
    bytes_closed: int
    history_bytes: int
    events: int
    tasks: int
    transitions: int


@dataclass(frozen=True)
class Assumed:
    """Assumptions, not measurements; the page lists them.

    Attributes:
        days: an agent's lifetime, nearly all of it asleep.
        peak: load of the busiest hour over the mean; people start and approve in the morning.
        burst: agents per batch, all started at once.
        busy: planned utilisation of cores in that hour.
        kept_days: how long a closed agent stays in Temporal before it is archived.
        commit_ms: how long a transition holds its shard: one database commit.
        shard_busy: highest utilisation of a shard, so that few transitions wait for it.
        partition_tasks: tasks a second that one partition of a task queue can handle.
        commits: transactions a second that one PostgreSQL server with good disks can write.
        database_tb: the largest database one wants to back up and vacuum.
        objects: S3 objects per archived agent without large payloads: history, final view, record.
        put_usd, month_usd: Amazon S3's list prices of a thousand writes, and of a GB per month.
    """

    days: float = 3
    peak: float = 6
    burst: int = 100
    busy: float = 0.6
    kept_days: float = 30
    commit_ms: float = 5
    shard_busy: float = 0.1
    partition_tasks: float = 500
    commits: float = 5_000
    database_tb: float = 2
    objects: int = 3
    put_usd: float = 0.005
    month_usd: float = 0.023


# The defaults of `deploy/` and Temporal.
SHARDS, PARTITIONS = 512, 1


@dataclass(frozen=True)
class Need:
    """What `agents` asleep need, from the costs of one and the assumptions."""

    agents: int
    cost: Cost
    assumed: Assumed

    @property
    def starts(self) -> float:
        """Agents that start per second; as many end."""
        return self.agents / (self.assumed.days * DAY)

    @property
    def peak(self) -> float:
        """Starts per second in the busiest hour."""
        return self.starts * self.assumed.peak

    @property
    def transitions(self) -> float:
        """State transitions per second in the busiest hour."""
        return self.peak * self.cost.transitions

    @property
    def tasks(self) -> float:
        """Tasks per second in the busiest hour."""
        return self.peak * self.cost.tasks

    @property
    def shards(self) -> int:
        """History shards: the power of two at which no shard is too busy."""
        return 1 << max(2, math.ceil(math.log2(max(self.held / self.assumed.shard_busy, 1))))

    @property
    def held(self) -> float:
        """Shards held by a transition at any moment of the busiest hour, on average."""
        return self.transitions * self.assumed.commit_ms / 1000

    @property
    def partitions(self) -> int:
        """Partitions of the agents' task queue."""
        return max(1, math.ceil(self.tasks / self.assumed.partition_tasks))

    @property
    def server_cores(self) -> float:
        """Cores of Temporal's servers and the database in the busiest hour, at the planned utilisation."""
        return self.peak * sum(self.cost.server_cpu_ms) / 1000 / self.assumed.busy

    @property
    def worker_cores(self) -> float:
        """Cores of the workers in the busiest hour, at the planned utilisation."""
        return self.peak * sum(self.cost.worker_cpu_ms) / 1000 / self.assumed.busy

    @property
    def asleep_bytes(self) -> float:
        """Bytes of sleeping agents in Temporal's database."""
        return self.agents * self.cost.bytes_asleep

    @property
    def closed_bytes(self) -> float:
        """Bytes in Temporal's database of agents that have ended and are not archived yet."""
        return self.starts * DAY * self.assumed.kept_days * self.cost.bytes_closed

    @property
    def objects(self) -> float:
        """New S3 objects per month."""
        return self.starts * DAY * 30 * self.assumed.objects

    @property
    def archived_bytes(self) -> float:
        """New bytes in S3 per month."""
        return self.starts * DAY * 30 * self.cost.history_bytes

    @property
    def month_usd(self) -> float:
        """S3's price of a month: its writes, and storage of a year's archive."""
        assumed = self.assumed
        return self.objects / 1000 * assumed.put_usd + self.archived_bytes * 12 / 1e9 * assumed.month_usd


def tables(folder: Path = RESULTS) -> str:
    """The page's tables, from the kept costs."""
    run = kept_report(COSTS, folder)
    return "\n".join(_lines(run)) if run else ""


def _lines(run: dict[str, Any]) -> Iterator[str]:
    costs = {steps: Cost(**cost) for steps, cost in run["report"]["costs"].items()}
    lengths = sorted(costs, key=int)
    yield from _table(
        f"an agent with S steps | {' | '.join(f'S = {steps}' for steps in lengths)}",
        [(says, [find(costs[steps]) for steps in lengths]) for says, find in COSTS_OF_ONE],
    )
    assumed = Assumed()
    for steps in lengths:
        needs = [Need(agents, costs[steps], assumed) for agents in SIZES]
        yield ""
        yield from _table(
            f"asleep, S = {steps} | {' | '.join(f'{need.agents:,}' for need in needs)}",
            [(says, [find(need) for need in needs]) for says, find in NEEDS],
        )
    needs = [Need(agents, costs[lengths[0]], assumed) for agents in SIZES]
    yield ""
    yield from _table(
        f"simulated, S = {lengths[0]} | {' | '.join(f'{need.agents:,}' for need in needs)}", _simulated(needs)
    )
    yield ""
    yield from _table(
        f"limit | {' | '.join(f'S = {steps}: reached at' for steps in lengths)} | moved by",
        [
            (says, [*(_round(1_000_000 / share(Need(1_000_000, costs[s], assumed))) for s in lengths), knob])
            for says, share, knob in sorted(
                LIMITS, key=lambda each: -each[1](Need(1_000_000, costs[lengths[0]], assumed))
            )
        ],
    )
    yield ""
    yield source(COSTS, run)


COSTS_OF_ONE: Sequence[tuple[str, Callable[[Cost], str]]] = (
    ("server CPU, to sleep and to its end, ms", lambda c: _pair(c.server_cpu_ms)),
    ("worker CPU, to sleep and to its end, ms", lambda c: _pair(c.worker_cpu_ms)),
    ("database while asleep, KB", lambda c: _short(c.bytes_asleep / 1000)),
    ("database once closed, KB", lambda c: _short(c.bytes_closed / 1000)),
    ("history, KB", lambda c: _short(c.history_bytes / 1000)),
    ("events", lambda c: _short(c.events)),
    ("tasks handed out", lambda c: _short(c.tasks)),
    ("transitions, each a transaction", lambda c: _short(c.transitions)),
)

NEEDS: Sequence[tuple[str, Callable[[Need], str]]] = (
    ("starts a second, mean", lambda need: _short(need.starts)),
    ("starts a second in the busiest hour", lambda need: _short(need.peak)),
    ("transactions a second then", lambda need: _short(need.transitions)),
    ("tasks a second then", lambda need: _short(need.tasks)),
    ("history shards, at least", lambda need: f"{need.shards:,}"),
    ("partitions of the task queue", lambda need: f"{need.partitions:,}"),
    ("cores of Temporal's servers and database", lambda need: _cores(need.server_cores)),
    ("cores of workers", lambda need: _cores(need.worker_cores)),
    ("database, asleep, GB", lambda need: _short(need.asleep_bytes / 1e9)),
    ("database, ended and not archived, GB", lambda need: _short(need.closed_bytes / 1e9)),
    ("new objects in S3 a month", lambda need: _round(need.objects)),
    ("new GB in S3 a month", lambda need: _short(need.archived_bytes / 1e9)),
    ("S3, USD a month, a year's archive", lambda need: _short(need.month_usd)),
)

# Resources that run out first: the share that a number of agents uses, and what moves the limit.
LIMITS: Sequence[tuple[str, Callable[[Need], float], str]] = (
    (
        "writes of one PostgreSQL server",
        lambda need: need.transitions / need.assumed.commits,
        "local calls (`QUICK`) in place of ordinary ones; better disks; several clusters",
    ),
    (
        "size of one PostgreSQL database",
        lambda need: (need.asleep_bytes + need.closed_bytes) / need.assumed.database_tb / 1e12,
        "`HIBERNAUT_ARCHIVE_AFTER`: what has ended takes most of it",
    ),
    (
        f"{SHARDS} history shards",
        lambda need: need.held / need.assumed.shard_busy / SHARDS,
        "`NUM_HISTORY_SHARDS` before the very first start, and never after",
    ),
    (
        "one partition of the task queue",
        lambda need: need.tasks / need.assumed.partition_tasks / PARTITIONS,
        "`matching.numTaskqueueReadPartitions` and `…WritePartitions`",
    ),
    ("16 cores of workers", lambda need: need.worker_cores / 16, "more worker processes"),
    (
        "64 cores of Temporal's servers and database",
        lambda need: need.server_cores / 64,
        "more history and matching servers; the database's own share does not spread",
    ),
)


def _simulated(needs: Sequence[Need]) -> list[tuple[str, list[str]]]:
    found = [simulate(need, random.Random(SEED)) for need in needs]  # noqa: S311 - it has to repeat
    return [
        ("workers' cores, of those above, rounded up", [f"{each.cores:,}" for each in found]),
        ("how busy in the busiest hour, computed", [f"{each.planned:.0%}" for each in found]),
        ("how busy, simulated", [f"{each.busy:.0%}" for each in found]),
        ("wait for a core then, p50, ms", [_short(each.wait_p50_ms) for each in found]),
        ("wait for a core then, p99, ms", [_short(each.wait_p99_ms) for each in found]),
    ]


@dataclass(frozen=True)
class Simulated:
    """The busiest hour of a simulated day; `planned` is the computed utilisation."""

    cores: int
    planned: float
    busy: float
    wait_p50_ms: float
    wait_p99_ms: float


def simulate(need: Need, chance: random.Random) -> Simulated:
    """Simulate a day on as many worker cores as `need` says.

    Agents start in batches of up to `burst` at once and are approved one by one, both following the day's
    profile. Each start and each wake is work of exponentially distributed length, served in order of arrival.
    """
    part = max(1.0, need.agents / SIMULATED)
    cores = max(1, math.ceil(need.worker_cores / part))
    a_day = round(need.starts * DAY / part)
    to_sleep, to_end = (each / 1000 for each in need.cost.worker_cpu_ms)
    work = [(_moment(need.assumed.peak, chance), to_end) for _ in range(a_day)]
    for first in range(0, a_day, need.assumed.burst):
        begun = _moment(need.assumed.peak, chance)
        work += [(begun, to_sleep)] * min(need.assumed.burst, a_day - first)
    free, waits, busy = [0.0] * cores, [], 0.0
    for at, mean in sorted(work):
        begun = max(at, heapq.heappop(free))
        takes = chance.expovariate(1 / mean)
        heapq.heappush(free, begun + takes)
        if at < HOUR:
            waits.append((begun - at) * 1000)
            busy += takes
    waits.sort()
    planned = need.peak / part * (to_sleep + to_end) / cores
    at_p50, at_p99 = (waits[len(waits) * p // 100] for p in (50, 99))
    return Simulated(cores, planned, busy / cores / HOUR, at_p50, at_p99)


def _moment(peak: float, chance: random.Random) -> float:
    """A random second of the day; the first hour is the busiest, all others are alike."""
    if chance.random() < peak / 24:
        return chance.uniform(0, HOUR)
    return chance.uniform(HOUR, DAY)


def _table(head: str, lines: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    columns = head.count("|")
    yield f"| {head} |"
    yield f"| --- |{' ---: |' * columns}"
    for says, cells in lines:
        yield f"| {says} | {' | '.join(cells)} |"


def _pair(values: Sequence[float]) -> str:
    return " + ".join(map(_short, values))


def _cores(value: float) -> str:
    return "under 1" if value < 1 else _short(value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"


def _round(value: float) -> str:
    """Round a large number to two digits."""
    digits = max(0, math.floor(math.log10(max(value, 1))) - 1)
    return f"{round(value, -digits):,.0f}"


def check(report: Report) -> None:
    """Check that a report has all the page needs."""
    for cost in report["costs"].values():
        for _, find in NEEDS:
            find(Need(SIZES[0], Cost(**cost), Assumed()))


def write() -> int:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(), SCRIPT, tables()))
    return 0


if __name__ == "__main__":
    sys.exit(keep_or_write(__doc__.splitlines()[0], {COSTS: check}, write))

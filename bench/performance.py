"""The tables and plots of docs/performance.md, made from what the benches printed.

python bench/compare.py --json | python bench/performance.py keep compare    keeps a run, with the machine
python bench/compare.py --agents 10000 --longer --json | python bench/performance.py keep asleep
                                                                             the same, with many more asleep
python bench/compare.py … --kills 100 --json | python bench/performance.py keep kills
                                                                             the same, to show what kills did
python bench/codec.py | python bench/performance.py keep codec               the same
python bench/performance.py                                                  writes the page from all kept
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.peers.contenders import SAYS
from bench.peers.figures import BASE
from bench.reports import RESULTS, ROOT, Report, keep_or_write, kept_report, page, source

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "pictures" / "performance.png"
SCRIPT = "performance"
COMPARE, ASLEEP, KILLS, CODEC = "compare", "asleep", "kills", "codec"
# Targets: the kit's CPU and latency relative to the bare SDK, and the size of a 200-step history in `dev`.
TARGET = 1.1
MAX_HISTORY_KB = 300


@dataclass(frozen=True)
class Row:
    """A figure of all sides; `less`: lower is better."""

    says: str
    path: tuple[str, ...]
    less: bool = True
    scale: float = 1

    def values(self, sides: dict[str, Any]) -> list[float | None]:
        """One value per side; None if it was not measured there."""
        found = []
        for side in sides.values():
            value: Any = side
            for name in self.path:
                value = value and value.get(name)
            found.append(None if value is None else value * self.scale)
        return found

    def cells(self, sides: dict[str, Any]) -> list[str]:
        """The table's cells, with the best in bold if they differ."""
        values = self.values(sides)
        known = [value for value in values if value is not None]
        best = (min if self.less else max)(known) if len(set(known)) > 1 else None
        return [
            "" if value is None else f"**{_short(value)}**" if value == best else _short(value)
            for value in values
        ]


def rows(report: Report) -> list[Row]:
    """The figures of `bench/compare.py`, in the order of an agent's life."""
    found = [
        Row("agents a second until asleep", ("start_rate",), less=False),
        Row("wake-up p50, ms", ("wake_ms", "p50")),
        Row("wake-up p99, ms", ("wake_ms", "p99")),
        Row("wake-up not in the worker's memory p50, ms", ("cold_wake_ms", "p50")),
        Row("wake-up not in the worker's memory p99, ms", ("cold_wake_ms", "p99")),
        Row("worker killed, another started, first answer, s", ("after_kill_ms",), scale=1e-3),
        Row("agents a second, woken at once", ("bulk_rate",), less=False),
        Row("memory of the worker, all asleep, MB", ("worker_mb",)),
        Row("memory of servers and databases, all asleep, MB", ("server_mb",)),
        Row("the same before the first agent, MB", ("server_mb_before",)),
    ]
    for steps in _steps(report):
        at = ("by_steps", steps)
        found += [
            Row(f"S = {steps}: CPU of servers and databases, ms an agent", (*at, "server_cpu_ms", "all")),
            Row(f"S = {steps}: CPU of the worker, ms an agent", (*at, "worker_cpu_ms", "all")),
            Row(f"S = {steps}: kept in the database, KB an agent", (*at, "kept_bytes"), scale=1e-3),
            Row(f"S = {steps}: history, KB an agent", (*at, "history_bytes"), scale=1e-3),
        ]
    return found


KILL_ROWS = (
    Row("workers killed", ("kills", "kills")),
    Row("agents under way then", ("kills", "agents")),
    Row("steps done twice", ("kills", "steps_twice")),
    Row("steps never done", ("kills", "steps_never")),
    Row("actions done twice", ("kills", "actions_twice")),
    Row("actions never done", ("kills", "actions_never")),
    Row("agents that did not end by themselves", ("kills", "unfinished")),
)


def made(folder: Path = RESULTS) -> str:
    """The page's text about the kept runs."""
    return "\n".join(_lines(folder))


def _lines(folder: Path) -> Iterator[str]:
    run = kept_report(COMPARE, folder)
    if run is None:
        return
    report = run["report"]
    sides = report["sides"]
    yield f"N = {report['agents']:,} agents of each side asleep, S = {report['steps']} steps unless said:"
    yield ""
    yield from (f"- `{name}`: {SAYS[name]}" for name in sides)
    yield from (f"- `{name}` was left out: {why}" for name, why in report["left_out"].items())
    yield ""
    yield from _table(sides, rows(report))
    yield ""
    yield f"![CPU, wake-ups and bytes of each side](pictures/{PICTURE.name})"
    yield ""
    yield from _ratios(report)
    if asleep := kept_report(ASLEEP, folder):
        many = asleep["report"]
        yield ""
        yield f"With {many['agents']:,} agents of each side asleep, in a run of its own:"
        yield ""
        yield from _table(many["sides"], rows(many))
        yield ""
        yield from _ratios(many)
    if killed := kept_report(KILLS, folder):
        yield ""
        yield from _table(killed["report"]["sides"], KILL_ROWS)
    codec = kept_report(CODEC, folder)
    if codec:
        found = codec["report"]
        yield ""
        yield (
            f"Payloads compressed and encrypted over plain (`bench/codec.py`, S = 3): CPU of client "
            f"and worker {found['cpu']:.2f}, wake-up p50 {found['wake_p50']:.2f}, "
            f"history {found['history_bytes']:.2f}."
        )
    yield ""
    yield source(COMPARE, run)
    if asleep:
        yield source(ASLEEP, asleep)
    if killed:
        yield source(KILLS, killed)
    if codec:
        yield source(CODEC, codec)


def _ratios(report: Report) -> Iterator[str]:
    yield f"Over `{BASE}`, in the same run (a rate over 1 is better, all else worse):"
    yield ""
    names = list(next(iter(report["ratios"].values()), {}))
    yield f"| | {' | '.join(name.replace('_', ' ') for name in names)} |"
    yield f"| --- |{' ---: |' * len(names)}"
    for name, found in report["ratios"].items():
        # A peer has no history to compare.
        cells = (f"{found[each]:.2f}" if each in found else "" for each in names)
        yield f"| `{name}` | {' | '.join(cells)} |"


def _table(sides: dict[str, Any], lines: Sequence[Row]) -> Iterator[str]:
    yield f"| | {' | '.join(f'`{name}`' for name in sides)} |"
    yield f"| --- |{' ---: |' * len(sides)}"
    for row in lines:
        if any(value is not None for value in row.values(sides)):
            yield f"| {row.says} | {' | '.join(row.cells(sides))} |"


def _steps(report: Report) -> list[str]:
    return sorted(next(iter(report["sides"].values()))["by_steps"], key=int)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def draw(report: Report, file: Path) -> None:
    """Plot an agent's costs over its steps, and the wake-up times."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    sides, steps = report["sides"], _steps(report)
    figure, (cpu, kept_bytes, wake) = pyplot.subplots(1, 3, figsize=(13, 4))
    for name, side in sides.items():
        by = side["by_steps"]
        both = [by[each]["server_cpu_ms"]["all"] + by[each]["worker_cpu_ms"]["all"] for each in steps]
        cpu.plot([int(each) for each in steps], both, marker="o", label=name)
        kept_bytes.plot(
            [int(each) for each in steps], [by[each]["kept_bytes"] / 1000 for each in steps], marker="o"
        )
    cpu.set(title="CPU of an agent, ms", xlabel="steps")
    kept_bytes.set(title="Kept in the database, KB an agent", xlabel="steps")
    for axes in (cpu, kept_bytes):
        axes.set(xscale="log", yscale="log")
    cpu.legend(fontsize="small")
    waits = [side["wake_ms"] for side in sides.values()]
    wake.barh(list(sides), [each["p99"] for each in waits], color="lightgray", label="p99")
    wake.barh(list(sides), [each["p50"] for each in waits], color="steelblue", label="p50")
    wake.set(title="Wake-up, ms")
    wake.invert_yaxis()
    wake.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(file, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def check(report: Report) -> None:
    """Check that a report has every figure of `bench/compare.py`."""
    for side in report["sides"].values():
        for name in ("start_rate", "wake_ms", "worker_mb", "server_mb"):
            side[name]
    report["ratios"], report["left_out"], _steps(report)


def check_kills(report: Report) -> None:
    """Check that workers were killed on every side."""
    for side in report["sides"].values():
        side["kills"]["kills"]


def misses(folder: Path = RESULTS) -> list[str]:
    """The targets that the kit misses."""
    run = kept_report(COMPARE, folder)
    if run is None:
        return []
    report = run["report"]
    found = report["ratios"].get("kit", {})
    long = report["sides"].get("kit-encrypted", {}).get("by_steps", {}).get("200", {}).get("history_bytes", 0)
    too_long = [f"a history of 200 steps is {long / 1000:.0f} KB, wanted {MAX_HISTORY_KB} at most"]
    return (too_long if long > MAX_HISTORY_KB * 1000 else []) + [
        f"kit over {BASE}: {name} is {found[name]}, wanted {TARGET} or less"
        for name in ("wake_p50", "server_cpu", "worker_cpu")
        if found.get(name, 0) > TARGET
    ]


def write() -> int:
    """Write the page; the exit code is 1 if the kit misses a target."""
    PAGE.write_text(page(PAGE.read_text(), SCRIPT, made()))
    if run := kept_report(COMPARE):
        draw(run["report"], PICTURE)
    for each in misses():
        print(each, file=sys.stderr)
    return 1 if misses() else 0


if __name__ == "__main__":
    checks = {
        COMPARE: check,
        ASLEEP: check,
        KILLS: check_kills,
        CODEC: lambda report: [report[each] for each in ("cpu", "wake_p50", "history_bytes")],
    }
    sys.exit(keep_or_write(__doc__.splitlines()[0], checks, write))

"""The table of docs/reliability.md, made from what the benches printed.

python bench/outage.py --json | python bench/reliability.py keep outage    keeps a run, with the machine
python bench/reliability.py                                                writes the table from all kept
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- made by bench/reliability.py -->", "<!-- end -->"

Report = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One line of the table: a figure of a bench, and what it has to be.

    `find` takes the figure from the bench's report, `holds` judges it; without, it is told and not judged.
    """

    says: str
    find: Callable[[Report], Any]
    wanted: str = ""
    holds: Callable[[Any, Report], bool] = lambda found, report: True


def zero(name: str, says: str) -> Figure:
    """A count that must be zero."""
    return Figure(says, lambda report: report[name], "0", lambda found, report: found == 0)


def told(name: str, says: str) -> Figure:
    """A figure that says how much was tried."""
    return Figure(says, lambda report: report[name])


def under(limit: float, unit: str, says: str, find: Callable[[Report], float]) -> Figure:
    """A figure with an upper bound."""
    return Figure(says, find, f"under {limit:g} {unit}", lambda found, report: found < limit)


def _worst(name: str) -> Callable[[Report], float]:
    """The highest p99 among those with few and with many agents asleep, in seconds."""
    return lambda report: max(each["p99"] for each in report[name].values()) / 1000


FIGURES: dict[str, Sequence[Figure]] = {
    "outage": (
        told("activities", "activities that ended while the server was away"),
        told("away_seconds", "seconds it was away"),
        zero("executed_again", "activities executed again"),
        zero("lost", "agents without their result"),
        zero("need_a_human", "agents that needed a human"),
        under(5, "s", "last agent done after its return, s", lambda r: r["last_back_after_seconds"]),
    ),
    "wake": (
        told("kills", "workers killed"),
        told("asleep", "agents asleep at most"),
        under(2, "s", "first wake, another worker takes over, p99, s", _worst("taken_over_ms")),
        Figure("first wake, none stands by and one is started, p99, s", _worst("restarted_ms")),
    ),
    "chaos": (
        told("kills", "processes killed"),
        zero("lost", "acknowledged and lost"),
        zero("duplicated", "side effects that happened twice"),
        zero("missing", "side effects that are missing"),
        zero("needing_human", "agents that needed a human"),
    ),
    "exactly_once": (
        told("kills", "workers killed"),
        told("attempts_over_one", "orders sent more than once, or sent and not heard"),
        zero("duplicated", "approvals with more than one order"),
        zero("missing", "approvals without their order"),
        zero("forbidden_orders", "orders that nobody approved"),
    ),
    "replay_mutants": (
        Figure("deliberate breakages", lambda r: r["mutants"], "40 or more", lambda found, r: found >= 40),
        Figure("of these caught", lambda r: r["caught"], "all", lambda found, r: found == r["mutants"]),
    ),
    "hijack": (
        told("texts", "texts with an order to the language model in them"),
        told("answers_that_obeyed", "answers in which the model obeyed one"),
        zero("unapproved_effects", "effects that nobody approved"),
    ),
}


def keep(name: str, line: str, remark: str = "", folder: Path = RESULTS) -> Path:
    """Keep a bench's report with the day, the machine and a `remark` on the run; the file it is in.

    Raises:
        ValueError: it is no report of that bench.
    """
    report = json.loads(line)
    for figure in FIGURES[name]:
        figure.find(report)
    file = folder / f"{name}.json"
    kept = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine() + (f", {remark}" if remark else ""),
        "report": report,
    }
    file.write_text(json.dumps(kept, indent=1) + "\n")
    return file


def machine() -> str:
    """What this runs on, in words."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the end"
    )


def table(folder: Path = RESULTS) -> str:
    """The lines of the table, from every kept report; what was not run is left out."""
    return "\n".join(_lines(folder))


def failures(folder: Path = RESULTS) -> list[str]:
    """The figures that are not what they have to be."""
    return [
        f"{name}: {figure.says}: {figure.find(kept['report'])}, wanted {figure.wanted}"
        for name, kept in _kept(folder)
        for figure in FIGURES[name]
        if not figure.holds(figure.find(kept["report"]), kept["report"])
    ]


def _kept(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in FIGURES:
        file = folder / f"{name}.json"
        if file.exists():
            yield name, json.loads(file.read_text())


def _lines(folder: Path) -> Iterator[str]:
    yield "| bench | figure | required | found |"
    yield "| --- | --- | --- | --- |"
    runs = list(_kept(folder))
    for name, kept in runs:
        shown = f"`bench/{name}.py`"
        for figure in FIGURES[name]:
            found = figure.find(kept["report"])
            mark = "" if figure.holds(found, kept["report"]) else " (**not reached**)"
            value = f"{found:.2f}" if isinstance(found, float) else f"{found:,}"
            yield f"| {shown} | {figure.says} | {figure.wanted} | {value}{mark} |"
            shown = ""
    yield ""
    for name, kept in runs:
        seed = f", seed {kept['report']['seed']}" if "seed" in kept["report"] else ""
        yield f"- `{name}`: {kept['date']}, {kept['machine']}{seed}."


def page(text: str, made: str) -> str:
    """The page with its table replaced."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{made}\n\n{END}{tail}"


def main() -> int:
    """Keep a report, or write the table; 1 where a figure is not what it has to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("action", nargs="?", choices=["keep"], help="keep the report that comes in")
    parser.add_argument("bench", nargs="?", choices=sorted(FIGURES), help="whose report it is")
    parser.add_argument("--remark", default="", help="what else there is to know about the run")
    options = parser.parse_args()
    if options.action:
        if not options.bench:
            parser.error(f"say whose report it is: {', '.join(sorted(FIGURES))}")
        try:
            print(keep(options.bench, (sys.stdin.read().strip().splitlines() or [""])[-1], options.remark))
        except (ValueError, KeyError) as error:
            parser.error(f"this is no report of bench/{options.bench}.py: {error}")
        return 0
    PAGE.write_text(page(PAGE.read_text(), table()))
    for failure in failures():
        print(failure, file=sys.stderr)
    return 1 if failures() else 0


if __name__ == "__main__":
    sys.exit(main())

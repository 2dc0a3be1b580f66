"""The table of docs/reliability.md, made from what the benches printed.

python bench/outage.py --json | python bench/reliability.py keep outage    keeps a run, with the machine
python bench/reliability.py                                                writes the table from all kept
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.reports import RESULTS, ROOT, Check, Report, keep_or_write, kept_report, page, source

PAGE = ROOT / "docs" / "reliability.md"
SCRIPT = "reliability"


@dataclass(frozen=True)
class Figure:
    """One line of the table: a bench's figure, and what is required of it.

    `find` extracts the figure from the report, `holds` judges it; by default it is shown but not judged.
    """

    says: str
    find: Callable[[Report], Any]
    wanted: str = ""
    holds: Callable[[Any, Report], bool] = lambda found, report: True


def zero(name: str, says: str) -> Figure:
    """A count that must be zero."""
    return Figure(says, lambda report: report[name], "0", lambda found, report: found == 0)


def reported(name: str, says: str) -> Figure:
    """A figure that shows how much was tried."""
    return Figure(says, lambda report: report[name])


def under(limit: float, unit: str, says: str, find: Callable[[Report], float]) -> Figure:
    """A figure with an upper bound."""
    return Figure(says, find, f"under {limit:g} {unit}", lambda found, report: found < limit)


def _worst(name: str) -> Callable[[Report], float]:
    """The highest p99 for few and for many sleeping agents, in seconds."""
    return lambda report: max(each["p99"] for each in report[name].values()) / 1000


FIGURES: dict[str, Sequence[Figure]] = {
    "outage": (
        reported("activities", "activities that ended while the server was away"),
        reported("away_seconds", "seconds it was away"),
        zero("executed_again", "activities executed again"),
        zero("lost", "agents without their result"),
        zero("need_a_human", "agents that needed a human"),
        under(5, "s", "last agent done after its return, s", lambda r: r["last_back_after_seconds"]),
    ),
    "wake": (
        reported("kills", "workers killed"),
        reported("asleep", "agents asleep at most"),
        under(2, "s", "first wake, another worker takes over, p99, s", _worst("taken_over_ms")),
        Figure("first wake, none stands by and one is started, p99, s", _worst("restarted_ms")),
    ),
    "chaos": (
        reported("kills", "processes killed"),
        zero("lost", "acknowledged and lost"),
        zero("duplicated", "side effects that happened twice"),
        zero("missing", "side effects that are missing"),
        zero("needing_human", "agents that needed a human"),
    ),
    "exactly_once": (
        reported("kills", "workers killed"),
        reported("attempts_over_one", "orders sent more than once, or sent and not heard"),
        zero("duplicated", "approvals with more than one order"),
        zero("missing", "approvals without their order"),
        zero("forbidden_orders", "orders that nobody approved"),
    ),
    "copies": (
        reported("rounds", "databases that were copied while they were written"),
        reported("kills", "times Litestream was killed meanwhile"),
        zero("other", "came back other than they were"),
        zero("not_brought_back", "did not come back"),
    ),
    "replay_mutants": (
        Figure("deliberate breakages", lambda r: r["mutants"], "40 or more", lambda found, r: found >= 40),
        Figure("of these caught", lambda r: r["caught"], "all", lambda found, r: found == r["mutants"]),
    ),
    "fixes": (
        reported("packages", "installed packages whose fixes the code auditor planned and made in a copy"),
        reported("modules", "modules that could be imported before"),
        reported("fixes", "fixes that were made"),
        zero("lost", "modules that could not be imported afterwards"),
        reported("unclear", "modules that could be imported at one time and not at another"),
    ),
    "hijack": (
        reported("texts", "texts with an order to the language model in them"),
        reported("answers_that_obeyed", "answers in which the model obeyed one"),
        zero("unapproved_effects", "effects that nobody approved"),
    ),
}


def check_of(name: str) -> Check:
    """A check that a report has each figure of that bench."""
    return lambda report: [figure.find(report) for figure in FIGURES[name]]


def table(folder: Path = RESULTS) -> str:
    """The table from all kept reports; benches that were not run are left out."""
    return "\n".join(_lines(folder))


def failures(folder: Path = RESULTS) -> list[str]:
    """The figures that miss their requirement."""
    return [
        f"{name}: {figure.says}: {figure.find(run['report'])}, wanted {figure.wanted}"
        for name, run in _runs(folder)
        for figure in FIGURES[name]
        if not figure.holds(figure.find(run["report"]), run["report"])
    ]


def _runs(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in FIGURES:
        if run := kept_report(name, folder):
            yield name, run


def _lines(folder: Path) -> Iterator[str]:
    yield "| bench | figure | required | found |"
    yield "| --- | --- | --- | --- |"
    runs = list(_runs(folder))
    for name, run in runs:
        shown = f"`bench/{name}.py`"
        for figure in FIGURES[name]:
            found = figure.find(run["report"])
            mark = "" if figure.holds(found, run["report"]) else " (**not reached**)"
            value = f"{found:.2f}" if isinstance(found, float) else f"{found:,}"
            yield f"| {shown} | {figure.says} | {figure.wanted} | {value}{mark} |"
            shown = ""
    yield ""
    yield from (source(name, run) for name, run in runs)


def write() -> int:
    """Write the table; the exit code is 1 if a figure misses its requirement."""
    PAGE.write_text(page(PAGE.read_text(), SCRIPT, table()))
    for failure in failures():
        print(failure, file=sys.stderr)
    return 1 if failures() else 0


if __name__ == "__main__":
    sys.exit(keep_or_write(__doc__.splitlines()[0], {name: check_of(name) for name in FIGURES}, write))

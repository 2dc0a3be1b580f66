"""Keeps benches' reports with date and machine in `bench/results`, and generates pages from them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
END = "<!-- end -->"

Report = dict[str, Any]
# Raises if a report lacks anything that the page shows.
Check = Callable[[Report], Any]


def keep(name: str, line: str, check: Check, remark: str = "", folder: Path = RESULTS) -> Path:
    """Store a bench's report with the date, the machine and a `remark` on the run; return the file.

    Raises:
        ValueError, KeyError, TypeError: it is not a report of that bench.
    """
    report = json.loads(line)
    check(report)
    file = folder / f"{name}.json"
    kept = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine() + (f", {remark}" if remark else ""),
        "report": report,
    }
    file.write_text(json.dumps(kept, indent=1) + "\n")
    return file


def kept_report(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The stored report, with `date` and `machine`; None if there is none."""
    file = folder / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def source(name: str, run: Mapping[str, Any]) -> str:
    """A line stating a report's origin."""
    seed = f", seed {run['report']['seed']}" if "seed" in run["report"] else ""
    return f"- `{name}`: {run['date']}, {run['machine']}{seed}."


def machine() -> str:
    """A description of this machine."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the end"
    )


def begin(script: str) -> str:
    """The marker after which `bench/SCRIPT.py` writes, up to `END`."""
    return f"<!-- made by bench/{script}.py -->"


def page(text: str, script: str, made: str) -> str:
    """The page with the text between its markers replaced."""
    head, _, rest = text.partition(begin(script))
    _, _, tail = rest.partition(END)
    return f"{head}{begin(script)}\n\n{made}\n\n{END}{tail}"


def keep_or_write(summary: str, checks: Mapping[str, Check], write: Callable[[], int]) -> int:
    """A page script's command line: `keep BENCH` stores a report from stdin; without it, write the page.

    Returns:
        The exit code; that of `write` if the page was written.
    """
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("action", nargs="?", choices=["keep"], help="keep the report that comes in")
    parser.add_argument("bench", nargs="?", choices=sorted(checks), help="whose report it is")
    parser.add_argument("--remark", default="", help="what else there is to know about the run")
    options = parser.parse_args()
    if not options.action:
        return write()
    if not options.bench:
        parser.error(f"say whose report it is: {', '.join(sorted(checks))}")
    line = (sys.stdin.read().strip().splitlines() or [""])[-1]
    try:
        print(keep(options.bench, line, checks[options.bench], options.remark))
    except (ValueError, KeyError, TypeError) as error:
        parser.error(f"this is no report of that bench, {options.bench}: {error}")
    return 0

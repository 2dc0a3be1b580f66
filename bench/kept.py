"""Reports of benches, kept with day and machine in `bench/results`, and pages that are made from them."""

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
# Goes through a report and raises where it lacks what the page tells of it.
Check = Callable[[Report], Any]


def keep(name: str, line: str, check: Check, remark: str = "", folder: Path = RESULTS) -> Path:
    """Keep a bench's report with the day, the machine and a `remark` on the run; the file it is in.

    Raises:
        ValueError, KeyError, TypeError: it is no report of that bench.
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


def kept(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The report that was kept, with `date` and `machine`; None where there is none."""
    file = folder / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def source(name: str, run: Mapping[str, Any]) -> str:
    """The line that says where a report comes from."""
    seed = f", seed {run['report']['seed']}" if "seed" in run["report"] else ""
    return f"- `{name}`: {run['date']}, {run['machine']}{seed}."


def machine() -> str:
    """What this runs on, in words."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the end"
    )


def begin(script: str) -> str:
    """The mark after which `bench/SCRIPT.py` writes, up to `END`."""
    return f"<!-- made by bench/{script}.py -->"


def page(text: str, script: str, made: str) -> str:
    """The page with what is between its marks replaced."""
    head, _, rest = text.partition(begin(script))
    _, _, tail = rest.partition(END)
    return f"{head}{begin(script)}\n\n{made}\n\n{END}{tail}"


def keep_or_write(summary: str, checks: Mapping[str, Check], write: Callable[[], int]) -> int:
    """The command line of a page's script: `keep BENCH` keeps what comes in, without it the page is written.

    Returns:
        The exit code; that of `write` where the page was written.
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

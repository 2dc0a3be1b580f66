"""What a worker has started ends with it, also when it is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from common.processes import started

ROOT = Path(__file__).parents[2]
BEGIN = """
import sys
from pathlib import Path
from threading import Event
from activities import fork_server
from activities.isolated_call import LimitsExceededError, ProcessLimits, run_isolated
from activities.auditor.fix import tree_copy
from activities.auditor.scan.programs import attended, run
from activities.mail import reading
from datetime import UTC, datetime
from tests.support import forked
folder = Path(sys.argv[1])
LIMITS = ProcessLimits(1_000_000_000, 600, 600)
"""
SLEEPS = """
sleeps = f"open({str(folder / 'runs')!r}, 'w')\\nimport time\\ntime.sleep(600)\\n"
"""
COPY = (
    SLEEPS
    + """
(folder / "project").mkdir()
(folder / "copies").mkdir()
(folder / "project/a.py").write_text(sleeps)
copy = tree_copy.TreeCopy(folder / "copies", str(folder / "project"), lambda: None)
copy.fill()
"""
)
ANALYSER = """
def analyser(stop):
    run(["sh", "-c", "touch $0; exec sleep 600", str(folder / "runs")], 600, 1000, stop)
"""
IMPORTS = 'copy.imports(["a.py"], 1, "after")'
# How many processes there are at least, and what starts them; the last leaves a file `runs`.
WAYS = {
    "analyser": (2, ANALYSER + "analyser(Event())"),
    "analyser in a thread": (2, ANALYSER + "attended(lambda: None, analyser)"),
    "import": (3, COPY + IMPORTS),
    "import without a namespace": (3, COPY + "tree_copy.sandbox_prefix = lambda: ()\n" + IMPORTS),
    # A shell below the shell, and below that one in a session of its own.
    "verify": (
        5,
        COPY + "copy.passes(f\"sh -c 'setsid sleep 600 & touch {folder / 'runs'}; sleep 600'; true\")",
    ),
    "function": (2, 'run_isolated(forked.hold, str(folder / "runs"), LIMITS, lambda: None)'),
    "document": (
        2,
        'fork_server.ForkServer("tests.support.forked").run("held", b"", str(folder / "runs"), LIMITS)',
    ),
    "mail": (
        2,
        SLEEPS
        + """
reading._PROGRAM, reading._SECONDS = folder / "slow.py", 600
reading._PROGRAM.write_text(sleeps)
reading.read_isolated(b"", datetime.now(UTC))
""",
    ),
}


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waits(pid: int) -> bool:
    """Whether all its threads sleep."""
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)


def runs(process: psutil.Process) -> bool:
    """One that has ended and waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def below(pid: int) -> list[psutil.Process]:
    return [each for each in psutil.Process(pid).children(recursive=True) if runs(each)]


@pytest.mark.parametrize(("least", "way"), WAYS.values(), ids=WAYS)
def test_what_a_killed_worker_has_started_ends(tmp_path: Path, least: int, way: str) -> None:
    """Whoever started it, and what it has started itself."""
    (tmp_path / "way.py").write_text(BEGIN + way)
    command = [sys.executable, str(tmp_path / "way.py"), str(tmp_path)]
    with subprocess.Popen(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    ) as worker:
        try:
            until((tmp_path / "runs").exists)
            until(lambda: len(below(worker.pid)) >= least)
            found = below(worker.pid)
            assert len(found) >= least
        finally:
            worker.kill()
            worker.wait()
    assert worker.returncode == -signal.SIGKILL
    until(lambda: not any(map(runs, found)))


def test_a_reaper_that_was_lost_is_replaced(tmp_path: Path) -> None:
    """And the next one knows what ran already."""
    code = """
import os, signal, sys
from common import processes
with processes.started(["sleep", "600"]) as first:
    os.kill(processes._REAPER._program.pid, signal.SIGKILL)
    processes._REAPER._program.wait()
    with processes.started(["sleep", "600"]) as second:
        print(first.pid, second.pid, processes._REAPER._program.pid, flush=True)
        signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        found = [psutil.Process(int(pid)) for pid in worker.stdout.readline().split()]
        assert len(found) == 3
        assert all(map(runs, found))
        worker.kill()
    until(lambda: not any(map(runs, found)))


def test_what_a_program_leaves_behind_ends_with_it() -> None:
    """As a server that a test run has started and forgotten."""
    with started(["sh", "-c", "sleep 600 > /dev/null & echo $!"], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        left = psutil.Process(int(program.stdout.readline()))
        assert program.wait() == 0
        assert runs(left)
    until(lambda: not runs(left))


def test_one_that_ended_is_forgotten() -> None:
    """Its number may soon be another's: nothing is killed then, and the reaper ends with the worker."""
    code = """
import subprocess
from common import processes
with processes.started(["true"]) as program:
    program.wait()
print(processes._REAPER._program.pid, program.pid, len(processes._REAPER._pids))
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    reaper, ended, left = map(int, said.stdout.split())
    assert left == 0
    until(lambda: not any(psutil.pid_exists(pid) for pid in (reaper, ended)))
    assert said.stderr == ""

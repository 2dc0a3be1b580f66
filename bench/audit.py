"""The durable audit beside the same analysers run bare: `python bench/audit.py [--files N] [--json]`.

Both sides audit the same files: `--files` of them from packages of the package index, or those below
`--path`. The durable side is the code auditor as people run it: a Temporal server, a worker, shards with
journals, a report; then the same audit again, and once more with a few files changed. The bare side is one
process that runs each analyser over all files in turn and stores nothing. With `--kill-every`, only one more
audit follows the first, and its worker is killed every so many seconds; the bench fails unless it finds the
same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from activities.auditor.scan.analyse import takes  # noqa: E402
from activities.auditor.scan.analysers import ANALYSERS  # noqa: E402 -- the checkout is no installed package
from bench.code_tree import code_tree  # noqa: E402
from bench.usage import cpu  # noqa: E402
from common.agents.auditor import AuditInput, AuditResult  # noqa: E402
from common.agents.states import RunStatus  # noqa: E402
from common.client.client import AgentClient  # noqa: E402
from common.client.view import AgentView  # noqa: E402
from common.digest import digest  # noqa: E402
from common.temporal.connect import connect  # noqa: E402
from tests.support.stack import Stack  # noqa: E402

PER_CALL = 1000  # files per analyser call; more would not fit an argument list
TIME_LIMIT = 3600.0
CHANGED = 50  # files changed before the third audit
MB = 2**20


@dataclass
class Usage:
    """What a side used: seconds, CPU seconds including children, and peak resident memory of its process."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    server_cpu: float = 0.0
    findings: int = 0
    files: int = 0

    @property
    def words(self) -> str:
        """On one line, for people."""
        return (
            f"{self.files / self.seconds:8.1f} files/s, {self.seconds:7.1f} s, "
            f"{self.cpu + self.server_cpu:7.1f} s of CPU, {self.findings} findings, "
            f"process memory {self.memory / MB:.0f} MB"
        )


@dataclass
class Audit:
    """A finished audit: its usage, a digest of all findings, its history, and seconds by node."""

    usage: Usage
    found: str
    events: int
    history_bytes: int
    report: dict[str, str]
    nodes: dict[str, float] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """On one line, for people."""
        return f"{self.usage.words}, seconds by node: {self.nodes}"


async def audit(stack: Stack, agents: AgentClient, id: str, root: Path) -> Audit:
    """Audit `root` on a running stack, whatever is killed in the meantime."""
    usage = Usage()
    before = _cpu(stack)
    began = time.monotonic()
    await agents.start("code-auditor", AuditInput(path=str(root)), id=id, owner="bench")
    while True:
        if stack.worker is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                usage.memory = max(usage.memory, psutil.Process(stack.worker.pid).memory_info().rss)
        view: AgentView = await agents.view(id)
        if not view.running:
            break
        if time.monotonic() - began > TIME_LIMIT:
            raise SystemExit("the audit took too long")
        await asyncio.sleep(0.25)
    usage.seconds = time.monotonic() - began
    if view.status is not RunStatus.COMPLETED:
        raise SystemExit(f"the audit ended {view.status}: {view.failure}")
    result = AuditResult.model_validate(view.result)
    usage.files, usage.findings = result.files, result.findings
    usage.cpu, usage.server_cpu = (now - then for now, then in zip(_cpu(stack), before, strict=True))
    client = await connect(stack.settings)
    history = await client.get_workflow_handle(id).fetch_history()
    return Audit(
        usage=usage,
        found=findings_digest(Path(result.report["json"])),
        events=len(history.events),
        history_bytes=sum(event.ByteSize() for event in history.events),
        report=result.report,
        nodes={
            entry.node: float(str(entry.facts["seconds"]))
            for entry in view.notebook
            if entry.text == "done" and "seconds" in entry.facts
        },
    )


def _cpu(stack: Stack) -> tuple[float, float]:
    assert stack.worker is not None
    return cpu(stack.worker.pid), cpu(stack.server.pid)


def findings_digest(report: Path) -> str:
    """A digest of every finding in a report."""
    return digest(json.loads(report.read_bytes())["findings"])


@contextlib.asynccontextmanager
async def killing(stack: Stack, every: float) -> AsyncIterator[list[float]]:
    """Kill the worker every so many seconds and restart it at once; yields the list of kill times."""
    kills: list[float] = []

    async def go_on() -> None:
        while True:
            await asyncio.sleep(every)
            await stack.kill_worker()
            kills.append(time.monotonic())
            await stack.start_worker()

    task = asyncio.create_task(go_on())
    try:
        yield kills
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def listing_of(report: Path) -> list[tuple[str, str]]:
    """Path and language of every file in a report."""
    return [(file["path"], file["language"]) for file in json.loads(report.read_bytes())["files"]]


def bare(root: Path, listing: list[tuple[str, str]], scratch: Path) -> Usage:
    """Run this script again as the bare side, in its own process, and return its usage."""
    names = scratch / "listing.json"
    names.write_text(json.dumps(listing))
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, __file__, "--bare", str(names), "--path", str(root)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        printed = json.loads(process.stdout.read())
    return Usage(seconds=time.monotonic() - began, **printed)


def run_bare(root: Path, names: Path) -> None:
    """The bare side: run every analyser over its files, and count the findings."""
    listing: list[tuple[str, str]] = json.loads(names.read_text())
    findings = 0
    for analyser in ANALYSERS:
        paths = [path for path, language in listing if takes(analyser, language)]
        for first in range(0, len(paths), PER_CALL):
            command = analyser.call(root, paths[first : first + PER_CALL])
            output = subprocess.run(command, capture_output=True, check=False, cwd="/").stdout
            findings += sum(1 for _ in analyser.read(output)) if output.strip() else 0
    own = psutil.Process()
    print(
        json.dumps(
            {
                "cpu": cpu(own.pid),
                "memory": own.memory_info().rss,
                "findings": findings,
                "files": len(listing),
            }
        )
    )


async def undisturbed(root: Path, scratch: Path, *, again: bool) -> list[Audit]:
    """Audit; with `again`, audit a second time, and a third with a few files changed."""
    async with Stack(scratch / "data") as stack:
        agents = await stack.agents()
        done = [await audit(stack, agents, "first", root)]
        print(f"   first: {done[0].words}", flush=True)
        if again:
            done.append(await audit(stack, agents, "second", root))
            print(f"  second: {done[1].words}", flush=True)
            if done[1].found != done[0].found:
                raise SystemExit("the second audit did not find what the first one did")
            with _changed(root, done[0]):
                done.append(await audit(stack, agents, "third", root))
            print(f"   third: {done[2].words}, {CHANGED} files changed", flush=True)
    return done


async def killed(root: Path, scratch: Path, every: float, first: Audit) -> dict[str, float]:
    """Audit while the worker is killed again and again, and compare with the first audit."""
    async with Stack(scratch / "killed") as stack:
        agents = await stack.agents()
        async with killing(stack, every) as kills:
            done = await audit(stack, agents, "killed", root)
    print(f"  killed: {done.words}, {len(kills)} kills", flush=True)
    if done.found != first.found:
        raise SystemExit("the audit that was killed again and again did not find the same")
    return {
        "kills": len(kills),
        "killed_seconds": round(done.usage.seconds, 1),
        "killed_history_events": done.events,
        "killed_worker_memory_mb": round(done.usage.memory / MB),
        "same_findings": done.usage.findings,
    }


@contextlib.contextmanager
def _changed(root: Path, first: Audit) -> Iterator[None]:
    """Append a line to a few files, and restore them on exit."""
    paths = [path for path, _ in listing_of(Path(first.report["json"]))]
    before = {path: (root / path).read_bytes() for path in paths[:: max(1, len(paths) // CHANGED)][:CHANGED]}
    try:
        for path, data in before.items():
            (root / path).write_bytes(data + b"\n")
        yield
    finally:
        for path, data in before.items():
            (root / path).write_bytes(data)


def figures_of(first: Audit) -> dict[str, float]:
    """The figures of the first audit."""
    return {
        "files": first.usage.files,
        "findings": first.usage.findings,
        "seconds": round(first.usage.seconds, 1),
        "files_per_second": round(first.usage.files / first.usage.seconds, 1),
        "worker_memory_mb": round(first.usage.memory / MB),
        "history_events": first.events,
        "history_kb": round(first.history_bytes / 1000),
    }


def compared(done: list[Audit], peer: Usage) -> dict[str, float]:
    """The three audits compared with the bare analysers and with each other."""
    first, second, third = done
    return {
        "bare_files_per_second": round(peer.files / peer.seconds, 1),
        "pace_against_bare": round(peer.seconds / first.usage.seconds, 2),
        "cpu_against_bare": round((first.usage.cpu + first.usage.server_cpu) / peer.cpu, 2),
        "second_audit_seconds": round(second.usage.seconds, 1),
        "second_audit_times_faster": round(first.usage.seconds / second.usage.seconds, 1),
        "third_audit_seconds": round(third.usage.seconds, 1),
        "worker_memory_mb": round(max(each.usage.memory for each in done) / MB),
    }


def main() -> None:
    """Run both sides and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--files", type=int, default=2000, help="how many files out of known packages")
    what.add_argument("--path", type=Path, help="a folder to audit instead; some of its files are changed")
    parser.add_argument("--tree", type=Path, help="where the files of the packages are kept for the next run")
    parser.add_argument("--kill-every", type=float, default=0.0, help="seconds between kills of the worker")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        run_bare(arguments.path.resolve(), arguments.bare)
        return
    load = psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as temporary:
        scratch = Path(temporary)
        root = (arguments.path or code_tree(arguments.tree or scratch / "tree", arguments.files)).resolve()
        done = asyncio.run(undisturbed(root, scratch, again=not arguments.kill_every))
        figures: dict[str, float] = {"load_before": round(load, 1)} | figures_of(done[0])
        if arguments.kill_every:
            figures |= asyncio.run(killed(root, scratch, arguments.kill_every, done[0]))
        else:
            peer = bare(root, listing_of(Path(done[0].report["json"])), scratch)
            print(f"    bare: {peer.words}")
            figures |= compared(done, peer)
    figures["load_after"] = round(psutil.getloadavg()[0], 1)
    for name, figure in figures.items():
        print(f"{name.replace('_', ' '):>28}: {figure}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""The durable audit beside the same analysers run bare: `python bench/audit.py [--path FOLDER] [--json]`.

Both sides look at the same files, by default the packages installed in `.venv`. The durable side is the
code auditor as people run it: a Temporal server, a worker, shards with journals, a report. The bare side is
one process that runs each analyser over all files, one after the other, and keeps nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from activities.auditor.records import FileEntry, Inventory, get_records  # noqa: E402
from activities.auditor.scan.analysers import ANALYSERS  # noqa: E402 -- the checkout is no installed package
from bench.usage import cpu  # noqa: E402
from common.agents.auditor import AuditInput, AuditResult  # noqa: E402
from common.artifacts import ArtifactStore  # noqa: E402
from common.client.view import AgentView, RunStatus  # noqa: E402
from common.temporal.connect import connect  # noqa: E402
from tests.support.stack import Stack  # noqa: E402

PER_CALL = 1000  # files an analyser gets at once; more would not fit an argument list
TIME_LIMIT = 5400.0
MB = 2**20


@dataclass
class Usage:
    """What a side took: seconds, CPU seconds with all children, and the worker's largest resident memory."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    server_cpu: float = 0.0
    findings: int = 0
    files: int = 0


async def durable(folder: Path, root: Path) -> tuple[Usage, list[FileEntry]]:
    """Audit `root` with the code auditor on a stack in `folder`."""
    usage = Usage()
    async with Stack(folder) as stack:
        assert stack.worker is not None
        worker, server = psutil.Process(stack.worker.pid), psutil.Process(stack.server.pid)
        agents = await stack.agents()
        began = time.monotonic()
        id = await agents.start("code-auditor", AuditInput(path=str(root)), owner="bench")
        while True:
            usage.memory = max(usage.memory, worker.memory_info().rss)
            view: AgentView = await agents.view(id)
            if not view.running:
                break
            if time.monotonic() - began > TIME_LIMIT:
                raise SystemExit("the audit took too long")
            await asyncio.sleep(0.5)
        usage.seconds = time.monotonic() - began
        if view.status is not RunStatus.COMPLETED:
            raise SystemExit(f"the audit ended {view.status}: {view.failure}")
        result = AuditResult.model_validate(view.result)
        usage.files, usage.findings = result.files, result.findings
        usage.cpu, usage.server_cpu = cpu(worker.pid), cpu(server.pid)
        client = await connect(stack.settings)
        history = await client.get_workflow_handle(id).fetch_history()
        payload = next(
            event.activity_task_completed_event_attributes.result.payloads[0]
            for event in history.events
            if event.HasField("activity_task_completed_event_attributes")
        )
        inventory = Inventory.model_validate_json(payload.data)
        store = ArtifactStore.of(stack.settings)
        return usage, list(get_records(store, inventory.listing, FileEntry))


def bare(root: Path, listing: list[FileEntry], scratch: Path) -> Usage:
    """Run this file once more as the bare side, in a process of its own, and take its usage."""
    names = scratch / "listing.json"
    names.write_text(json.dumps([(entry.path, entry.language) for entry in listing]))
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, __file__, "--bare", str(names), "--path", str(root)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        printed = json.loads(process.stdout.read())
    return Usage(seconds=time.monotonic() - began, **printed)


def run_bare(root: Path, names: Path) -> None:
    """The bare side: every analyser over all its files, and the findings counted."""
    listing: list[tuple[str, str]] = json.loads(names.read_text())
    findings = 0
    for analyser in ANALYSERS:
        paths = [
            path for path, language in listing if analyser.languages is None or language in analyser.languages
        ]
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


def main() -> None:
    """Run both sides and print them beside each other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, default=Path(sysconfig.get_paths()["purelib"]))
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    root = arguments.path.resolve()
    if arguments.bare:
        run_bare(root, arguments.bare)
        return
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as scratch:
        ours, listing = asyncio.run(durable(Path(scratch) / "data", root))
        peer = bare(root, listing, Path(scratch))
    ratios = {
        "seconds": round(ours.seconds / peer.seconds, 3),
        "cpu": round((ours.cpu + ours.server_cpu) / peer.cpu, 3),
    }
    print(f"{ours.files} files of {root}")
    for name, side in (("durable", ours), ("bare", peer)):
        print(
            f"{name:>8}: {side.files / side.seconds:7.1f} files/s, {side.seconds:7.1f} s, "
            f"{side.cpu + side.server_cpu:7.1f} s of CPU, {side.findings} findings, "
            f"process memory {side.memory / MB:.0f} MB"
        )
    print(f"   ratio: {ratios['seconds']} in time, {ratios['cpu']} in CPU (durable over bare)")
    if arguments.json:
        figures = {"files": ours.files, "worker_memory_mb": round(ours.memory / MB), "ratios": ratios}
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

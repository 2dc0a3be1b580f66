"""`make cluster-test`: the agents' tests, faults, a backup and exactly-once, all on Temporal on PostgreSQL.

`--short` is what takes four minutes: one file of the agents' tests and a few faults, and nothing where Go or
PostgreSQL is missing.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cli.children import NotStartedError
from cli.cluster.build import build, built, find_go
from cli.cluster.cluster import Cluster
from cli.cluster.postgres import binaries
from cli.output import say
from common.approval.signing import Signer
from common.lifecycle import exit_now
from common.settings import Settings
from tests.support.limits import QUICK_TASKS

ROOT = Path(__file__).parents[2]
AGENTS = ("tests/workflow", "tests/integration")
SHORT_AGENTS = ("tests/workflow/test_kit.py",)
FAULTS = ("tests/cluster",)
SHORT_FAULTS = ("tests/cluster/test_faults.py", "-k", "30_s or mid_commit")
ONCE = ("--agents", "100", "--kills", "20", "--outages", "5", "--pauses", "1")


async def agents(words: tuple[str, ...]) -> bool:
    """Run those tests of agents that use the server of their session on a cluster."""
    with tempfile.TemporaryDirectory(prefix="hibernaut-cluster-") as name:
        os.chmod(name, 0o711)
        settings = Settings.read({"HIBERNAUT_DATA_DIR": str(Path(name) / "data")})
        Signer.load(settings, create=True)
        limits = {**QUICK_TASKS, "frontend.WorkflowTimeSkippingEnabled": "true"}
        async with Cluster(Path(name) / "cluster", limits=limits) as cluster:
            keeping = asyncio.create_task(cluster.keep())
            await cluster.set_up({**cluster.environment(), "HIBERNAUT_DATA_DIR": str(settings.data_dir)})
            ended = await asyncio.to_thread(pytest, words, TEST_SERVER=cluster.address)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    return ended


def pytest(words: tuple[str, ...], **environment: str) -> bool:
    """Whether tests pass."""
    command = [sys.executable, "-m", "pytest", "-q", *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode == 0


def main() -> int:
    """Run everything; the exit code."""
    short = "--short" in sys.argv[1:]
    missing = ["Go"] * (not built() and find_go() is None) + ["PostgreSQL"] * (binaries() is None)
    if short and missing:
        say(f"no test of the cluster: {' and '.join(missing)} missing")
        return 0
    try:
        build()
        passed = [asyncio.run(agents(SHORT_AGENTS if short else AGENTS))]
    except NotStartedError as error:
        say(f"error: {error}")
        return 2
    passed.append(pytest(("-m", "soak", *(SHORT_FAULTS if short else FAULTS))))
    if not short:
        once = [sys.executable, "bench/exactly_once.py", "--cluster", *ONCE]
        passed.append(subprocess.run(once, cwd=ROOT, check=False).returncode == 0)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    exit_now(main())

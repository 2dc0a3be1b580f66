"""The page on upgrades is true: its commands are ones there are, and its sessions run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from cli.dev_server import DevServer
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.settings import Settings
from testing.fixtures import open_all
from tests.support.limits import QUICK_DELETION, QUICK_ROLLOUTS, QUICK_TASKS
from tests.support.pages import check_command, commands, sessions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upgrades.md").read_text()
BUILDS = PAGE[PAGE.index("## Two builds at once") : PAGE.index("## What may change")]


@pytest.mark.parametrize("words", [each for each in commands(BUILDS) if each[0] != "kill"], ids=" ".join)
def test_each_command_is_one_that_there_is(words: list[str]) -> None:
    """With its options."""
    check_command(words)


# What happens between the sessions of the page; the last lines are looked at by the test.
BETWEEN = (
    """
starter() { .venv/bin/python starter.py "$@"; }
begin() { starter start code-auditor --id "$1" --set path=SHOP apply=true
    until starter show "$1" --json | grep -q '"state": "awaiting_approval"'; do sleep 0.5; done; }
""",
    "begin before",
    "begin after",
    "",
    "sleep 5",
    "begin unversioned",
)


@pytest.mark.soak
async def test_the_sessions_run_as_they_stand(tmp_path: Path) -> None:
    """Real workers and a real server: an agent of each build is moved about, and all end well."""
    shop, data = tmp_path / "shop", tmp_path / "data"
    shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
    open_all(data)
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(data)})
    write_alone(settings)
    Signer.load(settings, create=True)
    parts = sessions(BUILDS)
    assert len(parts) == len(BETWEEN)
    script = "set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n"
    script += "\n".join(each for pair in zip(BETWEEN, parts, strict=True) for each in pair)
    script += "\n".join(f"starter approve {id}\nstarter result {id} --wait" for id in ("before", "after"))
    script += "\nstarter list --json >&3\n"
    quick = QUICK_TASKS | QUICK_DELETION | QUICK_ROLLOUTS
    async with DevServer(settings, ui_port=None, limits=quick, scratch=True) as server:
        environment = {
            **os.environ,
            "TEMPORAL_ADDRESS": server.address,
            "HIBERNAUT_DATA_DIR": str(data),
            "HIBERNAUT_USER": "ann",
        }
        run = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"exec 3>{tmp_path / 'list.json'}\n{script.replace('SHOP', str(shop))}"),
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(run.communicate(), 900)
    assert run.returncode == 0, said.decode()
    assert "after: started afresh on build 1." in said.decode()
    assert "this worker of build 1 has ended" not in said.decode()
    listed = {row["id"]: row["pinned_to"] for row in json.loads((tmp_path / "list.json").read_text())}
    assert listed == {"before": "", "after": "", "unversioned": ""}

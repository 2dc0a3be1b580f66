"""The page on upgrades is true: its commands are ones there are, and its sessions run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

import worker
from cli.dev_server import DevServer
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.settings import Settings
from starter import app
from tests.support.limits import QUICK_DELETION, QUICK_ROLLOUTS, QUICK_TASKS
from tests.support.roots import open_all

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "upgrades.md").read_text()
BUILDS = PAGE[PAGE.index("## Two builds at once") : PAGE.index("## What may change")]


def sessions() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", BUILDS, re.DOTALL | re.MULTILINE)


def commands() -> Iterator[list[str]]:
    """Every command of the sessions: the program, and its arguments."""
    for line in "".join(sessions()).splitlines():
        words = shlex.split(line.removesuffix(" &"))
        yield words[1:] if words[0] == ".venv/bin/python" else words


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_each_command_is_one_that_there_is(words: list[str]) -> None:
    """With its options, as the programs read them."""
    program, *arguments = words
    match program:
        case "starter.py":
            group: Any = get_command(app)
            with typer.Context(group) as context:
                _, command, rest = group.resolve_command(context, arguments)
                while hasattr(command, "resolve_command"):
                    _, command, rest = command.resolve_command(context, rest)
                command.make_context(arguments[0], rest)
        case "worker.py":
            assert set(worker.options(arguments)) <= {"TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID"}
        case _:
            assert words == ["kill", "%2"]


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
    parts = sessions()
    assert len(parts) == len(BETWEEN)
    script = "set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n"
    script += "\n".join(each for pair in zip(BETWEEN, parts, strict=True) for each in pair)
    script += "\n".join(f"starter approve {id}\nstarter result {id} --wait" for id in ("before", "after"))
    script += "\nstarter list --json >&3\n"
    quick = QUICK_TASKS | QUICK_DELETION | QUICK_ROLLOUTS
    async with DevServer(settings, ui_port=None, limits=quick) as server:
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

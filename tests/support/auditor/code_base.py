"""A large code base to audit, and the audit of it seen from outside, whatever is killed meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from temporalio.service import RPCError

from common.client.client import AgentClient
from common.client.view import AgentView, RunStatus
from tests.support.stack import Stack
from tests.support.waiting import eventually

FLAWED = (
    "import os\nimport subprocess\n\n\ndef run(name):\n    return subprocess.call('ls ' + name, shell=True)\n"
)


def code_base(root: Path, files: int) -> Path:
    """A code base of so many files; every fourth has findings, with a fix for one of them."""
    for number in range(files):
        folder = root / f"part{number % 40:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        text = FLAWED if number % 4 == 0 else f"VALUE = {number}\n"
        (folder / f"module{number:04d}.py").write_text(text)
    return root


async def seen(agents: AgentClient, id: str) -> AgentView | None:
    try:
        return await agents.view(id)
    except RPCError:
        return None  # the server is away


async def ended(agents: AgentClient, id: str) -> AgentView:
    async def find() -> AgentView | None:
        view = await seen(agents, id)
        return view if view and not view.running else None

    view = await eventually(find, 240)
    assert view.status is RunStatus.COMPLETED, view.failure
    return view


def assert_every_fix_was_written_once(stack: Stack, view: AgentView, files: int) -> None:
    """Of a code base of so many files."""
    assert isinstance(view.result, dict)
    assert view.result["files_fixed"] == files / 4
    [journal] = (stack.settings.data_dir / "journals" / "apply").rglob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    written = Counter(line["path"] for line in lines if line["event"] == "done")
    assert len(written) == files / 4
    assert set(written.values()) == {1}

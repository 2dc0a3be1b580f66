"""A large code base to audit, and the audit as seen from outside, whatever is killed meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from temporalio.service import RPCError

from activities.auditor.fix.journal import JournalLine
from activities.auditor.scan.journal import SCANS
from common.agent_objects import work_prefix
from common.agents.states import RunStatus
from common.client.client import AgentClient
from common.client.view import AgentView
from common.sealed_store import SealedStore
from common.settings import Settings
from testing.waiting import eventually
from tests.support.stack import Stack

FLAWED = (
    "import os\nimport subprocess\n\n\ndef run(name):\n    return subprocess.call('ls ' + name, shell=True)\n"
)


def code_base(root: Path, files: int) -> Path:
    """Create a code base of `files` files; every fourth has findings, one of them with a fix."""
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
        return None  # the server is down


async def ended(agents: AgentClient, id: str, within: float = 240) -> AgentView:
    async def find() -> AgentView | None:
        view = await seen(agents, id)
        return view if view and not view.running else None

    view = await eventually(find, within)
    assert view.status is RunStatus.COMPLETED, view.failure
    return view


def journals(settings: Settings, id: str) -> dict[str, tuple[int, list[int]]]:
    """For each shard of an agent's scan: files done, and the file at which each attempt resumed."""
    objects, prefix = SealedStore.open(settings), work_prefix(id, SCANS)
    found: dict[str, tuple[int, list[int]]] = {}
    for each in objects.list(prefix):
        shard, _, name = each.key.removeprefix(prefix).partition("/")
        files, resumed = found.get(shard, (0, []))
        body = objects.get(each.key)
        if name.startswith("attempt-"):
            found[shard] = files, [*resumed, json.loads(body)["resumed_at"]]
        else:
            found[shard] = files + body.count(b"\n"), resumed
    return found


def steps_of_fixes(settings: Settings, id: str) -> Counter[str]:
    """How often an agent recorded each file as written."""
    objects = SealedStore.open(settings)
    listed = [each.key for each in objects.list(work_prefix(id, "apply/")) if ".done-" in each.key]
    return Counter(JournalLine.model_validate_json(objects.get(key)).path for key in listed)


def assert_every_fix_was_written_once(stack: Stack, view: AgentView, files: int) -> None:
    """Assert that every fix in a code base of `files` files was written exactly once."""
    assert isinstance(view.result, dict)
    assert view.result["files_fixed"] == files / 4
    written = steps_of_fixes(stack.settings, view.id)
    assert len(written) == files / 4
    assert set(written.values()) == {1}

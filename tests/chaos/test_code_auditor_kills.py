"""The code auditor under SIGKILL: the same findings, nothing scanned or written twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.agents.auditor import AuditInput
from common.approval.types import Verdict
from common.client.view import AgentView
from testing.waiting import eventually
from tests.support.auditor.code_base import (
    assert_every_fix_was_written_once,
    code_base,
    ended,
    journals,
    seen,
)
from tests.support.stack import Stack


def scanned(stack: Stack, id: str) -> dict[str, int]:
    """How many files each shard's journal holds now."""
    return {shard: files for shard, (files, _) in journals(stack.settings, id).items()}


def attempts(stack: Stack, id: str) -> dict[str, list[int]]:
    """At which file each attempt of each shard began."""
    return {shard: resumed for shard, (_, resumed) in journals(stack.settings, id).items()}


def findings(view: AgentView) -> Any:
    assert isinstance(view.result, dict)
    return json.loads(Path(view.result["report"]["json"]).read_text())["findings"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("files", [1500])
async def test_kills_of_worker_server_and_both_change_nothing_in_what_an_audit_finds_and_does(
    files: int, tmp_path: Path
) -> None:
    """An audit killed three times in its scan ends as an undisturbed one does."""
    root = code_base(tmp_path / "code", files)
    async with Stack(tmp_path / "calm") as calm:
        agents = await calm.agents()
        undisturbed = await ended(
            agents, await agents.start("code-auditor", AuditInput(path=str(root)), owner="local")
        )

    async with Stack(tmp_path / "rough") as rough:
        agents = await rough.agents()
        id = await agents.start("code-auditor", AuditInput(path=str(root), apply=True), owner="local")

        def past(share: float) -> bool:
            return sum(scanned(rough, id).values()) > share * files

        await eventually(lambda: past(0.1), every=0.1)
        await rough.kill_worker()
        at_first = scanned(rough, id)
        assert 0 < sum(at_first.values()) < files, "the kill did not hit the scan"
        await rough.start_worker()

        await eventually(lambda: past(0.3), every=0.1)
        await rough.kill_server()
        assert sum(scanned(rough, id).values()) < files, "the kill did not hit the scan"
        await rough.server.start()

        await eventually(lambda: past(0.5), every=0.1)
        # The worker first: it scans on without a server.
        await rough.kill_worker()
        await rough.kill_server()
        at_last = scanned(rough, id)
        assert sum(at_last.values()) < files, "the kill did not hit the scan"
        await rough.server.start()
        await rough.start_worker()

        async def asked() -> AgentView | None:
            view = await seen(agents, id)
            return view if view and view.approval else None

        view = await eventually(asked, 240)
        for shard, begun_at in attempts(rough, id).items():
            assert begun_at[0] == 0
            assert len(begun_at) > 1, f"shard {shard} was not disturbed"
            # A kill costs at most the batch under way: what the journal held is where the next attempt began.
            assert at_first.get(shard, 0) in begun_at
            assert begun_at == sorted(begun_at)
            if at_first.get(shard):
                assert begun_at.count(0) == 1

        assert view.approval is not None
        await agents.decide(id, Verdict.APPROVE, by="local", through="cli")
        disturbed = await ended(agents, id)
        assert findings(disturbed) == findings(undisturbed)
        assert_every_fix_was_written_once(rough, disturbed, files)
